"""A sender on the network that passes what it says off as an instrument of the box: nothing of it is taken for that."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from boxes import oru
from medledger import Reading
from medledger_agents.bedside.intake import Intake
from medledger_agents.inbox import Inbox
from medledger_agents.inboxfile import COUNTED
from medledger_agents.instruments import envelope
from medledger_agents.recorder import Recorder
from medledger_agents.subjects import Subjects
from medledger_bridge.hl7 import parse
from worlds import found

NOON = 1_767_268_800_000
KEY = "ab" * 32
LAST = 2**53 - 1
INTAKE = Intake(Subjects(bytes(32), "month"))


def _read(raw: bytes, at: int, name: bytes) -> Sequence[Any]:
    return INTAKE.read(raw, at, name)


@pytest.mark.parametrize("mark", ["|", ":", "#"])
def test_no_delimiter_makes_a_sender_the_name_of_a_device(tmp_path: Path, mark: str) -> None:
    """A device forgets what it was told to be durable: no message from the network says that, whatever MSH-1 is."""
    raw = oru(LAST, sender=COUNTED[:-1]).replace(b"WARD3", KEY.encode()).replace(b"|", mark.encode())
    taken = INTAKE.take(raw, NOON)
    assert taken.delivery is not None
    assert taken.delivery.message.message_id == str(LAST)
    with closing(found(tmp_path)) as ledger, Inbox.open(tmp_path / "inbox.db") as inbox:
        [answer] = Recorder(ledger, inbox, _read, max_entries=100).record([taken.delivery])
        assert answer.refused is None
        assert inbox.highest_logged(COUNTED + KEY) == 0


def test_one_message_has_one_sender_whatever_its_delimiters() -> None:
    """Who numbers its messages is its two fields."""
    usual = oru("7")
    assert parse(usual).sender == parse(usual.replace(b"|", b"#")).sender


def test_what_the_inbox_keeps_of_instruments_comes_from_none_but_the_box(tmp_path: Path) -> None:
    """Bytes in that form are no message, and after a crash they are no reading either."""
    reading = Reading(device="PO-1", samples=[("8867-4", "72", "/min")], time=NOON)
    feigned = envelope.of_values("PO-1", "", NOON, b"x", [reading], (NOON, NOON)).raw
    taken = INTAKE.take(feigned, NOON)
    assert taken.code != "AA"
    with closing(found(tmp_path)) as ledger, Inbox.open(tmp_path / "inbox.db") as inbox:
        kept = [] if taken.delivery is None else [taken.delivery.message]
        inbox.store(kept, after=-1)  # and the power goes
        Recorder(ledger, inbox, _read, max_entries=100).settle()
        assert list(ledger.entries("reading")) == []
