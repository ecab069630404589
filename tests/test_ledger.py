"""The ledger as an embedder meets it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from medledger import Identity, Ledger, make_request
from medledger.acts import GovApprove
from medledger.errors import (
    JoinError,
    LimitError,
    MembershipError,
    SchemaError,
    SealError,
    StoreError,
    UsageError,
)
from medledger.governing import change_epoch
from medledger.header import Clock
from medledger.importing import Advance
from medledger.records import Association, Dispense, Reading
from worlds import found, join, reading, sync


@pytest.fixture
def founder(tmp_path: Path) -> Iterator[Ledger]:
    """A new ledger's only governor."""
    with found(tmp_path) as ledger:
        yield ledger


def identity_of(ledger: Ledger) -> Identity:
    """The key that a ledger was opened with."""
    assert ledger.identity is not None
    return ledger.identity


# --- writing and reading ------------------------------------------------------------------------------------------


def test_what_was_appended_is_there_after_reopening(tmp_path: Path) -> None:
    """With its exact decimals, its time and its place."""
    with found(tmp_path) as ledger:
        me = identity_of(ledger)
        block = ledger.append(
            Reading(device="MON-7", samples=[("8867-4", "72", "/min"), ("8310-5", "37.50", "Cel")], time=1234)
        )
        digest = ledger.digest()
    with Ledger.open(tmp_path / "founder.db", me) as ledger:
        [entry] = ledger.entries("reading")
        assert (entry.author, entry.seq, entry.index, entry.block_id) == (me.public_key, block.seq, 0, block.id)
        assert (entry.time, entry.void) == (1234, None)
        assert entry.content["samples"] == [["8867-4", [72, 0], "/min"], ["8310-5", [3750, -2], "Cel"]]
        assert ledger.digest() == digest
        assert ledger.block(me.public_key, block.seq) == block
        assert ledger.find_block(block.id) == block
        assert ledger.find_block(block.id[:8]) == block
        assert ledger.find_block(bytes(32)) is None
        assert ledger.append(reading()).seq == block.seq + 1


def test_entries_are_found_by_type_subject_time_and_author(founder: Ledger, tmp_path: Path) -> None:
    """Oldest first, from all feeds, in any combination."""
    with join(founder, tmp_path, "box") as box:
        patient, other = os.urandom(16), os.urandom(16)
        box.append(reading(60, time=100, subject=patient), reading(61, time=300, subject=other))
        founder.append(reading(62, time=200, subject=patient))
        founder.append(Association(device="MON-7", action="begin", subject=patient, time=150))
        sync(box, founder)

        def rates(**query: object) -> list[int]:
            found = founder.entries("reading", **query)  # type: ignore[arg-type]
            return [entry.content["samples"][0][1][0] for entry in found]

        assert rates() == [60, 62, 61]
        assert rates(subject=patient) == [60, 62]
        assert rates(since=200) == [62, 61]
        assert rates(until=300) == [60, 62]
        assert rates(since=200, until=300, author=founder.me) == [62]
        assert rates(author=box.me) == [60, 61]
        assert rates(author=bytes(32)) == []
        assert [entry.type for entry in founder.entries(subject=patient)] == ["reading", "association", "reading"]


def test_more_entries_than_a_page_come_once_each_and_in_order(founder: Ledger) -> None:
    """Also when many have the same time."""
    for start in range(0, 1000, 100):
        founder.append(*(reading(n, time=n // 300) for n in range(start, start + 100)))
    rates = [entry.content["samples"][0][1][0] for entry in founder.entries("reading")]
    assert rates == list(range(1000))


def test_an_append_while_reading_is_allowed(founder: Ledger) -> None:
    """Nothing is locked while a caller iterates."""
    founder.append(*(reading(n, time=n) for n in range(600)))
    seen = 0
    for entry in founder.entries("reading", until=600):
        if entry.time % 100 == 0:
            founder.append(reading(time=10_000))
        seen += 1
    assert seen == 600


def test_what_every_replica_would_void_is_not_signed(founder: Ledger, tmp_path: Path) -> None:
    """A role that may not write this type, mixed classes, or more than fits: refused, and nothing is written."""
    with join(founder, tmp_path, "counter", role="pharmacy") as counter:
        head = counter.head(counter.me or b"")
        with pytest.raises(MembershipError, match="not-allowed") as caught:
            counter.append(reading())
        assert caught.value.hint
        with pytest.raises(UsageError):
            counter.append()
        with pytest.raises(UsageError, match="governance or data"):
            founder.append(reading(), GovApprove(act=bytes(32)))
        with pytest.raises(LimitError):
            founder.append(*(reading(n) for n in range(1025)))
        with pytest.raises(SchemaError):
            founder.append(Dispense(product="123", quantity="1", unit="{tablet}"))
        assert counter.head(counter.me or b"") == head


def test_a_member_signs_nothing_before_its_enrolment_is_here(founder: Ledger, tmp_path: Path) -> None:
    """It cannot know its rights, and says what to do."""
    identity = Identity.generate()
    secret = os.urandom(16)
    reply = founder.enrol(make_request(identity, secret=secret, roles=["bedside"]))
    with Ledger.join(tmp_path / "box.db", identity, reply, secret) as box:
        with pytest.raises(MembershipError, match="not enrolled") as caught:
            box.append(reading())
        assert "sync" in (caught.value.hint or "")
        sync(founder, box)
        assert box.append(reading()).seq == 0


def test_many_threads_append_and_each_gets_its_own_block(founder: Ledger) -> None:
    """They share commits; nothing is lost, doubled or mixed up."""
    results: dict[int, list[int]] = {}

    def work(worker: int) -> None:
        results[worker] = [founder.append(reading(worker, time=n)).seq for n in range(40)]

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seqs = [seq for worker in results.values() for seq in worker]
    assert sorted(seqs) == list(range(1, 321))
    for worker, mine in results.items():
        for n, seq in enumerate(mine):
            block = founder.block(founder.me or b"", seq)
            assert block is not None
            [entry] = [e for e in founder.entries("reading", since=n, until=n + 1) if e.seq == seq]
            assert entry.content["samples"][0][1][0] == worker
    assert founder.verify(every_signature=True).through_successor == []


def test_appending_while_importing(founder: Ledger, tmp_path: Path) -> None:
    """An agent logs while gossip brings other feeds."""
    with join(founder, tmp_path, "box") as box:
        for n in range(200):
            box.append(reading(n))
        raws = list(box.raw_blocks(box.me or b""))
        errors: list[BaseException] = []

        def gossip() -> None:
            try:
                for raw in raws:
                    founder.import_blocks([raw])
            except BaseException as error:  # noqa: BLE001 - reported by the test
                errors.append(error)

        thread = threading.Thread(target=gossip)
        thread.start()
        mine = [founder.append(reading(n)).seq for n in range(100)]
        thread.join()
        assert errors == []
        assert mine == list(range(2, 102))
        assert founder.head(box.me or b"") == box.head(box.me or b"")
        founder.fsck()


def test_watchers_hear_of_what_is_durable(founder: Ledger, tmp_path: Path) -> None:
    """Appended and imported, with the range; not after they leave."""
    heard: list[Advance] = []
    with join(founder, tmp_path, "box") as box:
        leave = founder.watch(heard.append)
        founder.append(reading())
        box.append(reading())
        box.append(reading())
        founder.import_blocks(list(box.raw_blocks(box.me or b"")))
        leave()
        founder.append(reading())
        assert heard == [Advance(founder.me or b"", 2, 2), Advance(box.me or b"", 0, 1)]


def test_the_clock_decides_nothing(tmp_path: Path) -> None:
    """A box that starts in 1970, jumps ten years and back: every block is taken, everywhere."""
    times = iter([0, 0, 5, 10**12, 4 * 10**12, 3, 2**62, 1])

    def clock() -> tuple[int, Clock]:
        return next(times), Clock(1, b"\0" * 8, 0)

    with found(tmp_path, clock=clock) as ledger:
        written = [ledger.append(reading()).time for _ in range(7)]
        assert written == [0, 5, 10**12, 4 * 10**12, 3, 2**62, 1]
        with Ledger.replicate(tmp_path / "replica.db", ledger.genesis.raw) as replica:
            assert replica.import_blocks(ledger.release(ledger.me or b"", 0, 100)).refused == []
            assert replica.digest() == ledger.digest()


# --- governance ---------------------------------------------------------------------------------------------------


def test_two_governors_decide_together(founder: Ledger, tmp_path: Path) -> None:
    """With a threshold of two an enrolment waits for the second approval, then counts everywhere."""
    with join(founder, tmp_path, "second", role="hospital") as second:
        change_epoch(founder, governors=[founder.me or b"", second.me or b""], threshold=2)
        sync(founder, second)
        assert second.membership.epoch.number == 1
        applicant = Identity.generate()
        founder.enrol(make_request(applicant, secret=os.urandom(16), roles=["bedside"]))
        assert applicant.public_key not in founder.membership.members
        [pending] = founder.membership.pending
        sync(founder, second)
        second.approve(pending.id[:4])
        sync(second, founder)
        for ledger in (founder, second):
            assert ledger.membership.members[applicant.public_key].roles == ("bedside",)
            assert ledger.membership.pending == ()


def test_a_change_of_policy_judges_later_blocks_only(founder: Ledger, tmp_path: Path) -> None:
    """An entry is judged by the policy of its block's epoch."""
    with join(founder, tmp_path, "box") as box:
        box.append(reading(1))
        change_epoch(founder, policy={"hospital": ["reading"], "bedside": ["association"]})
        sync(founder, box)
        with pytest.raises(MembershipError):
            box.append(reading(2))
        sync(box, founder)
        assert [entry.void for entry in founder.entries("reading", author=box.me, void=True)] == [None]


# --- files, keys, copies ------------------------------------------------------------------------------------------


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second one hears at once what is the matter and what to do."""
    with found(tmp_path) as ledger:
        script = "import sys; from medledger import Ledger; Ledger.open(sys.argv[1])"
        done = subprocess.run([sys.executable, "-c", script, str(ledger.path)], capture_output=True, text=True)
        assert "InUseError" in done.stderr
        assert "in use by another process" in done.stderr
        ledger.backup(tmp_path / "copy.db")
        with Ledger.open(tmp_path / "copy.db") as copy:
            assert copy.digest() == ledger.digest()


def test_a_closed_ledger_is_one_plain_sqlite_file(tmp_path: Path) -> None:
    """No log beside it, and readable views inside it."""
    with found(tmp_path) as ledger:
        ledger.append(reading(72, time=0), Reading(device="T", samples=[("8310-5", "37.50", "Cel")], time=1))
        list(ledger.entries())
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".key" and "witness" not in path.name] == [
        "founder.db"
    ]
    database = sqlite3.connect(tmp_path / "founder.db")
    rows = database.execute(
        "SELECT author, time, device, code, value, mantissa, exponent, unit FROM readings"
    ).fetchall()
    assert rows == [
        ("founder", "1970-01-01T00:00:00.000Z", "MON-7", "8867-4", 72.0, 72, 0, "/min"),
        ("founder", "1970-01-01T00:00:00.001Z", "T", "8310-5", 37.5, 3750, -2, "Cel"),
    ]
    assert database.execute("SELECT label, roles, governor FROM members").fetchall() == [("founder", "hospital", 1)]
    assert database.execute("SELECT count(*) FROM block_list").fetchone() == (2,)
    database.close()


def test_opening_what_is_no_ledger(tmp_path: Path) -> None:
    """Each mistake has its own sentence."""
    with pytest.raises(StoreError, match="no ledger at"):
        Ledger.open(tmp_path / "nothing.db")
    (tmp_path / "text.db").write_bytes(b"hello world, this is not a database at all" * 100)
    with pytest.raises(StoreError, match="not a SQLite database"):
        Ledger.open(tmp_path / "text.db")
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(StoreError, match="not a medledger ledger"):
        Ledger.open(tmp_path / "other.db")
    with found(tmp_path) as ledger:
        me = identity_of(ledger)
    with pytest.raises(StoreError, match="exists already"):
        Ledger.create(tmp_path / "founder.db", me, name="again")
    database = sqlite3.connect(tmp_path / "founder.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StoreError, match="newer software"):
        Ledger.open(tmp_path / "founder.db", me)


def test_a_replica_without_a_key_reads_and_imports_but_does_not_write(founder: Ledger, tmp_path: Path) -> None:
    """What an auditor holds."""
    founder.append(reading())
    with Ledger.replicate(tmp_path / "replica.db", founder.genesis.raw) as replica:
        assert replica.state == "read-only"
        sync(founder, replica)
        assert len(list(replica.entries("reading"))) == 1
        with pytest.raises(UsageError, match="without a key"):
            replica.append(reading())
        assert replica.transport_key is None


def test_a_copy_of_the_database_does_not_give_the_transport_key_away(founder: Ledger) -> None:
    """It is sealed to the member's own key."""
    key = founder.transport_key
    assert key is not None
    me = identity_of(founder)
    founder.close()
    assert key.key not in founder.path.read_bytes()
    assert me.sign(b"")[:16] not in founder.path.read_bytes()
    with Ledger.open(founder.path, Identity.generate()) as thief, pytest.raises(SealError):
        _ = thief.transport_key


def test_a_reply_opens_only_for_its_applicant(founder: Ledger, tmp_path: Path) -> None:
    """Nobody enrols a box into a ledger of their own, or joins with another's reply."""
    identity, secret = Identity.generate(), os.urandom(16)
    reply = founder.enrol(make_request(identity, secret=secret, roles=["bedside"]), broker="mqtt://broker.example")
    for someone, guess in ((Identity.generate(), secret), (identity, os.urandom(16))):
        with pytest.raises(JoinError):
            Ledger.join(tmp_path / "no.db", someone, reply, guess)
    assert not (tmp_path / "no.db").exists()
    with Ledger.join(tmp_path / "yes.db", identity, reply, secret) as box:
        assert (box.id, box.broker, box.transport_key) == (founder.id, "mqtt://broker.example", founder.transport_key)


def test_a_ledger_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    """Also while its log lies beside it."""
    with found(tmp_path) as ledger:
        ledger.append(reading())
        for path in tmp_path.glob("founder.db*"):
            assert path.stat().st_mode & 0o077 == 0, path.name
