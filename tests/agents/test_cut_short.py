"""Files of a box that a power cut has emptied, or filled with zeros: each command says which it is, and what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from boxes import Box, World
from doctoring import assert_bad, look
from medledger.cli.root import medledger
from medledger.errors import ConfigurationError, KeyFileError
from medledger_agents.bedside.config import BedsideConfig
from medledger_agents.enrolment import home
from medledger_agents.enrolment.findings import Verdict
from medledger_agents.process import open_identity
from medledger_agents.subjects import Subjects

ENDS = pytest.mark.parametrize("zeros", [True, False], ids=["zeros", "empty"])


@pytest.fixture
def box(world: World) -> Box:
    """A box that is a member, with all of its files."""
    made = world.box("bed-7", "bedside", gossip={"offline": True})
    Subjects.open(made.home / "subjects.key", "month")
    return made


def cut_short(path: Path, zeros: bool) -> None:
    """As a file system leaves a file that was written and not flushed."""
    path.write_bytes(bytes(path.stat().st_size if zeros else 0))


def said(*arguments: object) -> str:
    """What a command says that cannot go on, with the exit code of a mistake in the configuration."""
    done = CliRunner().invoke(medledger, [str(each) for each in arguments], prog_name="medledger")
    assert done.exit_code == 2, done.output
    return done.output


@ENDS
def test_a_configuration(box: Box, zeros: bool) -> None:
    """It is no box of defaults: doctor, status, setup and agent say that it is empty, and how to get another."""
    cut_short(box.config, zeros)
    assert_bad(look(box)["configuration"], Verdict.FAULT, "is empty", "medledger agent setup")
    for command in ("status", "bedside"):  # neither comes as far as to begin
        assert "medledger agent setup" in said("agent", command, "--config", box.config)
    with pytest.raises(ConfigurationError, match="is empty"):
        home.kind_of(box.config)
    told = said("agent", "setup", "--directory", box.home, "--kind", "bedside", "--yes", "--no-wait")
    assert "is empty" in told
    assert "remove it" in told


def test_a_configuration_is_made_anew_as_they_say(box: Box) -> None:
    """Removed and set up again: the same key and ledger, under a new configuration."""
    key = (box.home / "box.key").read_bytes()
    box.config.unlink()
    done = CliRunner().invoke(
        medledger,
        ["agent", "setup", "--directory", str(box.home), "--kind", "bedside", "--label", "bed-7", "--yes", "--json"],
        prog_name="medledger",
    )
    assert done.exit_code == 0, done.output
    assert '"state": "enrolled"' in done.output
    assert home.kind_of(box.config) is home.KINDS["bedside"]
    assert (box.home / "box.key").read_bytes() == key


@ENDS
def test_a_key(box: Box, zeros: bool) -> None:
    """Nobody makes another in its place: doctor, agent and setup say that it cannot be used."""
    key = box.home / "box.key"
    cut_short(key, zeros)
    before = key.read_bytes()
    assert_bad(look(box)["key"], Verdict.FAULT, "cannot be used", "backup")
    with pytest.raises(KeyFileError, match="cannot be used"):
        open_identity(BedsideConfig.load(box.config).ledger)
    assert "cannot be used" in said("agent", "setup", "--directory", box.home, "--yes", "--no-wait")
    assert key.read_bytes() == before


@ENDS
def test_the_secret_of_pseudonyms(box: Box, zeros: bool) -> None:
    """Zeros would be a secret that everybody knows. The doctor says so before anybody starts the agent."""
    secret = box.home / "subjects.key"
    assert look(box)["subjects"].verdict is Verdict.OK
    cut_short(secret, zeros)
    assert_bad(look(box)["subjects"], Verdict.FAULT, "is damaged", "backup", "other pseudonyms")
    with pytest.raises(ConfigurationError, match="is damaged"):
        Subjects.open(secret, "month")
    os.chmod(secret, 0o644)
    assert_bad(look(box)["subjects"], Verdict.FAULT, "can be read by others")
    secret.unlink()
    assert look(box)["subjects"].verdict is Verdict.SKIPPED
    assert not secret.exists()
