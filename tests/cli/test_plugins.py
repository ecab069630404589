"""Commands of installed packages: found through entry points, and unable to break ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Run

GOOD = """
import click
from medledger.errors import StoreError

def register(group):
    @group.command()
    def ward():
        "Show the beds."
        click.echo("bed 7: 72 /min")
    @group.command()
    def broken():
        "Fail as the library does."
        raise StoreError("the beds are elsewhere", hint="Look there.")
    @group.command()
    def log():
        "Pretend to be the log."
        click.echo("not the log")
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of installed packages, on the path of programs that tests start."""
    place = tmp_path / "site"
    information = place / "beds-1.0.dist-info"
    information.mkdir(parents=True)
    (place / "beds.py").write_text(GOOD)
    (place / "crooked.py").write_text("raise ImportError('no\\nmodule')")
    (place / "failing.py").write_text("def register(group):\n    raise SystemError('no beds')\n")
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: beds\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[medledger.commands]\naaa = crooked:register\nbeds = beds:register\nfailing = failing:register\n"
        "missing = nowhere:register\n"
    )
    import os

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(place), os.environ["PYTHONPATH"]]))
    return place


def test_their_commands_run_and_are_listed(site: Path, program: Run) -> None:
    """By name, and in the help under a heading of their own."""
    assert program("ward").out == "bed 7: 72 /min\n"
    text = program("--help").out
    assert "Show the beds." in text.partition("From installed packages")[2]


def test_one_that_fails_to_load_is_one_line(site: Path, program: Run) -> None:
    """Each is named with its reason, and the others work."""
    lines = [line for line in program("ward").err.splitlines() if "agents" not in line]
    assert [line.partition(" (")[0] for line in lines] == [
        "Warning: the commands of 'aaa' cannot be loaded",
        "Warning: the commands of 'failing' cannot be loaded",
        "Warning: the commands of 'missing' cannot be loaded",
    ]
    assert "ImportError: no module" in lines[0]


def test_built_in_commands_load_none_and_cannot_be_replaced(site: Path, program: Run) -> None:
    """`medledger log` is ours, and asks no package."""
    done = program("log", "nowhere.db", code=3)
    assert "not the log" not in done.out
    assert "Warning" not in done.err


def test_their_errors_are_told_like_ours(site: Path, program: Run) -> None:
    """An error of the library's family becomes one sentence and its exit code."""
    done = program("broken", code=3)
    assert "Error: the beds are elsewhere.\n       Look there." in done.err
