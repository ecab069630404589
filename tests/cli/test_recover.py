"""`medledger recover`: a person's word lets a replica write, and never against what the witness knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .conftest import READING, Done, Run

Admit = Callable[..., Path]


def test_a_replica_that_writes_is_left_alone(run: Run, ward: Path) -> None:
    """There is nothing to do, and nothing is asked."""
    assert run("recover", ward, "--json").json == {"state": "ready", "blocks": 2, "changed": False}


def test_nobody_answers_for_a_script(run: Run, admit: Admit) -> None:
    """Without a terminal --yes has to say that a person has decided; what it costs is told either way."""
    box = admit("box 7", "bedside")
    done = run("recover", box, code=2)
    assert "second history" in done.err
    assert "--yes" in done.err
    assert run("recover", box, "--yes", "--json").json == {"state": "ready", "blocks": 0, "changed": True}


def test_the_witness_is_not_overruled(run: Run, ward: Path) -> None:
    """Where it knows of blocks that have left and are not here, the answer is no."""
    run("backup", ward, "old.db")
    run("append", ward, "reading", READING)
    run("bundle", "export", ward, "sent.bundle")
    for path in Path().glob("ward.db*"):
        path.unlink()
    Path("old.db").rename("ward.db")
    assert "knows of blocks that are not here" in run("recover", ward, "--yes", code=1).err
    run("append", ward, "reading", READING, code=1)
    run("bundle", "import", ward, "sent.bundle")
    assert run("recover", ward, "--json").json["changed"] is False
    run("append", ward, "reading", READING)


def test_a_forked_feed_stays_shut_out(run: Run, ward: Path, admit: Admit, carry: Callable[[Path, Path], Done]) -> None:
    """A fork is for ever: what helps is a new key."""
    from .test_audit import forked

    box = forked(run, ward, admit, carry)
    carry(ward, box)
    assert "new key" in run("recover", box, "--yes", code=1).err
