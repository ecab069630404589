"""What the tests of the command line ask for: the command in this process, the real program, and a founded ledger."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from medledger.cli.root import medledger

READING = '{"device": "MON-7", "samples": [["8867-4", "72", "/min"]]}'


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on stdout."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The JSON values on stdout, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Done]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, with none of our variables set."""
    for name in ("KEY", "PASSPHRASE", "BROKER_URL", "BROKER_PASSWORD", "DEBUG"):
        monkeypatch.delenv(f"MEDLEDGER_{name}", raising=False)
    directory = tmp_path / "here"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


@pytest.fixture
def run(here: Path) -> Run:
    """Runs a command in this process."""

    def call(*arguments: object, stdin: str | None = None, code: int = 0) -> Done:
        result = CliRunner().invoke(medledger, [str(each) for each in arguments], input=stdin, prog_name="medledger")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        done = Done(result.exit_code, result.stdout, result.stderr)
        assert done.code == code, f"{arguments} ended with {done.code}\n{done.out}{done.err}"
        return done

    return call


@pytest.fixture
def program(here: Path) -> Run:
    """Runs the real program in a process of its own."""

    def call(*arguments: object, code: int = 0, stdin: str | None = None, **environment: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "medledger", *map(str, arguments)],
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            timeout=60,
        )
        assert done.returncode == code, f"{arguments} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        return Done(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a ledger, its key and its witness, made once: tests take copies."""
    place = tmp_path_factory.mktemp("founded")
    ledger = str(place / "ward.db")
    for arguments in (
        ["init", ledger, "--name", "St. Anna", "--label", "Hospital", "--role", "hospital"],
        ["append", ledger, "reading", READING],
    ):
        done = CliRunner().invoke(medledger, arguments, prog_name="medledger")
        assert done.exit_code == 0, done.output
    return place


@pytest.fixture
def ward(founded: Path, here: Path) -> Path:
    """A ledger whose founder, `Hospital`, has written one reading."""
    shutil.copytree(founded, here, dirs_exist_ok=True)
    return Path("ward.db")


@pytest.fixture
def admit(run: Run, ward: Path) -> Callable[..., Path]:
    """Lets a new member in: its replica, which holds nothing but the genesis yet."""

    def call(label: str, *roles: str, ledger: Path = ward) -> Path:
        home = Path(label.replace(" ", "-"))
        home.mkdir()
        options = [option for role in roles for option in ("--role", role)]
        run("member", "request", "--key", home / "own.key", "--label", label, *options)
        reply = run("member", "approve", ledger, home / "own.key.request").out
        replica = home / "own.db"
        run("join", replica, "-", stdin=reply)
        return replica

    return call


@pytest.fixture
def carry(run: Run) -> Callable[[Path, Path], Done]:
    """Carries all of one replica to another, in a bundle."""

    def call(source: Path, target: Path) -> Done:
        bundle = target.with_suffix(f".{len(list(target.parent.iterdir()))}.bundle")
        run("bundle", "export", source, bundle)
        return run("bundle", "import", target, bundle, "--json")

    return call
