"""The inbox and the recorder: whatever is cut short and whenever, a message is on the ledger exactly once."""

from __future__ import annotations

import sqlite3
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medledger import Identity, Ledger, Reading
from medledger.errors import RecoveringError, StoreError
from medledger_agents.inbox import HIGHEST_LOGGED, Inbox, Received, Verdict, logged_in
from medledger_agents.inboxfile import COUNTED, SCHEMA, SWEEPS
from medledger_agents.recorder import Delivery, Recorder

HOUR = 3_600_000


class PowerCutError(BaseException):
    """The machine goes off: nothing of ours may catch this."""


def received(number: int, content: str = "", *, at: int = 0) -> Received:
    """A message."""
    raw = f"message {number} {content}".encode()
    return Received("MON-7", str(number), sha256(raw).digest(), raw, at)


def read(raw: bytes, at: int, name: bytes) -> tuple[Reading, ...]:
    """The readings of such a message: one, or as many as its content says."""
    count = raw.split()[-1].decode()
    readings = int(count) if count.isdigit() and len(raw.split()) > 2 else 1
    return tuple(
        Reading(device="MON-7", samples=[("8867-4", str(index), "/min")] * 8, raw=name, time=at)
        for index in range(readings)
    )


def delivery(message: Received) -> Delivery:
    """A message as the intake hands it over."""
    return Delivery(message, read(message.raw, message.at, message.sha256))


def box(directory: Path) -> tuple[Ledger, Inbox]:
    """A box that may write, with an inbox."""
    path = directory / "ward.db"
    if path.exists():
        ledger = Ledger.open(path, Identity.load(directory / "box.key"))
    else:
        ledger = Ledger.create(path, Identity.load_or_create(directory / "box.key"), name="Ward", roles=["bedside"])
    return ledger, Inbox.open(directory / "inbox.db")


@contextmanager
def ward(directory: Path) -> Iterator[tuple[Ledger, Inbox, Recorder]]:
    """Such a box and its recorder, closed in order at the end."""
    ledger, inbox = box(directory)
    with ledger, inbox:
        yield ledger, inbox, Recorder(ledger, inbox, read, max_entries=64)


def logged(ledger: Ledger) -> Counter[bytes]:
    """How often the hash of each message stands on the ledger."""
    return Counter(entry.content["raw"] for entry in ledger.entries("reading"))


def test_a_message_is_known_again(tmp_path: Path) -> None:
    """The same id and bytes are the same message, before it is logged and after."""
    with Inbox.open(tmp_path / "inbox.db") as inbox:
        (first,) = inbox.store([received(1)], after=-1)
        (again,) = inbox.store([received(1)], after=5)
        inbox.mark_logged([first.id], 7)
        (logged_since,) = inbox.store([received(1, at=HOUR * 1000)], after=9)
    assert (first.verdict, again.verdict, logged_since.verdict) == (Verdict.NEW, Verdict.AGAIN, Verdict.LOGGED)
    assert (again.id, again.after, logged_since.block) == (first.id, -1, 7)


def test_an_id_belongs_to_its_message_for_a_while(tmp_path: Path) -> None:
    """Other bytes under the same id are a conflict within the configured hours, and a new message after them."""
    with Inbox.open(tmp_path / "inbox.db", keep_id_hours=24) as inbox:
        inbox.store([received(1)], after=-1)
        found = [inbox.store([received(1, "other", at=at)], after=-1)[0] for at in (23 * HOUR, 25 * HOUR)]
        (old,) = inbox.store([received(1, at=50 * HOUR)], after=-1)
    assert [each.verdict for each in found] == [Verdict.CONFLICT, Verdict.NEW]
    assert old.verdict is Verdict.AGAIN, "the first message is still itself"


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    """It holds patients' data: neither it nor what SQLite puts beside it can be read by others."""
    with Inbox.open(tmp_path / "inbox.db") as inbox:
        inbox.store([received(1)], after=-1)
        modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("inbox.db*")}
    assert modes == {0o600}


def test_marks_are_written_with_the_next_message(tmp_path: Path) -> None:
    """A mark that no commit followed is lost, which is why the feed is looked through on start."""
    inbox = Inbox.open(tmp_path / "inbox.db")
    first, second = (inbox.store([received(number)], after=-1)[0] for number in (1, 2))
    inbox.mark_logged([first.id], 0)
    inbox.store([received(3)], after=0)
    inbox.mark_logged([second.id], 1)
    _cut_off(inbox)
    with Inbox.open(tmp_path / "inbox.db") as again:
        assert [each.sha256 for each in again.unlogged()] == [received(2).sha256, received(3).sha256]


def test_the_highest_number_of_a_sender_that_counts(tmp_path: Path) -> None:
    """By number, not by text or by age; what is not logged, and other senders, do not count."""

    def of(sender: str, message_id: str) -> Received:
        raw = f"{sender} {message_id}".encode()
        return Received(sender, message_id, sha256(raw).digest(), raw, 0)

    first, second = f"{COUNTED}01", f"{COUNTED}02"
    names = [(first, "9"), (first, "10"), (first, "2 0a0b"), (first, "11"), (second, "12"), ("MON-7", "99")]
    with Inbox.open(tmp_path / "inbox.db") as inbox:
        assert inbox.highest_logged(first) == 0
        for stored in inbox.store([of(*name) for name in names], after=-1):
            if stored.id != 4:
                inbox.mark_logged([stored.id], 1)
        assert [inbox.highest_logged(each) for each in (first, second, f"{COUNTED}03")] == [10, 12, 0]
        inbox.mark_logged([4], 1)
        assert inbox.highest_logged(first) == 11


@pytest.mark.parametrize("version", [0, 2], ids=["new", "of the last version"])
def test_the_highest_number_is_looked_up_and_not_searched_for(tmp_path: Path, version: int) -> None:
    """One step in an index, however many millions of messages there are; one that has none costs the same."""
    if version:
        with closing(sqlite3.connect(tmp_path / "inbox.db")) as db:
            db.executescript(SCHEMA + SWEEPS)
    Inbox.open(tmp_path / "inbox.db").close()
    with closing(sqlite3.connect(tmp_path / "inbox.db")) as db:
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {HIGHEST_LOGGED}", (f"{COUNTED}01",))]
    assert plan == ["SEARCH messages USING INDEX messages_counted (sender=?)"]


def test_the_inbox_of_newer_software_is_left_alone(tmp_path: Path) -> None:
    """An unknown schema is refused, not guessed at."""
    Inbox.open(tmp_path / "inbox.db").close()
    with sqlite3.connect(tmp_path / "inbox.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="newer software"):
        Inbox.open(tmp_path / "inbox.db")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """The error is ours and names the file."""
    (tmp_path / "inbox.db").write_bytes(b"not a database, and long enough to be one" * 100)
    with pytest.raises(StoreError, match=r"inbox\.db"):
        Inbox.open(tmp_path / "inbox.db")


def test_one_batch_is_one_block(tmp_path: Path) -> None:
    """Messages that are recorded together share a block and its commit; a repetition among them is logged once."""
    with ward(tmp_path) as (ledger, _, recorder):
        answers = recorder.record([delivery(received(number)) for number in (1, 2, 1)])
        assert [answer.block for answer in answers] == [1, 1, 1]
        assert [answer.repeated for answer in answers] == [False, False, True]
        assert set(logged(ledger).values()) == {1}


def test_a_message_too_long_for_a_block_goes_on_in_the_next(tmp_path: Path) -> None:
    """All its readings are logged, in their order, and its last block is what it is marked with."""
    with ward(tmp_path) as (ledger, _, recorder):
        message = received(1, "200")
        (answer,) = recorder.record([delivery(message)])
        assert answer.block == 4  # 64 readings a block; the founder's own enrolment is block 0
        assert logged(ledger)[message.sha256] == 200
        values = [entry.content["samples"][0][1][0] for entry in ledger.entries("reading")]
        assert sorted(values) == list(range(200))


def test_a_message_cut_in_the_middle_is_taken_up_where_it_was_left(tmp_path: Path) -> None:
    """After a crash between two of its blocks only the rest is logged."""
    message = received(1, "200")
    with ward(tmp_path) as (ledger, inbox, _):
        inbox.store([message], after=0)
        ledger.append(*delivery(message).records[:64])
    with ward(tmp_path) as (ledger, _, recorder):
        assert recorder.settle() == 1
        assert logged(ledger)[message.sha256] == 200


def test_what_cannot_be_marked_is_logged_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full from one commit to the next: a sender must not be told that what is logged is not."""
    with ward(tmp_path) as (_, inbox, recorder):
        (answer,) = recorder.record([delivery(received(1))])

        def full() -> None:
            raise StoreError("the disk is full")

        with monkeypatch.context() as broken:
            broken.setattr(inbox, "commit", full)
            recorder.rest()
        assert answer.refused is None
    with ward(tmp_path) as (ledger, _, recorder):
        (again,) = recorder.record([delivery(received(1))])
        assert (again.block, again.repeated) == (answer.block, True)
        assert set(logged(ledger).values()) == {1}


def test_what_is_refused_can_be_sent_again(tmp_path: Path) -> None:
    """A message that could not be logged is not logged behind its sender's back, and is taken when it comes again."""
    with ward(tmp_path) as (ledger, inbox, recorder):
        failing = Recorder(_Failing(ledger), inbox, read, max_entries=64)  # type: ignore[arg-type]
        (refused,) = failing.record([delivery(received(1))])
        assert refused.refused == "the disk is full"
    with ward(tmp_path) as (ledger, _, recorder):
        assert recorder.settle() == 0
        assert not logged(ledger)
        (taken,) = recorder.record([delivery(received(1))])
        assert taken.refused is None
        assert set(logged(ledger).values()) == {1}


def test_nothing_is_settled_before_the_feed_is_whole(tmp_path: Path) -> None:
    """A replica that is still recovering does not know what it has logged: what is open waits, and so does the rest."""
    with ward(tmp_path) as (ledger, inbox, _):
        inbox.store([received(1)], after=0)
        recorder = Recorder(_Recovering(ledger), inbox, read, max_entries=64)  # type: ignore[arg-type]
        with pytest.raises(RecoveringError):
            recorder.settle()
        (answer,) = recorder.record([delivery(received(2))])
        assert answer.refused is not None
        assert len(inbox.unlogged()) == 1


def test_hashes_are_found_behind_a_block(tmp_path: Path) -> None:
    """Only our own feed behind the given block is looked through, and only what is asked for is named."""
    with ward(tmp_path) as (ledger, _, recorder):
        recorder.record([delivery(received(1))])
        recorder.record([delivery(received(2, "3"))])
        wanted = [received(1).sha256, received(2, "3").sha256, received(9).sha256]
        assert list(logged_in(ledger, 0, wanted).values()) == [[1], [2, 2, 2], []]
        assert list(logged_in(ledger, 1, wanted).values()) == [[], [2, 2, 2], []]


STEPS = ("store", "append", "mark")


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.sampled_from([None, *STEPS]), st.booleans()),
        min_size=1,
        max_size=8,
    )
)
def test_every_message_is_logged_once_whenever_the_power_goes(
    script: list[tuple[list[int], str | None, bool]],
) -> None:
    """Batches with repetitions, cut off before or after any step: what was acknowledged is there, and all are once."""
    acknowledged: set[int] = set()
    with TemporaryDirectory() as name:
        directory = Path(name)
        for numbers, step, done in script:
            ledger, inbox = box(directory)
            recorder = Recorder(
                _CutOff(ledger, {"append": step == "append"}, done),  # type: ignore[arg-type]
                _CutOff(inbox, {"store": step == "store", "mark_logged": step == "mark"}, done),  # type: ignore[arg-type]
                read,
                max_entries=2,
            )
            with suppress(PowerCutError):
                answers = recorder.record([delivery(received(number)) for number in numbers])
                acknowledged.update(
                    number for number, answer in zip(numbers, answers, strict=True) if answer.refused is None
                )
            _cut_off(inbox)
            ledger.close()
        with ward(directory) as (ledger, inbox, recorder):
            recorder.settle()
            found = logged(ledger)
            assert set(found.values()) <= {1}
            assert {received(number).sha256 for number in acknowledged} <= found.keys()
            assert not inbox.unlogged()


def _cut_off(inbox: Inbox) -> None:
    """Close the file as the end of the process would: what no commit followed is gone."""
    connection = inbox._db
    if connection.in_transaction:
        connection.rollback()
    connection.close()


class _CutOff:
    """Passes everything on; in one method the power goes, before or after it is done."""

    def __init__(self, inner: Any, cut: dict[str, bool], done: bool) -> None:
        self._inner = inner
        self._cut = cut
        self._done = done

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not self._cut.get(name):
            return found

        def cut(*args: Any, **kwargs: Any) -> Any:
            if self._done:
                found(*args, **kwargs)
            raise PowerCutError

        return cut


class _Failing:
    """A ledger whose disk is full."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def append(self, *records: Sequence[Reading]) -> None:
        raise StoreError("the disk is full")


class _Recovering(_Failing):
    """A ledger that may not sign yet."""

    def check_may_sign(self) -> None:
        raise RecoveringError("this replica is behind what its key has signed")

    def append(self, *records: Sequence[Reading]) -> None:
        self.check_may_sign()
