"""Setting up boxes in tests as people do: a hospital's ledger, `agent setup` as a process, and the approval."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from click.testing import CliRunner

from boxes import Agent
from medledger import Identity, Ledger
from medledger.cli.root import medledger

SECONDS = 60.0
PROGRAM = [sys.executable, "-m", "medledger"]


def program(*arguments: object, code: int = 0, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """The real program, to its end."""
    done = subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == code, f"{arguments} ended with {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def command(*arguments: object, stdin: str | None = None) -> str:
    """What the same command prints, run in this process: half a second less than a process of its own."""
    done = CliRunner().invoke(medledger, [str(each) for each in arguments], input=stdin, prog_name="medledger")
    assert done.exit_code == 0, f"{arguments} ended with {done.exit_code}\n{done.output}"
    return done.stdout


@dataclass(frozen=True)
class Hospital:
    """A founded ledger in a directory of its own, which knows its broker if there is one."""

    ledger: Path

    @classmethod
    def found(cls, directory: Path, broker: str | None = None) -> Self:
        """Found it."""
        directory.mkdir()
        options = [] if broker is None else ["--broker", broker]
        ledger = directory / "ward.db"
        command("init", ledger, "--name", "St. Anna", "--label", "Hospital", "--role", "hospital", *options)
        return cls(ledger)

    def approve(self, request: str, *options: object) -> dict[str, Any]:
        """Approve a request; what the program says."""
        told: dict[str, Any] = json.loads(
            command("member", "approve", self.ledger, "-", "--json", *options, stdin=request)
        )
        return told

    def members(self) -> dict[str, dict[str, Any]]:
        """The members by their label."""
        lines = command("member", "list", self.ledger, "--json").splitlines()
        return {member["label"]: member for member in map(json.loads, lines)}

    @contextmanager
    def staying(self) -> Iterator[None]:
        """Be on the broker meanwhile."""
        process = subprocess.Popen(
            [*PROGRAM, "sync", self.ledger, "--stay"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(SECONDS)

    def open(self) -> Ledger:
        """The ledger, to read."""
        return Ledger.open(self.ledger)


@dataclass(frozen=True)
class NewBox:
    """A directory in which a box is set up."""

    home: Path
    role: str = "bedside"

    @property
    def config(self) -> Path:
        """Its configuration."""
        return self.home / "agent.toml"

    @property
    def key(self) -> Path:
        """Its key."""
        return self.home / "box.key"

    @property
    def ledger(self) -> Path:
        """Its replica."""
        return self.home / "ledger.db"

    def identity(self) -> Identity:
        """Whose it is."""
        return Identity.load(self.key)

    def setup(self, *options: object) -> SetUp:
        """Start `agent setup`, which asks nobody anything."""
        return SetUp("--directory", self.home, "--kind", self.role, "--yes", "--json", *options)

    def start(self) -> Agent:
        """Start its agent, with the configuration that setup wrote; but for ports that others may have, and the log."""
        text = re.sub(r"^port = \d+$", "port = 0", self.config.read_text(), flags=re.MULTILINE)
        text = text.replace('format = "plain"', 'format = "json"').replace('level = "info"', 'level = "debug"')
        self.config.write_text(text.replace("window_seconds = 2.0", "window_seconds = 0"))
        return Agent(self)  # type: ignore[arg-type]  # it has what is asked of a box


class SetUp:
    """A running `agent setup --json`."""

    def __init__(self, *options: object) -> None:
        self.process = subprocess.Popen(
            [*PROGRAM, "agent", "setup", *map(str, options)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def next(self) -> dict[str, Any]:
        """The next state that it tells."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.end(None)
        told: dict[str, Any] = json.loads(line)
        return told

    def until_asked(self) -> str:
        """The request."""
        told = self.next()
        assert told["state"] == "waiting"
        return str(told["request"])

    def heard(self, text: str) -> None:
        """Wait until it has said this on standard error."""
        assert self.process.stderr is not None
        said = ""
        while text not in said:
            line = self.process.stderr.readline()
            assert line, f"it never said {text!r}: {said}"
            said += line

    def kill_when(self, path: Path) -> bool:
        """SIGKILL as soon as a file is there; false where the process ended before."""
        deadline = time.monotonic() + SECONDS
        while not path.exists():
            assert time.monotonic() < deadline, path
            if self.process.poll() is not None:
                self.end(None)
                return False
            time.sleep(0.0005)
        self.kill()
        return True

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.communicate()

    def end(self, code: int | None = 0) -> tuple[str, str]:
        """Wait for the end; what was not read yet."""
        out, err = self.process.communicate(timeout=SECONDS)
        assert code is None or self.process.returncode == code, f"{self.process.returncode}\n{out}{err}"
        return out, err

    def enrolled(self) -> dict[str, Any]:
        """Wait for the end, which must be a good one: what the box is now."""
        out, err = self.end()
        told: dict[str, Any] = json.loads(out.splitlines()[-1])
        assert told["state"] == "enrolled", (told, err)
        return told

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()
