"""The recorder: puts received messages on the ledger, each exactly once, and says what became of them.

It goes through the steps of inbox.py for a whole batch: one commit keeps the raw messages, one block (more, where one
cannot hold them) logs what they say. It blocks on the disk and belongs in one thread of its own.

- A message that the inbox holds unmarked is looked for in our own feed first: entries that a crash left unmarked are
  not logged again, and a message of many records is taken up where it was left.
- After a start, nothing is recorded before what the last run left open is settled. That takes a ledger that may sign:
  a replica that is still recovering does not know its own feed.
- What cannot be logged is refused with the reason, and stays in the inbox; sent again, it is tried again. What there is
  no room for (see spool.py) is refused without being kept.
- What is logged of a message may depend on what was logged before it. A message therefore holds drafts, and `decide`
  makes each the records that it comes to when its turn has come; those of one draft stand in one block. Where a block
  fails, what comes after it is refused too, and `undo` tells whoever decides that nothing of it was logged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from medledger.entry import SALT_BYTES, assemble_entry
from medledger.errors import MedledgerError
from medledger.ledger import Ledger
from medledger.limits import MAX_BODY_BYTES
from medledger.registry import Record, encoding_of

from . import logs
from .health import HEALTH
from .inbox import Inbox, Received, Stored, Unlogged, Verdict, logged_in
from .meters import METERS

NOTHING: Final = "there is nothing to log of it"
_NO_SALT: Final = bytes(SALT_BYTES)
_LATE: Final = 2**40  # a time that takes as many bytes as any


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message and what to log of it: records, or drafts of them; or why nothing is, for one that is only kept."""

    message: Received
    records: tuple[Any, ...]
    urgent: bool = False
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a message: logged up to this block, or the reason why not. Neither: it changes nothing."""

    block: int | None
    refused: str | None = None
    repeated: bool = False
    conflict: bool = False  # the message id was another message's
    full: bool = False  # there was no room for it


@dataclass(slots=True)
class _Task:
    """What of a message is still to be logged."""

    id: int
    sha256: bytes
    records: Sequence[Any]
    block: int | None = None  # of the last record that is logged
    refused: str | None = None


class Recorder:
    """Records messages from one inbox into one ledger.

    `read` makes the drafts of a message again, after a crash or for another name: of its bytes, the time of its
    receipt, and the hash that they name it by.
    """

    def __init__(
        self,
        ledger: Ledger,
        inbox: Inbox,
        read: Callable[[bytes, int, bytes], Sequence[Any]],
        *,
        max_entries: int,
        decide: Callable[[Any], Sequence[Record]] = lambda record: (record,),
        undo: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._inbox = inbox
        self._read = read
        self.max_entries = max_entries
        self._decide = decide
        self._undo = undo
        self._settled = False

    def settle(self) -> int:
        """Log or mark what the last run left open; how many messages that were. Raises what the ledger raises."""
        if self._settled:
            return 0
        left = self._inbox.unlogged()
        if left:
            self._ledger.check_may_sign()
            tasks = [self._resume(message) for message in left]
            self._look_up(tasks, min(message.after for message in left))
            self._log(tasks)
            self._mark(tasks)
            logs.event("unfinished messages settled", count=len(left))
        self._settled = True
        return len(left)

    def _resume(self, message: Unlogged) -> _Task:
        try:
            return _Task(message.id, message.sha256, self._read(message.raw, message.received, message.sha256))
        except MedledgerError as error:  # read once before it was stored: only newer software can see it otherwise
            return _Task(message.id, message.sha256, (), refused=str(error))

    def record(self, batch: Sequence[Delivery]) -> list[Answer]:
        """Log these messages: durable on return. One answer for each; no `MedledgerError` is raised."""
        started = time.monotonic()
        answers = self._record(batch)
        METERS.observe("commit_seconds", time.monotonic() - started)
        METERS.observe("batch_messages", len(batch))
        for answer in answers:
            _count(answer)
        return answers

    def _record(self, batch: Sequence[Delivery]) -> list[Answer]:
        try:
            self.settle()
            stored = self._store(batch)  # (1)
        except MedledgerError as error:
            HEALTH.fault("recording", f"nothing can be logged: {error}")
            return [Answer(None, str(error))] * len(batch)
        tasks: dict[int, _Task] = {}
        again: list[Stored] = []
        for delivery, place in zip(batch, stored, strict=True):
            if place.verdict in (Verdict.NEW, Verdict.AGAIN) and place.id not in tasks:
                tasks[place.id] = self._task(delivery, place)
                again += [place] if place.verdict is Verdict.AGAIN else []
        if again:
            self._look_up([tasks[place.id] for place in again], min(place.after for place in again))
        self._log(list(tasks.values()))  # (2)
        self._mark(tasks.values())  # (3)
        first = set(tasks)
        answers = []
        for place in stored:
            full = self._inbox.gate() if place.verdict is Verdict.FULL else None
            answers.append(_answer(place, tasks.get(place.id), repeated=place.id not in first, full=full))
            first.discard(place.id)
        return answers

    def _task(self, delivery: Delivery, place: Stored) -> _Task:
        """What a message comes to, under the name that the inbox holds it by: that may be of another secret."""
        message = delivery.message
        if place.sha256 == message.sha256 or delivery.refused is not None:
            return _Task(place.id, place.sha256, delivery.records, refused=delivery.refused)
        return self._resume(Unlogged(place.id, place.sha256, message.raw, message.at, place.after))

    def note(self, records: Sequence[Record]) -> None:
        """Log what this box itself has to say. Raises what the ledger raises."""
        if records:
            self._ledger.append(*records)

    def rest(self) -> None:
        """Write what is only noted yet; for a moment in which nothing waits.

        Where that fails, nobody is told that it is not logged, for it is: the next start finds it on the ledger.
        """
        try:
            self._inbox.commit()
        except MedledgerError:
            logs.warning("the inbox cannot be marked")

    def _store(self, batch: Sequence[Delivery]) -> list[Stored]:
        me = self._ledger.me
        head = None if me is None else self._ledger.head(me)
        return self._inbox.store([each.message for each in batch], after=-1 if head is None else head.seq)

    def _look_up(self, tasks: Sequence[_Task], after: int) -> None:
        """Leave out the records that stand in our feed already."""
        found = logged_in(self._ledger, after, [task.sha256 for task in tasks])
        for task in tasks:
            blocks = found[task.sha256]
            if blocks:
                task.block = blocks[-1]
                task.records = task.records[len(blocks) :]
                task.refused = None

    def _log(self, tasks: Sequence[_Task]) -> None:
        """Append what these tasks have left, in order, in as few blocks as hold it."""
        block: list[tuple[_Task, Record]] = []
        size = 0
        for number, task in enumerate(tasks):
            for draft in task.records:
                if task.refused is not None:
                    break
                try:
                    group = self._decide(draft)
                    length = sum(map(_length, group))
                except MedledgerError as error:
                    task.refused = str(error)
                    break
                if block and (size + length > MAX_BODY_BYTES or len(block) + len(group) > self.max_entries):
                    reason = self._append(block)
                    if reason is not None:
                        _refuse(tasks[number:], reason)
                        return
                    block, size = [], 0
                block += ((task, record) for record in group)
                size += length
        if block:
            self._append(block)

    def _append(self, block: list[tuple[_Task, Record]]) -> str | None:
        """One block: durable on return, or the reason why not."""
        try:
            seq = self._ledger.append(*(record for _, record in block)).seq
        except MedledgerError as error:
            logs.warning("a block cannot be logged", reason=type(error).__name__, entries=len(block))
            HEALTH.fault("recording", f"a block cannot be logged: {type(error).__name__}")
            _refuse([task for task, _ in block], str(error))
            self._undo()
            return str(error)
        HEALTH.mended("recording")
        METERS.count("blocks")
        METERS.count("entries", by=len(block))
        for task, _ in block:
            task.block = seq
        return None

    def _mark(self, tasks: Iterable[_Task]) -> None:
        logged: dict[int, list[int]] = {}
        try:
            for task in tasks:
                if task.refused is None and task.block is not None:
                    logged.setdefault(task.block, []).append(task.id)
                else:
                    self._inbox.mark_refused(task.id, NOTHING if task.refused is None else task.refused)
            for block, messages in logged.items():
                self._inbox.mark_logged(messages, block)
        except MedledgerError:  # it is on the ledger all the same: the next start finds it there
            logs.warning("the inbox cannot be marked")


def _refuse(tasks: Iterable[_Task], reason: str) -> None:
    for task in tasks:
        task.refused = task.refused or reason


def _length(record: Record) -> int:
    """At most so many bytes does a record's entry have. Raises `LimitError` where it is too large for one."""
    time = _LATE if record.time is None else record.time
    return len(assemble_entry(record.TYPE, encoding_of(record), time=time, subject=record.subject, salt=_NO_SALT))


def _count(answer: Answer) -> None:
    refused = answer.refused is not None
    METERS.count(
        "messages",
        "conflict" if answer.conflict else "refused" if refused else "repeated" if answer.repeated else "logged",
    )
    if refused:
        METERS.count("refused", "conflict" if answer.conflict else "full" if answer.full else "ledger")
    else:
        METERS.count("acknowledged")


def _answer(place: Stored, task: _Task | None, *, repeated: bool, full: str | None) -> Answer:
    if place.verdict is Verdict.LOGGED:
        return Answer(place.block, repeated=True)
    if place.verdict is Verdict.FULL:
        return Answer(None, full or "the disk was full: send it again", full=True)
    if place.verdict is Verdict.CONFLICT or task is None:  # the other may be of this very batch: its task is not ours
        return Answer(None, "this message id was used for another message", conflict=True)
    return Answer(None, task.refused) if task.refused is not None else Answer(task.block, repeated=repeated)
