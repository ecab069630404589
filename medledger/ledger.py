"""The ledger that people embed: a replica with a member's key, which can write.

What an embedder may rely on:

- `append` returns when the block is durable, not before; what it returned survives kill -9 and a power cut (as far as
  the disk keeps its word on fsync).
- A block leaves the process only through `release`, which first makes sure that the witness beside the key knows of it:
  a restored backup can then be told from the latest state, and does not sign a second history.
- A ledger may be used from several threads: an agent appends while gossip imports.
- The clock and the source of randomness are the system's. A simulation hands in its own; nothing else should.
- One process at a time: the file is locked while it is open. Give other programs a copy (`backup`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from os import urandom
from pathlib import Path
from typing import TYPE_CHECKING, Final, NewType, Self

from . import files, governing, rekeying
from .audit import VerifyReport, fsck, verify
from .block import Block, join_block
from .clock import ClockReader, system_clock
from .errors import ForkedError, JoinError, MembershipError, RecoveringError, StoreError, UsageError
from .governance import epoch_document, make_genesis
from .guard import Guard
from .holder import Holder
from .importing import ImportReport
from .joining import open_reply
from .keys import MemberKey, Randomness, seal_to
from .limits import MAX_DATA_BYTES
from .registry import Record
from .roles import DEFAULT_POLICY
from .store import CHECK_DISK, Store
from .witness import Witness
from .writer import Writer

if TYPE_CHECKING:
    from .bundle import Manifest, Notify, Source

Released = NewType("Released", bytes)
"""An encoded block that may leave the process: the witness knows that it was signed."""

READY: Final = "ready"
RECOVERING: Final = "recovering"
FORKED: Final = "forked"
REVOKED: Final = "revoked"
READ_ONLY: Final = "read-only"


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """A place to make a database in; at the end it becomes `path` at once and durably. A crash before leaves nothing
    that would be taken for a ledger.
    """
    try:
        if files.exists(path):
            raise StoreError(f"{path} exists already", hint="Open it, or choose another path.")
        partial = path.with_name(f"{path.name}.new")
        files.remove_family(partial)
        try:
            yield partial
            files.move(partial, path)
        except BaseException:
            with suppress(OSError):
                files.remove_family(partial)
            raise
    except OSError as error:
        raise StoreError(f"{path} cannot be made: {error.strerror or error}", hint=CHECK_DISK) from error


class Ledger(Holder):
    """A replica, and where an identity was given, its writer. Make one with `create`, `open` or `join`."""

    def __init__(
        self, store: Store, identity: MemberKey | None, *, clock: ClockReader, randomness: Randomness = urandom
    ) -> None:
        super().__init__(store, identity)
        self.randomness: Final = randomness
        self._guard: Guard | None = None
        self._writer: Writer | None = None
        if identity is not None:
            witness = Witness.for_identity(identity, self.id)
            self._guard = Guard(store, witness, identity.public_key, randomness)
            self._writer = Writer(self, identity, clock, randomness, self.check_may_sign)

    # --- life ---------------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: str | Path,
        identity: MemberKey,
        *,
        name: str,
        policy: Mapping[str, Iterable[str]] | None = None,
        label: str = "",
        organisation: str = "",
        roles: Iterable[str] = (),
        clock: ClockReader = system_clock,
        randomness: Randomness = urandom,
    ) -> Self:
        """Found a ledger whose sole governor is `identity`, and enrol that key as its first member.

        `policy` maps roles to the entry types they may write (default: `DEFAULT_POLICY`); `label`, `organisation` and
        `roles` describe the founder. Raises `StoreError` where `path` exists, `MembershipError` for a bad policy.
        """
        key = identity.public_key
        chosen = DEFAULT_POLICY if policy is None else policy
        if any(isinstance(types, str) for types in chosen.values()):
            raise UsageError("a policy maps each role to a list of entry types")
        epoch0 = epoch_document(number=0, previous=None, governors=[key], threshold=1, policy=chosen)
        genesis = make_genesis(identity, nonce=randomness(16), name=name, continues=None, epoch0=epoch0)
        secrets = {"transport_key": randomness(32)}
        with (
            _new_file(Path(path)) as partial,
            cls._begin(partial, identity, genesis, secrets, clock, randomness) as ledger,
        ):
            assert ledger._guard is not None  # it was given an identity
            ledger._guard.bind()  # nobody can have signed in a ledger that is only now made
            governing.enrol_founder(ledger, label=label, organisation=organisation, roles=roles)
            ledger.store.settle()
        return cls.open(path, identity, clock=clock, randomness=randomness)

    @classmethod
    def open(
        cls,
        path: str | Path,
        identity: MemberKey | None = None,
        *,
        clock: ClockReader = system_clock,
        randomness: Randomness = urandom,
    ) -> Self:
        """Open a ledger; without an identity it is read and imported into, never written. Raises `StoreError`."""
        store = Store.open(Path(path))
        try:
            return cls(store, identity, clock=clock, randomness=randomness)
        except BaseException:
            store.close()
            raise

    @classmethod
    def join(
        cls,
        path: str | Path,
        identity: MemberKey,
        reply: str,
        secret: bytes,
        *,
        clock: ClockReader = system_clock,
        randomness: Randomness = urandom,
    ) -> Self:
        """Start a replica of the ledger that answered this identity's request. Raises `JoinError`, `StoreError`.

        Nothing of the ledger but its genesis is here yet: sync, or import a bundle, before the first append.
        """
        opened = open_reply(reply, identity, secret)
        if not opened.transport_keys:
            raise JoinError("the reply brings no transport key", hint="Ask for a new one.")
        secrets = {"transport_key": opened.transport_keys[-1][1]}
        if opened.broker is not None:
            secrets["broker"] = opened.broker.encode()
        with (
            _new_file(Path(path)) as partial,
            cls._begin(partial, identity, opened.genesis, secrets, clock, randomness) as ledger,
        ):
            ledger.store.settle()
        return cls.open(path, identity, clock=clock, randomness=randomness)

    @classmethod
    def replicate(cls, path: str | Path, genesis: bytes, *, randomness: Randomness = urandom) -> Self:
        """Start a replica without a key, from a genesis document: for an auditor who is given bundles."""
        with (
            _new_file(Path(path)) as partial,
            cls._begin(partial, None, genesis, {}, system_clock, randomness) as ledger,
        ):
            ledger.store.settle()
        return cls.open(path, randomness=randomness)

    @classmethod
    def _begin(
        cls,
        path: Path,
        identity: MemberKey | None,
        genesis: bytes,
        secrets: Mapping[str, bytes],
        clock: ClockReader,
        randomness: Randomness,
    ) -> Self:
        """A new store with what makes it a replica. `secrets` are kept sealed to the identity."""
        store = Store.create(path)
        try:
            with store.transaction():
                store.set_meta("genesis", genesis)
                store.set_meta("instance", randomness(16))
                if identity is not None:
                    for name, secret in secrets.items():
                        store.set_meta(name, seal_to(identity.kem_public_key, secret, randomness=randomness))
            return cls(store, identity, clock=clock, randomness=randomness)
        except BaseException:
            store.close()
            raise

    # --- who we are ---------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """Whether this ledger may sign: `ready`, or why not: `recovering`, `forked`, `revoked`, `read-only`."""
        if self.identity is None:
            return READ_ONLY
        if self.identity.public_key in self._forks:
            return FORKED
        if self.identity.public_key in self.membership.cuts:
            return REVOKED
        return RECOVERING if self._guard is not None and self._guard.recovering else READY

    @property
    def failure(self) -> str | None:
        """Why nothing is written until this ledger is opened again (a commit failed); None where all is well."""
        return self.store.failure

    # --- writing ------------------------------------------------------------------------------------------------

    def append(self, *records: Record) -> Block:
        """Sign these records as one block of our feed; it is durable on return.

        All are data, or all are governance. Each gets the present time where it brings none. Calls from several threads
        share one commit. Raises `UsageError`, `LimitError`, `MembershipError` (our role may not write this),
        `RecoveringError`, `ForkedError` or `StoreError`; then nothing was written.
        """
        return self.writer.append(records)

    @property
    def writer(self) -> Writer:
        """What signs. Raises `UsageError` without an identity."""
        if self._writer is None:
            raise UsageError("this ledger was opened without a key", hint="Give the identity when opening it.")
        return self._writer

    def check_may_sign(self) -> None:
        """Raise unless signing now cannot fork our feed, nor be in vain."""
        state = self.state
        if state == REVOKED:
            # What was signed beyond the cut is set aside: signing at those positions again would be a fork.
            raise MembershipError(
                "this key has been revoked", hint="Make a new key, and have it enrolled as the successor of this one."
            )
        if state == RECOVERING:
            raise RecoveringError(
                "this replica does not know whether its key has signed more than it holds",
                hint="Let it sync, or import a peer's bundle. Where there is no peer at all: `medledger recover`.",
            )
        if state == FORKED:
            raise ForkedError(
                "this key's feed has forked",
                feed=self.me,
                hint="Enrol this box again under a new key that succeeds the old one.",
            )

    def backup(self, path: str | Path) -> None:
        """See `Replica.backup`. The copy holds our blocks, so the witness is flushed first, as for `release`."""
        if self._guard is not None:
            self._guard.backed_up()
        super().backup(path)

    # --- what leaves, and what comes back ----------------------------------------------------------------------

    def release(self, feed: bytes, start: int, stop: int, max_bytes: int = MAX_DATA_BYTES) -> list[Released]:
        """A feed's encoded blocks from `start` to before `stop`, as many as fit `max_bytes` (at least one).

        The only way for a block to leave the process. For our own feed the witness is flushed first, once for all of
        them: what anybody else has seen, the witness knows.
        """
        found: list[Released] = []
        size = 0
        for raw in self.raw_blocks(feed, start, stop):
            size += len(raw)
            if found and size > max_bytes:
                break
            found.append(Released(raw))
        if found and feed == self.me and self._guard is not None:
            self._guard.leaves(start + len(found) - 1)
        return found

    def release_branches(self, feed: bytes, ids: Sequence[bytes], max_bytes: int = MAX_DATA_BYTES) -> list[Released]:
        """Encoded blocks on branches of a governor's forked feed: those of `ids`, as many as fit (at least one).

        The way out for blocks that do not stand, on the terms of `release`. Ids that are on no branch are passed over.
        """
        places = {block_id: seq for seq, block_id in self.branch_places(feed)}
        found: list[Released] = []
        highest = size = 0
        for block_id in ids:
            row = self.store.disputed_block(block_id) if block_id in places else None
            if row is None:
                continue
            raw = join_block(row.header, row.body)
            size += len(raw)
            if found and size > max_bytes:
                break
            found.append(Released(raw))
            highest = max(highest, row.seq)
        if found and feed == self.me and self._guard is not None:
            self._guard.leaves(highest)
        return found

    def peer_has_no_more(self, length: int, *, live: bool = True) -> None:
        """A peer has shown how many blocks of our own feed it holds.

        Where that is just what we hold, nothing of our feed is known to be missing. It is what a replica waits for
        whose witness is of another copy of the store, or is lost, before it signs. What is not `live`, a bundle, may be
        as old as the backup that it is to complete: beyond what the witness saw it is believed of an empty feed only.
        """
        with self.store.lock:
            if self._guard is not None:
                self._guard.confirmed(length, live=live)

    def took(self, feed: bytes, last: int) -> None:
        """Blocks of a feed came in, up to `last`: of our own feed, perhaps more than this ledger has signed."""
        if feed == self.me and self._guard is not None:
            self._guard.took(last)

    def _forget_derived(self) -> None:
        super()._forget_derived()
        if self._guard is not None:
            self._guard.rolled_back()

    # --- members ------------------------------------------------------------------------------------------------

    def enrol(
        self, request: str, *, roles: Iterable[str] | None = None, label: str | None = None, broker: str | None = None
    ) -> str:
        """Approve a `mlreq1:` request, as a governor: returns the reply for the applicant.

        `roles` and `label` override what the applicant asked for. With a threshold above one the enrolment becomes
        effective when the other governors approve it. Raises `JoinError` or `MembershipError`.
        """
        return governing.enrol(self, request, roles=roles, label=label, broker=broker)

    def revoke(self, feed: bytes, *, reason: str = "", after: int | None = None) -> Block:
        """Cut a member's feed after block `after` (default: its head here), as a governor. Raises `MembershipError`."""
        return governing.revoke(self, feed, reason=reason, after=after)

    def approve(self, act_id: bytes) -> Block:
        """Approve a pending act of governance (see `membership.pending`), as a governor. Raises `MembershipError`."""
        return governing.approve(self, act_id)

    def rotate_transport_key(self) -> Block:
        """Give every member a new transport key, as a governor; its first block. Raises `MembershipError`."""
        return rekeying.rotate(self)

    def share_transport_key(self) -> tuple[bytes, ...]:
        """Give the key in use to members that lack it, as a governor: who they were. Raises `MembershipError`."""
        return rekeying.share(self)

    def key_status(self) -> rekeying.KeyStatus:
        """The transport key in use: its generation and age, and who lacks it."""
        return rekeying.status(self)

    # --- proof --------------------------------------------------------------------------------------------------

    def verify(
        self, *, every_signature: bool = False, processes: int = 1, progress: Callable[[int], None] | None = None
    ) -> VerifyReport:
        """Check every stored byte again: chains, Merkle roots, signatures. Raises `CorruptError` at the first bad one.

        With `every_signature` each block's own signature is checked, on `processes` processes, and those that hold only
        through a successor are named. `progress` is called with the number of blocks done.
        """
        return verify(self, every_signature=every_signature, processes=processes, progress=progress)

    def fsck(self) -> VerifyReport:
        """`verify`, and that the indexes say what the blocks say. Raises `CorruptError`."""
        return fsck(self)

    def export_bundle(self, target: str | Path, *, unpacked: bool = False, progress: Notify | None = None) -> Manifest:
        """Write every block and fork proof to one new file that `import_bundle` takes anywhere. Raises `StoreError`.

        `unpacked` makes a directory of it, for a stick or a web server, or brings the one there up to date.
        """
        from . import bundle  # late: most programs neither write nor read one

        export = bundle.export_directory if unpacked else bundle.export_file
        return export(self, Path(target), progress)

    def import_bundle(self, source: str | Path | Source, *, progress: Notify | None = None) -> ImportReport:
        """Take what is valid of a bundle: a file, a directory, or an opened `bundle.Source`.

        Raises `MalformedError` where it is not one, of this ledger and undamaged.
        """
        from . import bundle

        if not isinstance(source, str | Path):
            return bundle.import_bundle(self, source, progress)
        with bundle.open_bundle(source) as opened:
            return bundle.import_bundle(self, opened, progress)
