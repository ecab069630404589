"""The writer of one feed: records in, signed and durable blocks out.

Threads that append at the same time share a commit: whoever comes first writes for all that queue up meanwhile, each
append as its own block, in one transaction. An append that fails takes nothing of the others with it.

An append may have consequences: blocks that depend on what the first one changes, as new transport keys depend on who
is revoked. They follow it in the same transaction, so that nobody ever holds the one without the others.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

from .block import Block, check_body_limits, encode_body, entries_root
from .clock import ClockReader
from .entry import assemble_entry
from .errors import MembershipError, SchemaError, UsageError
from .governance import CONTROL_PREFIX
from .header import (
    BOOT_ID_BYTES,
    SIGNATURE_BYTES,
    BlockClass,
    Clock,
    Head,
    Header,
    encode_header,
    encode_payload,
    signed_message,
    signing_prefix,
)
from .importing import Advance
from .keys import Randomness, Signer, verify
from .limits import MAX_INT, SEGMENT_BLOCKS
from .membership import Membership
from .registry import Record, encoding_of
from .replica import Replica
from .validation import ValidBlock

Consequences = Callable[[], Iterable[Sequence[Record]]]
"""Asked for further blocks' records once the replica has taken the first block in. It must not fail."""


class _Append:
    """One call's records on their way to the disk."""

    __slots__ = ("block", "done", "error", "records", "then")

    def __init__(self, records: Sequence[Record], then: Consequences | None) -> None:
        self.records = records
        self.then = then
        self.block: Block | None = None
        self.error: BaseException | None = None
        self.done = False


class Writer:
    """Signs blocks of `signer`'s feed into a replica. `check_may_sign` raises while signing could fork the feed."""

    def __init__(
        self,
        replica: Replica,
        signer: Signer,
        clock: ClockReader,
        randomness: Randomness,
        check_may_sign: Callable[[], None],
    ) -> None:
        self._replica = replica
        self._check_may_sign = check_may_sign
        self._signer = signer
        self._clock = clock
        self._randomness = randomness
        self._prefix = signing_prefix(replica.id)
        self._queue: deque[_Append] = deque()
        self._turn = threading.Lock()  # held by the thread that writes for all
        self._judged: Membership | None = None  # by which the author may write the types in `_allowed`, in its epoch
        self._allowed: set[str] = set()

    def append(self, records: Sequence[Record], then: Consequences | None = None) -> Block:
        """See `Ledger.append`. The first block, where it has consequences."""
        if not records:
            raise UsageError("there is nothing to append")
        for record in records:
            if not hasattr(record, "TYPE"):
                raise UsageError(f"a record is appended, not {type(record).__name__}", hint="Make a Reading.")
        self._check_may_sign()  # again within the transaction; here it undoes nothing that is derived from the blocks
        mine = _Append(records, then)
        self._queue.append(mine)
        advance = None
        with self._turn:
            if not mine.done:
                advance = self._write_queued()
        if advance is not None:
            self._replica.notify([advance])  # not within our turn: a watcher may append
        if mine.error is not None:
            raise mine.error
        assert mine.block is not None  # done without an error
        return mine.block

    def _write_queued(self) -> Advance | None:
        """The queue as one transaction. A crash before its commit: nobody was told. After it: all is durable."""
        appends = []
        while self._queue:
            appends.append(self._queue.popleft())
        blocks: list[Block] = []
        try:
            with self._replica.store.transaction():
                self._check_may_sign()
                for each in appends:
                    feed = self._replica.store.feed(self._signer.public_key)
                    try:
                        each.block = self._sign(each.records, feed.head)
                    except Exception as error:  # noqa: BLE001 - its own caller's to hear, and not to stop the others
                        each.error = error
                        continue
                    self._replica.store.append(feed, [_as_valid(each.block)])
                    blocks.append(each.block)
                    if each.then is not None:
                        blocks += self._follow(each.then)
                for block in blocks:
                    if block.header.block_class == BlockClass.CONTROL:
                        self._replica.refold()
                        break
        except BaseException as error:
            for each in appends:
                each.block, each.error = None, each.error or error
            raise
        finally:
            for each in appends:
                each.done = True
        return Advance(self._signer.public_key, blocks[0].seq, blocks[-1].seq) if blocks else None

    def _follow(self, then: Consequences) -> list[Block]:
        """Write the consequences of the block that was just written."""
        self._replica.refold()
        blocks = []
        for records in then():
            feed = self._replica.store.feed(self._signer.public_key)
            block = self._sign(records, feed.head)
            self._replica.store.append(feed, [_as_valid(block)])
            blocks.append(block)
        return blocks

    def _sign(self, records: Sequence[Record], head: Head | None) -> Block:
        """The next block of the feed. Nothing is stored."""
        now, clock = self._read_clock()
        block_class = self._class_of(records)
        epoch = self._replica.membership.epoch.number
        self._check_rights(records, block_class, epoch)
        salts = self._randomness(16 * len(records))
        body = []
        for at, record in enumerate(records):
            time = now if record.time is None else record.time
            salt = salts[16 * at : 16 * at + 16]
            content = encoding_of(record)
            body.append(assemble_entry(record.TYPE, content, time=time, subject=record.subject, salt=salt))
        check_body_limits(body)
        author = self._signer.public_key
        if head is None:
            seq, prev = 0, None
        else:
            seq, prev, epoch = head.seq + 1, head.id, max(epoch, head.epoch)
        size = sum(map(len, body))
        header = Header(author, seq, prev, epoch, block_class, now, clock, (), entries_root(body), len(body), size)
        payload = encode_payload(header)
        message = signed_message(self._prefix, payload)
        signature = self._signer.sign(message)
        if header.seq % SEGMENT_BLOCKS == SEGMENT_BLOCKS - 1:
            # No successor can vouch for this one: a signer that fails here, unnoticed, would end the feed for ever.
            verify(self._signer.public_key, message, signature)
        if len(signature) != SIGNATURE_BYTES:
            raise UsageError(f"the signer gave {len(signature)} bytes, not {SIGNATURE_BYTES}")
        header_bytes = encode_header(payload, signature)
        return Block(header, sha256(header_bytes).digest(), tuple(body), header_bytes, encode_body(body))

    def _read_clock(self) -> tuple[int, Clock]:
        """The clock, held to what a header can say: a block that peers call malformed would end the feed."""
        now, clock = self._clock()
        right = (
            0 <= now <= MAX_INT
            and 0 <= clock.monotonic_ms <= MAX_INT
            and len(clock.boot_id) == BOOT_ID_BYTES
            and 0 <= clock.sync <= 0xFF
        )
        if not right:
            raise UsageError(f"the clock gave {now} and {clock}, which no block can hold")
        return now, clock

    def _class_of(self, records: Sequence[Record]) -> BlockClass:
        classes = {record.CONTROL for record in records}
        if len(classes) > 1:
            raise UsageError("a block holds governance or data, not both", hint="Append them one after the other.")
        return BlockClass.CONTROL if classes.pop() else BlockClass.DATA

    def _check_rights(self, records: Sequence[Record], block_class: BlockClass, epoch: int) -> None:
        """Refuse to sign what every replica would mark void. Governance is judged by its approvals, not here."""
        if block_class == BlockClass.CONTROL:
            if any(not record.TYPE.startswith(CONTROL_PREFIX) for record in records):
                raise SchemaError("a control block holds governance acts only")
            return
        membership = self._replica.membership
        types = {record.TYPE for record in records}
        if membership is self._judged and types <= self._allowed:
            return  # the same fold has said yes before
        feed = self._signer.public_key
        if not membership.knows(feed):
            raise MembershipError(
                "this key is not enrolled, as far as this replica knows",
                hint="Let it sync once: its enrolment comes with the governors' feeds.",
            )
        for record_type in types:
            reason = membership.refusal(feed, epoch, record_type)
            if reason is not None:
                raise MembershipError(
                    f"this key may not write {record_type!r} entries: {reason}",
                    hint="Ask a governor for a role that may, or for a policy that lets yours.",
                )
        self._allowed = types | (self._allowed if membership is self._judged else set())
        self._judged = membership


def _as_valid(block: Block) -> ValidBlock:
    """A block of our own making, as the store takes it."""
    header = block.header
    return ValidBlock(
        header.seq, block.id, header.epoch, header.block_class, block.header_bytes, block.body_bytes, False
    )
