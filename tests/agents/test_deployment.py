"""docs/deployment.md is true: its story is run on one machine, from nothing to a reading on the auditor's screen."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from brokers import REQUIRE_MOSQUITTO, find_mosquitto
from doc_runner import ROOT, Shell, normal, steps
from medledger import Ledger

REQUIRED = os.environ.get(REQUIRE_MOSQUITTO) == "1"
PAGE = (ROOT / "docs" / "deployment.md").read_text()
VARYING = re.compile(
    r"\d+ (?:new )?blocks?\b|(?<=/)\d+|(?<=block )\d+|(?<= )\d+ (?:s|min)\b|\b\d{4}-\d\d-\d\d[T ][\d:+]+"
)
"""How many blocks there are depends on how readings fell into batches, and how old they are on the machine."""
WHO_HOLDS = re.compile(r"^(?:.+ has joined, and|Another replica) holds its enrolment\.$", re.MULTILINE)
"""Who of the two shows it first, the server or the box, is nobody's to say."""
NUMBER_OF_BLOCKS = re.compile(r"^(.+ (?:active|revoked).*)$", re.MULTILINE)


def compared(text: str) -> str:
    """A text without what differs from run to run."""
    rows = NUMBER_OF_BLOCKS.sub(lambda row: re.sub(r" \d{1,7} ", " # ", row[0]), text)
    rows = WHO_HOLDS.sub("... holds its enrolment.", rows)
    return re.sub(r" +$", "", VARYING.sub("#", normal(rows)), flags=re.MULTILINE)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """An empty directory, and a Mosquitto that the page starts itself."""
    if find_mosquitto() is None:
        assert not REQUIRED, "MEDLEDGER_REQUIRE_MOSQUITTO=1, but no mosquitto is here"
        pytest.skip("no mosquitto: the page starts one")
    (tmp_path / "work").mkdir()
    shell = Shell(tmp_path / "work", None)
    try:
        yield shell
    finally:
        shell.close()


@pytest.mark.timeout(300)
def test_the_guide_leads_to_a_reading_on_the_auditors_screen(shell: Shell, tmp_path: Path) -> None:
    """Every command prints what the page shows; the auditor's replica then holds monitor, instrument and pack."""
    for step in steps(PAGE):
        printed, _ = shell.run(step)
        assert compared(printed) == compared(step.output), step.command
    with Ledger.open(tmp_path / "work" / "audit" / "ledger.db") as ledger:
        assert [entry.content["device"] for entry in ledger.entries("reading")] == ["MON-7"] * 3
        signed = [len(entry.content["readings"]) for entry in ledger.entries("device.batch")]
        assert sum(signed) == 12
        subjects = {entry.subject for name in ("reading", "device.batch") for entry in ledger.entries(name)}
        assert len(subjects - {None}) == 1
        assert [entry.content["product"] for entry in ledger.entries("dispense")] == ["09520123456016"]
        ledger.verify(every_signature=True)


def test_what_is_not_run_says_so() -> None:
    """A block that needs systemd, apt or root stands after the words that nobody has run it."""
    for match in re.finditer(r"^```(sh|ini)\n", PAGE, re.MULTILINE):
        section = re.split(r"^```\w*$|^#", PAGE[: match.start()], flags=re.MULTILINE)[-1]
        assert "not run by the tests" in section.lower(), PAGE[match.start() : match.start() + 60]
    run = "\n".join(step.command for step in steps(PAGE))
    assert not re.search(r"\b(?:sudo|systemctl|apt|timedatectl)\b", run)


def test_the_units_and_paths_that_it_names_are_there() -> None:
    """What is to be installed lies where the page says."""
    for path in re.findall(r"\bagents/systemd/[\w.-]+", PAGE):
        assert (ROOT / path).is_file(), path
