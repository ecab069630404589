"""Help: it teaches, it is right, and it is there at once."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from doc_runner import BROKER, Shell, Step
from medledger.cli import exits
from medledger.cli.command import Command, Group
from medledger.cli.root import COMMANDS, medledger

from .conftest import Run


def tree() -> dict[tuple[str, ...], click.Command]:
    """Every built-in command and group by its words."""
    found: dict[tuple[str, ...], click.Command] = {}

    def walk(words: tuple[str, ...], command: click.Command) -> None:
        found[words] = command
        if isinstance(command, click.Group):
            for name, below in command.commands.items():
                walk((*words, name), below)

    context = click.Context(medledger)
    for name in COMMANDS:
        command = medledger.get_command(context, name)
        assert command is not None
        walk((name,), command)
    return found


TREE = tree()
LEAVES = [words for words, command in TREE.items() if not isinstance(command, click.Group)]


def resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that a command line names, and what is left of the line."""
    assert words[0] == "medledger"
    at = 1
    command: click.Command = medledger
    while isinstance(command, click.Group) and at < len(words) and not words[at].startswith("-"):
        found = TREE.get((*words[1 : at + 1],))
        assert found is not None, f"{' '.join(words)} names no command"
        command, at = found, at + 1
    return command, words[at:]


@pytest.mark.parametrize("words", TREE, ids=" ".join)
def test_every_command_shows_an_example(words: tuple[str, ...], run: Run) -> None:
    """Each --help ends with an example of that very command."""
    text = run(*words, "--help").out
    _, _, examples = text.partition("Example")
    assert f"medledger {words[0]}" in examples
    if words in LEAVES:
        assert f"medledger {' '.join(words)}" in examples


@pytest.mark.parametrize("words", TREE, ids=" ".join)
def test_examples_are_command_lines_that_exist(words: tuple[str, ...]) -> None:
    """Every option in an example is an option of the command it names."""
    command = TREE[words]
    assert isinstance(command, Command | Group)
    for example in command.examples:
        line = re.split(r"\s{4,}|(?<=\S) [|>] ?", example)
        parts = [part for part in line if part.startswith("medledger")] or [example.partition("| ")[2]]
        named, rest = resolve(shlex.split(parts[0]))
        options = {name for parameter in named.params for name in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in rest if word.startswith("--")} <= options, example


def test_the_examples_of_the_root_run(tmp_path: Path) -> None:
    """Typed one after the other in an empty directory, as `medledger --help` shows them, each does what it says."""
    shell = Shell(tmp_path, BROKER)
    try:
        help_text, code = shell.run(Step("medledger --help", ""))
        shown = help_text.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
        assert (code, len(shown)) == (0, len(medledger.examples))
        for line in shown:
            command = re.split(r"\s{4,}", line.strip())[0]
            printed, code = shell.run(Step(command, ""))
            assert code == 0, f"{command}\n{printed}"
        assert "MON-7" in shell.run(Step("medledger log ward.db", ""))[0]
    finally:
        shell.close()


def test_the_root_knows_each_commands_line() -> None:
    """What `medledger --help` says of a command is the first sentence of the command's own help, in few words."""
    for name, builtin in COMMANDS.items():
        own = TREE[(name,)].get_short_help_str(200)
        assert own, name
        assert builtin.help.endswith("."), name
        assert len(builtin.help) < 70, name


def test_the_root_help_has_sections_and_exit_codes(run: Run) -> None:
    """All commands, and all exit codes that there are, stand in `medledger --help`."""
    text = run("--help").out
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", text, re.MULTILINE), name
    for code in exits.Exit:
        assert re.search(rf"^  {int(code)} ", text, re.MULTILINE), code


def test_help_loads_neither_cryptography_nor_a_database() -> None:
    """`medledger --help` is fast because it imports nothing of what commands do."""
    script = (
        "import sys\nfrom medledger.cli import main\nsys.argv = ['medledger', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'nacl', 'cbor2', 'sqlite3', 'sqlite_utils', 'paho', 'rich', 'asyncio', 'hl7'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip().splitlines()[-1] == "[]"


def test_the_version_names_what_matters_for_a_report(run: Run) -> None:
    """--version tells ours, Python's and SQLite's."""
    assert re.fullmatch(r"medledger \S+ \(Python [\d.]+\S*, SQLite [\d.]+\)\n", run("--version").out)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell: str, run: Run) -> None:
    """Each shell gets a script that asks our program."""
    script = run("completion", shell).out
    assert "_MEDLEDGER_COMPLETE" in script
    assert f"{shell}_complete" in script


def test_completion_answers(program: Run) -> None:
    """The program completes commands, commands of groups and options."""
    answers = {}
    for words in ("medledger me", "medledger member ap", "medledger log x --un"):
        count = len(words.split()) - 1
        answers[words] = program(
            _MEDLEDGER_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(count)
        ).out.split()
    assert answers["medledger me"] == ["plain,member"]
    assert answers["medledger member ap"] == ["plain,approve"]
    assert answers["medledger log x --un"] == ["plain,--until"]


def test_the_agents_commands_teach_as_the_built_in_ones_do(run: Run) -> None:
    """Each shows an example of itself, and the list of them cuts no sentence short."""
    group = medledger.get_command(click.Context(medledger), "agent")
    assert isinstance(group, click.Group)
    listed = run("agent", "--help").out
    assert "..." not in listed.partition("Commands:")[2]
    for name in group.commands:
        assert re.search(rf"^  {name} ", listed, re.MULTILINE), name
        assert f"medledger agent {name}" in run("agent", name, "--help").out.partition("Example")[2], name
    assert "a port or an address" in run("agent", "bedside", "--help").out
