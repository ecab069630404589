"""docs/cli.md is true: every line of it is run, and what it does not show does not exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from brokers import Broker
from doc_runner import BROKER, ROOT, Shell, normal, steps
from medledger.cli import exits, gossiping, keyring

from .test_help import LEAVES, TREE

PAGE = (ROOT / "docs" / "cli.md").read_text()


@pytest.mark.timeout(240)
def test_the_page_prints_what_it_says(broker: Broker, tmp_path: Path) -> None:
    """Every command of the page, in order, in one empty directory, prints what the page shows."""
    directory = tmp_path / "work"
    directory.mkdir()
    shell = Shell(directory, broker.url)
    try:
        for step in steps(PAGE):
            printed, _ = shell.run(step)
            assert normal(printed.replace(broker.url, BROKER)) == normal(step.output), step.command
    finally:
        shell.close()


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_is_on_the_page(words: tuple[str, ...]) -> None:
    """The page runs each command at least once."""
    assert re.search(rf"\bmedledger {' '.join(words)}\b", "\n".join(step.command for step in steps(PAGE)))


def test_every_option_that_the_page_names_exists() -> None:
    """No option in the page's text is one that no command has."""
    known = {name for command in TREE.values() for parameter in command.params for name in parameter.opts}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE))
    assert named - known <= {"--help", "--version", "--debug"}


def test_the_exit_codes_of_the_page_are_the_programs() -> None:
    """One table: each code of `exits` stands in it, and no other."""
    table = PAGE.partition("Exit codes:")[2].partition("Errors are")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) ", table, re.MULTILINE)} == set(exits.Exit)
    assert {int(code) for code in re.findall(r"^\| (\d+) ", exits.__doc__ or "", re.MULTILINE)} == set(exits.Exit)


def test_every_variable_is_on_the_page() -> None:
    """The environment variables that the commands read stand in the page's table."""
    read = {
        str(parameter.envvar)
        for command in TREE.values()
        for parameter in command.params
        if parameter.envvar is not None
    }
    read |= {keyring.PASSPHRASE, gossiping.PASSWORD, "MEDLEDGER_DEBUG", "NO_COLOR"}
    assert read == set(re.findall(r"^\| `([A-Z_]+)`", PAGE, re.MULTILINE))
