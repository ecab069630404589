"""What a message is named by on the ledger: a hash that nobody can guess back, and that stays the message's own.

A box's secret may be lost, and a box may have been set up when messages were named by their bare hash: what was logged
under an older name is known, and what was not is logged under the name that the inbox holds.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxes import oru
from medledger import Identity, Ledger
from medledger_agents.bedside.intake import Intake
from medledger_agents.inbox import Inbox
from medledger_agents.inboxfile import COUNTERS, SCHEMA, SWEEPS
from medledger_agents.recorder import Answer, Delivery, Recorder
from medledger_agents.subjects import Subjects

NOW = 1_790_000_000_000
OLD, NEW = (Intake(Subjects(bytes([number]) * 32, "month")) for number in (1, 2))


def delivered(intake: Intake, raw: bytes) -> Delivery:
    """A message as the intake hands it over."""
    delivery = intake.take(raw, NOW).delivery
    assert delivery is not None
    return delivery


class Ward:
    """A box's files, between its runs."""

    def __init__(self, directory: Path) -> None:
        self.inbox = directory / "inbox.db"
        self._path = directory / "ward.db"
        self._identity = Identity.generate()
        Ledger.create(self._path, self._identity, name="Ward", roles=["bedside"]).close()

    def run(self, intake: Intake, *raws: bytes) -> Sequence[Answer]:
        """Start with an intake, settle, take these messages, and end."""
        with Ledger.open(self._path, self._identity) as ledger, Inbox.open(self.inbox) as inbox:
            recorder = Recorder(ledger, inbox, intake.read, max_entries=64)
            recorder.settle()
            return recorder.record([delivered(intake, raw) for raw in raws]) if raws else []

    def logged(self) -> Counter[bytes]:
        """How often each name stands on the ledger."""
        with Ledger.open(self._path, self._identity) as ledger:
            return Counter(entry.content["raw"] for entry in ledger.entries("reading"))

    def rows(self) -> list[tuple[bytes, bytes, bytes]]:
        """Name, salt and bytes of what the inbox holds."""
        with closing(sqlite3.connect(self.inbox)) as db:
            return db.execute("SELECT sha256, salt, raw FROM messages ORDER BY id").fetchall()


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    """A box that has not run yet."""
    return Ward(tmp_path)


def test_a_message_is_not_found_by_trying(ward: Ward) -> None:
    """Who knows all of it but the patient's number, and holds the ledger, finds none; bytes and salt show one."""
    ward.run(OLD, oru(1, patient="P-4711"))
    (name,) = ward.logged()
    tried = {sha256(oru(1, patient=f"P-{number}")).digest() for number in range(10_000)}
    assert name not in tried
    ((stored, salt, raw),) = ward.rows()
    assert stored == name == sha256(salt + raw).digest()
    other = Subjects(bytes(32), "month").name(raw)
    assert other.salt != salt
    assert other.hash != name


@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(min_size=32, max_size=32))
def test_a_name_is_of_the_secret_and_of_the_bytes(one: bytes, other: bytes, secret: bytes) -> None:
    """The same bytes have the same name, others another, and the salt beside them shows it."""
    subjects = Subjects(secret, "month")
    name = subjects.name(one)
    assert name.hash == sha256(name.salt + one).digest() == subjects.request(one)
    assert (subjects.name(other) == name) is (other == one)
    assert subjects.name(one) == name


def test_a_message_keeps_its_name_whatever_becomes_of_the_secret(ward: Ward) -> None:
    """Sent again after the box got another secret it is the same message; another one under its id is not."""
    (first,) = ward.run(OLD, oru(1))
    (again, other) = ward.run(NEW, oru(1), oru(1, value="99"))
    assert (again.refused, again.block, again.repeated) == (None, first.block, True)
    assert other.conflict
    assert ward.logged() == {OLD.subjects.name(oru(1)).hash: 1}


def test_a_refused_message_is_taken_up_under_its_old_name(ward: Ward) -> None:
    """What of it stands on the ledger has that name, and the next crash looks for it."""
    message = delivered(OLD, oru(1)).message
    with Inbox.open(ward.inbox) as inbox:
        (stored,) = inbox.store([message], after=-1)
        inbox.mark_refused(stored.id, "the disk was full")
    (answer,) = ward.run(NEW, oru(1))
    assert answer.refused is None
    assert ward.logged() == {message.sha256: 1}


@pytest.mark.parametrize("state", ["open", "logged"])
def test_an_inbox_of_bare_hashes_goes_on(ward: Ward, state: str) -> None:
    """Its messages stay what they were: one that waits is logged once, under its bare hash, and known when it comes
    again; the next message is named behind a salt.
    """
    bare = sha256(oru(1)).digest()
    with closing(sqlite3.connect(ward.inbox)) as db:
        db.executescript(SCHEMA + SWEEPS + COUNTERS)
        db.execute(
            "INSERT INTO messages (sender, message_id, sha256, raw, received, after)"
            " VALUES ('MON-7|WARD3', '1', ?, ?, ?, -1)",
            (bare, oru(1), NOW),
        )
        db.commit()
    if state == "logged":
        ward.run(OLD)
    (again, following) = ward.run(OLD, oru(1), oru(2))
    assert (again.refused, again.repeated) == (None, True)
    assert following.refused is None
    assert ward.logged() == {bare: 1, OLD.subjects.name(oru(2)).hash: 1}
    assert ward.rows()[0] == (bare, b"", oru(1))


def test_an_id_that_was_used_again_hides_no_older_message(ward: Ward) -> None:
    """Senders begin to count again: of all that had an id, the one with these bytes is found, by either name."""
    rows = [(sha256(oru(1)).digest(), oru(1), 0), (sha256(oru(1, value="99")).digest(), oru(1, value="99"), NOW // 2)]
    with closing(sqlite3.connect(ward.inbox)) as db:
        db.executescript(SCHEMA + SWEEPS + COUNTERS)
        db.executemany(
            "INSERT INTO messages (sender, message_id, sha256, raw, received, after, block)"
            " VALUES ('MON-7|WARD3', '1', ?, ?, ?, -1, 7)",
            rows,
        )
        db.commit()
    answers = ward.run(OLD, oru(1), oru(1, value="99"), oru(1, value="77"), oru(1))
    assert [(answer.block, answer.repeated) for answer in answers[:2]] == [(7, True)] * 2
    assert not answers[2].repeated
    assert (answers[3].block, answers[3].repeated) == (7, True)
    assert ward.logged() == {OLD.subjects.name(oru(1, value="77")).hash: 1}
