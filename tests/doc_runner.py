"""Runs the commands that a page of the documentation shows, and compares what they print with what the page says.

A block of ```console holds lines that begin with `$ `, each followed by what it prints (stdout and stderr). All blocks
of a page run in one shell, in one empty directory, in order. Keys, ids, times, sizes and the like differ from run to
run: they are compared by kind, and where a later command names one, it gets the one of this run.

A page that starts a broker and agents of its own names their usual ports; each run gets free ones in their place.

`python tests/doc_runner.py docs/cli.md` writes the outputs of a real run into the page.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BROKER = "mqtt://localhost:1883"  # as pages write it
WEB = re.compile(r"\b8000\b(?=/|\))")  # the port of a web server that a page starts, as it writes it
USUAL_PORTS = ("1883", "2575", "2576", "9575", "9576")  # of a broker and of agents that a page starts itself
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KINDS = {
    "secret": r"mlre[qp]1:[\w-]+",
    "id": r"\b[0-9a-f]{8,64}\b",
    "fingerprint": r"\b[A-Z2-7]{4}(?:-[A-Z2-7]{4}){3}\b",
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
    "traffic": r"\b[\d.]+ (?:bytes|kB|MB) in \d+ frames?, mostly [a-z, ]+\b",
    "rate": r"\b(?:in|out) (?:-|[\d.]+ [kM]?B/s)",
    "process": r"\bprocess \d+\b",
    "size": r"\b\d+(?:\.\d)? (?:bytes|kB|MB)\b",
    "seconds": r"\b\d+\.\d s\b",
    "number": r'"(?:bytes|monotonic_ms)": \d+',
    "broker": r"mqtt://[\w.]+:\d+",
}
VARIABLE = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in KINDS.items()))
END_SECONDS = 10


@dataclass(frozen=True)
class Step:
    """A command of a page, and what the page says it prints."""

    command: str
    output: str


def steps(page: str) -> list[Step]:
    """The commands of a page, in order."""
    found = []
    for block in BLOCK.findall(page):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append(Step(command, output.strip("\n")))
    return found


def normal(text: str) -> str:
    """The text with everything that differs from run to run replaced by its kind; columns may move with it."""
    return re.sub(r" +", " ", VARIABLE.sub(lambda match: f"<{match.lastgroup}>", text))


class Shell:
    """One bash in one directory, in which `medledger` is this checkout's."""

    def __init__(self, directory: Path, broker: str | None) -> None:
        """`broker` is the address of one that runs, None where the page starts its own, and its agents."""
        self._directory = directory
        self._broker = broker or BROKER
        self._port, *free = _free_ports(1 + len(USUAL_PORTS))
        self._ports = {} if broker else dict(zip(USUAL_PORTS, free, strict=True))
        self._known: dict[str, str] = {}  # ids as the page writes them, to those of this run
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MEDLEDGER_")}
        environment = {**environment, "no_proxy": "localhost"}
        program = directory.parent / "programs"
        program.mkdir(exist_ok=True)
        for name, what in (("medledger", "-m medledger"), ("python", "")):
            (program / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {what} "$@"\n')
            (program / name).chmod(0o755)
        path = os.pathsep.join(str(ROOT / area) for area in ("", "agents", "firmware_bridge"))
        self._process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=directory,
            env={**environment, "PATH": f"{program}:{os.environ['PATH']}:/usr/sbin", "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, step: Step) -> tuple[str, int]:
        """What a command prints, and its exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        command = WEB.sub(self._port, self.translated(step.command).replace(BROKER, self._broker))
        command = _replaced(command, self._ports)
        self._process.stdin.write(f'{command}\necho "<<$?>>"\n')
        self._process.stdin.flush()
        lines: list[str] = []
        for line in self._process.stdout:
            if end := re.fullmatch(r"(.*)<<(\d+)>>\n", line, re.DOTALL):
                output = "".join([*lines, end[1]]).strip("\n").replace(f":{self._port}/", ":8000/")
                output = _replaced(output, {there: here for here, there in self._ports.items()})
                self._give_ports()
                self._learn(step.output, output)
                return output, int(end[2])
            lines.append(line)
        raise AssertionError(f"the shell ended in {command!r}: {''.join(lines)}")

    def _give_ports(self) -> None:
        """Agents that were set up listen on free ports."""
        for path in self._directory.glob("*/agent.toml") if self._ports else ():
            text = path.read_text()
            if (given := _replaced(text, self._ports)) != text:
                saved = path.with_suffix(".new")  # whole at every moment: a command of the page may be reading it
                saved.write_text(given)
                saved.chmod(path.stat().st_mode)
                saved.replace(path)

    def translated(self, command: str) -> str:
        """A command of the page, with the ids of this run."""
        return VARIABLE.sub(lambda match: self._known.get(match[0], match[0]), command)

    def _learn(self, written: str, printed: str) -> None:
        """Which id of this run stands where the page has one."""
        there, here = ([match[0] for match in VARIABLE.finditer(text)] for text in (written, printed))
        if len(there) == len(here):
            for one, other in zip(there, here, strict=True):
                if BROKER not in one:
                    self._known[one] = other

    def close(self) -> None:
        """End the shell and whatever it has started, were it in the middle of a command."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        with suppress(ProcessLookupError):  # a page that did not come to its end has left jobs behind
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(END_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()


def _free_ports(count: int) -> list[str]:
    """Different ones."""
    with ExitStack() as held:
        free = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [str(each.getsockname()[1]) for each in free]


def _replaced(text: str, ports: dict[str, str]) -> str:
    return re.sub(r"\b\d{4,5}\b", lambda match: ports.get(match[0], match[0]), text) if ports else text


def rewrite(page: str, run: list[Step]) -> str:
    """The page with the commands and outputs of this run."""
    remaining = iter(run)

    def block(match: re.Match[str]) -> str:
        parts = []
        for part in re.split(r"^\$ ", match[1], flags=re.MULTILINE)[1:]:
            assert part
            step = next(remaining)
            parts.append(f"$ {step.command}\n" + (f"{step.output}\n" if step.output else ""))
        return f"```console\n{''.join(parts)}```"

    return BLOCK.sub(block, page)


def main(path: Path) -> None:
    """Write a page's outputs anew."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT), str(ROOT / "agents")]
    from brokers import new_broker

    page = path.read_text()
    with tempfile.TemporaryDirectory() as name, new_broker(Path(name)) as broker:
        directory = Path(name) / "work"
        directory.mkdir()
        shell = Shell(directory, None if "$ mosquitto " in page else broker.url)
        run = []
        for step in steps(page):
            command = shell.translated(step.command)
            if "-v" in sys.argv:
                print("$", command, flush=True)
            output, code = shell.run(step)
            if "-v" in sys.argv:
                print(output, f"[{code}]", flush=True)
            run.append(Step(command, output.replace(broker.url, BROKER)))
        shell.close()
    path.write_text(rewrite(page, run))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
