"""The root of the command line: which commands there are, and what becomes of an error.

Built-in commands stand in `COMMANDS`, with the line that `medledger --help` shows, so that showing it imports none of
them. What installed packages add is looked for when a name is not built in, and when all commands are listed.
"""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, NamedTuple, NoReturn

import click

from medledger.errors import MedledgerError

from .command import Group, write_examples
from .exits import MEANINGS, Exit, exit_code, next_step
from .output import lenient
from .stopping import Terminated, end_by_sigterm, terminable

ENTRY_POINTS: Final = "medledger.commands"
STOPPED: Final = "Stopped. What was acknowledged is kept."


class Builtin(NamedTuple):
    """A built-in command: the section of the help it stands in, and its line there."""

    section: str
    help: str


COMMANDS: Final = {
    "init": Builtin("Begin", "Found a ledger."),
    "key": Builtin("Begin", "Make a key, or show one."),
    "join": Builtin("Begin", "Start a replica of a ledger that has let you in."),
    "append": Builtin("Write and read", "Write records to a ledger."),
    "log": Builtin("Write and read", "List entries, oldest first."),
    "show": Builtin("Write and read", "Show one block."),
    "prescriptions": Builtin("Write and read", "What was prescribed, supplied and brought back."),
    "sync": Builtin("Exchange", "Exchange blocks with other replicas over an MQTT broker."),
    "net": Builtin("Exchange", "See the gossip: peers, lag, traffic, alarms."),
    "bundle": Builtin("Exchange", "Carry a ledger in a file."),
    "backup": Builtin("Exchange", "Copy a ledger's file for other programs to read."),
    "recover": Builtin("Exchange", "Let a replica write where no peer is left to ask."),
    "verify": Builtin("Check", "Verify every stored byte again."),
    "fsck": Builtin("Check", "Verify every byte, the database and its indexes."),
    "audit": Builtin("Check", "Sync, verify and report, for an auditor."),
    "member": Builtin("Govern", "Ask to join, approve, enrol, revoke, list."),
    "governance": Builtin("Govern", "Who decides, and which role may write what."),
    "completion": Builtin("This program", "Print the completion script of a shell."),
}
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OTHERS: Final = "From installed packages"


@dataclass(slots=True)
class Settings:
    """What holds for one run of the program."""

    debug: bool = False


class Failure(click.ClickException):
    """An error of the library as the command line shows it."""

    def __init__(self, error: MedledgerError) -> None:
        super().__init__(str(error))
        self.code = exit_code(error)
        self.hint = next_step(error)

    def show(self, _: Any = None) -> None:
        """One sentence, and what to do next."""
        show_error(self.message, self.hint)


class _ReaderGone(Exception):
    """Whoever read our output has closed it."""


class Root(Group):
    """The `medledger` command."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._plugins_loaded = False

    # --- which commands there are ---------------------------------------------------------------------------------

    def list_commands(self, _: click.Context) -> list[str]:
        """Every command, those of installed packages last."""
        self._load_plugins()
        return [*COMMANDS, *sorted(self.commands.keys() - COMMANDS.keys())]

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name; a built-in one cannot be replaced."""
        if cmd_name in COMMANDS:
            command: click.Command = getattr(import_module(f".commands.{cmd_name}", __package__), cmd_name)
            return command
        self._load_plugins()
        return self.commands.get(cmd_name)

    def _load_plugins(self) -> None:
        """Let installed packages register their commands. One that fails is named in one line and stops nobody else."""
        if self._plugins_loaded:
            return
        self._plugins_loaded = True
        from importlib.metadata import entry_points

        for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
            try:
                point.load()(self)
            except Exception as error:  # noqa: BLE001 - another package's code may fail in any way
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                click.echo(f"Warning: the commands of {point.name!r} cannot be loaded ({reason}).", err=True)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by section; nothing built in is imported for it."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            if name in COMMANDS:
                section, line = COMMANDS[name]
            else:
                section, line = _OTHERS, self.commands[name].get_short_help_str(200)
            sections.setdefault(section, []).append((name, line))
        widest = max(len(name) for lines in sections.values() for name, _ in lines)
        for section, lines in sections.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(widest), line) for name, line in lines])

    def format_epilog(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Where to begin, and the exit codes."""
        write_examples(formatter, self.examples)
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), meaning) for code, meaning in MEANINGS.items()])

    # --- what becomes of errors -----------------------------------------------------------------------------------

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of the library becomes one that click shows."""
        try:
            return super().invoke(ctx)
        except MedledgerError as error:
            if ctx.obj.debug:
                raise
            raise Failure(error) from error
        except BrokenPipeError as error:
            raise _ReaderGone from error  # click would end the program with the code of a refusal

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run the program and exit with a code of `exits`."""
        settings = Settings(debug=bool(os.environ.get("MEDLEDGER_DEBUG")))
        extra = {**extra, "standalone_mode": False, "obj": settings}
        if "NO_COLOR" in os.environ:
            extra["color"] = False
        lenient()
        try:
            with terminable():
                result = super().main(*args, **extra)
            sys.stdout.flush()
            code = result if isinstance(result, int) else Exit.OK
        except click.exceptions.Abort:
            click.echo(STOPPED, err=True)
            code = Exit.INTERRUPTED
        except Terminated:
            click.echo(STOPPED, err=True)
            end_by_sigterm()
            code = Exit.TERMINATED
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "medledger"
            show_error(error.format_message(), f"Try `{command} --help`.")
            code = Exit.USAGE
        except Failure as error:
            error.show()
            code = error.code
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except (BrokenPipeError, _ReaderGone):
            # Whoever read us has gone; the interpreter must not fail again when it flushes at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = Exit.CLOSED_PIPE
        except Exception as error:
            if settings.debug:
                raise
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                # The library names its own files: this is where our output goes.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                show_error(f"the output cannot be written: {error.strerror}", "Make room where it goes, and try again.")
                sys.exit(int(Exit.STORE))
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            show_error(
                f"this is a bug in medledger ({reason})",
                "Please report it with the output of the same command after `medledger --debug`.",
            )
            code = Exit.BUG
        sys.exit(int(code))


def show_error(message: str, hint: str | None) -> None:
    """An error as people see it: one sentence, and what to do next under it."""
    sentence = message if message.endswith((".", "?", "!")) else f"{message}."
    click.echo(f"{click.style('Error:', fg='red', bold=True)} {sentence}", err=True)
    if hint:
        click.echo(f"       {hint}", err=True)


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    import platform
    import sqlite3
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("medledger")
    except PackageNotFoundError:
        number = "(not installed)"
    click.echo(f"medledger {number} (Python {platform.python_version()}, SQLite {sqlite3.sqlite_version})")
    ctx.exit()


@click.command(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    examples=(
        "medledger init ward.db --name 'St. Anna' --role hospital    found a ledger, and a key beside it",
        'medledger append ward.db reading \'{"device": "MON-7", "samples": [["8867-4", "72", "/min"]]}\'',
        "medledger log ward.db",
        "medledger verify ward.db",
    ),
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit."
)
@click.pass_obj
def medledger(settings: Settings, debug: bool) -> None:
    """A signed, append-only ledger for medical devices and pharmacies, in one file and shared over MQTT.

    Each command has a --help with examples.
    """
    settings.debug = settings.debug or debug
