"""The signed-height witness: what a key remembers of what it has signed, outside the database and its backups.

A restored backup or a cloned card makes a node sign positions a second time, which forks its feed and looks like fraud.
So there is a small file beside the key file for each ledger, `<key file>.<first 16 hex of the ledger id>.witness`. It
holds the highest seq that was signed and flushed, and an instance token that the database holds too.

Rules:

- A block MUST NOT leave the process before `advance` of its seq, or of a later one, has returned. One call serves a
  whole outgoing batch.
- A database behind `seq`, or whose token is not `token`, MUST NOT be signed for: it is a copy.
- `seq` never decreases, not even when two processes write in turn: each reads the file under a lock before it writes.
  When another database was bound meanwhile, `advance` raises: only one may sign.
- `advance` and `bind` are durable when they return. When they raise, nothing is promised and nothing may leave.
- What the file says when it is opened may not be durable: the process before us may have ended between giving it its
  name and flushing that. So each process writes it once before it relies on it.
- A damaged witness is an error, never an empty one: an empty one would allow everything to be signed again.
- An identity without a file (tests, a key in a secure element without a path) has its witness in memory.
"""

from __future__ import annotations

import threading
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from medledger import cbor, files
from medledger.errors import (
    CorruptError,
    MalformedError,
    NeedsNewerError,
    RecoveringError,
    StoreError,
    UsageError,
)
from medledger.limits import MAX_SEQ

TOKEN_BYTES: Final = 16

_FORMAT: Final = "medledger/witness/1"
_FAMILY: Final = "medledger/witness/"
_MAX_BYTES: Final = 512


class KeyHolder(Protocol):
    """What a witness needs of an identity."""

    @property
    def public_key(self) -> bytes: ...

    @property
    def path(self) -> Path | None: ...


class _State(NamedTuple):
    seq: int | None  # highest seq signed and flushed
    token: bytes | None  # instance token of the database that this key signs for


class Witness:
    """The witness of one key in one ledger. Safe to share between threads."""

    def __init__(self, path: Path | None, public_key: bytes, ledger_id: bytes) -> None:
        self._path = path
        self._public_key = public_key
        self._ledger_id = ledger_id
        self._lock = threading.Lock()
        self._state = (None if path is None else self._read(path)) or _State(None, None)
        self._tried = self._state  # what the file may hold since a write of ours failed
        self._flushed: _State | None = None  # what this process has made durable

    @classmethod
    def for_identity(cls, identity: KeyHolder, ledger_id: bytes) -> Witness:
        """The witness beside the identity's key file, or one in memory when the identity has no file."""
        if type(ledger_id) is not bytes or len(ledger_id) != 32:
            raise UsageError("a ledger id is 32 bytes")
        path = identity.path
        if path is not None:
            path = path.absolute().with_name(f"{path.name}.{ledger_id[:8].hex()}.witness")
        return cls(path, identity.public_key, ledger_id)

    @property
    def path(self) -> Path | None:
        """The file, or None for a witness in memory."""
        return self._path

    @property
    def seq(self) -> int | None:
        """The highest seq signed and flushed; None when nothing was."""
        return self._state.seq

    @property
    def token(self) -> bytes | None:
        """The instance token, or None before `bind`."""
        return self._state.token

    def advance(self, seq: int) -> None:
        """Make `seq` the highest signed, durably; nothing to do when it is not above the present one."""
        if type(seq) is not int or not 0 <= seq <= MAX_SEQ:
            raise UsageError(f"a witness cannot advance to {seq!r}")
        flushed = self._flushed
        if flushed is None or flushed.seq is None or seq > flushed.seq:
            self._write(seq, None)

    def bind(self, token: bytes, seq: int | None = None) -> None:
        """Make `token` the instance token, durably, also when another database was bound meanwhile; and `seq`, where it
        is above the present one, the highest signed.
        """
        if type(token) is not bytes or len(token) != TOKEN_BYTES:
            raise UsageError(f"an instance token is {TOKEN_BYTES} bytes")
        self._write(seq, token)

    def _write(self, seq: int | None, token: bytes | None) -> None:
        with self._lock:
            if self._path is None:
                self._state = _merged(self._state, seq, token)
                self._flushed = self._state
                return
            try:
                with files.locked_directory(self._path.parent) as directory:
                    # Another process may have written since we read the file, or removed it.
                    stored = self._read(self._path) or self._state
                    if token is None and self._overtaken_by(stored):
                        raise _taken_over(self._path)
                    state = _merged(_State(_highest(stored.seq, self._state.seq), stored.token), seq, token)
                    if state != self._flushed:
                        self._tried = state
                        files.replace(self._path, self._encoded(state), directory)
            except OSError as error:
                raise StoreError(
                    f"the witness {self._path} cannot be written: {error.strerror or error}",
                    hint="Nothing was sent. Free space or mend the disk, then start again.",
                ) from error
            self._state = state
            self._flushed = state

    def _overtaken_by(self, stored: _State) -> bool:
        """Whether another copy of the database was bound, or has signed further, since we read the file."""
        ours = self._state
        if stored == self._tried:
            return False
        if ours.token not in (None, stored.token):
            return True
        return stored.seq is not None and (ours.seq is None or stored.seq > ours.seq)

    def _encoded(self, state: _State) -> bytes:
        fields = [_FORMAT, self._ledger_id, self._public_key, state.seq, state.token]
        # The checksum: a flipped bit in seq would be a wrong number, not a damaged file.
        return cbor.encode([*fields, sha256(cbor.encode(fields)).digest()])

    def _read(self, path: Path) -> _State | None:
        try:
            data = files.read(path, _MAX_BYTES).data
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(
                f"the witness {path} cannot be read: {error.strerror or error}",
                hint="Do not delete it, that could fork the feed: check its owner and the disk, then start again.",
            ) from error
        except MalformedError as error:
            raise self._corrupt(path) from error
        try:
            fields = cbor.decode(data, max_size=_MAX_BYTES)
        except MalformedError as error:
            raise self._corrupt(path) from error
        if isinstance(fields, list) and fields and isinstance(fields[0], str) and fields[0] != _FORMAT:
            if fields[0].startswith(_FAMILY):
                raise NeedsNewerError(f"the witness {path} was written by newer software ({fields[0]})")
            raise self._corrupt(path)
        # Rebuilding the bytes from the two free fields checks every other one, and the checksum.
        if not isinstance(fields, list) or len(fields) != 6 or not _plausible(fields[3], fields[4]):
            raise self._corrupt(path)
        state = _State(fields[3], fields[4])
        if self._encoded(state) != data:
            raise self._corrupt(path)
        return state

    def _corrupt(self, path: Path) -> CorruptError:
        return CorruptError(
            f"the witness {path} is damaged or belongs to another key or ledger",
            feed=self._public_key,
            hint="Do not delete it, that could fork the feed: put the right file back, or enrol a new key that "
            "succeeds this one.",
        )


def _taken_over(path: Path) -> RecoveringError:
    return RecoveringError(
        f"another database has been bound to the witness {path} since this one was opened",
        hint="Only one database may sign for a key: stop one of the two programs.",
    )


def _plausible(seq: object, token: object) -> bool:
    return (seq is None or (type(seq) is int and 0 <= seq <= MAX_SEQ)) and (
        token is None or (type(token) is bytes and len(token) == TOKEN_BYTES)
    )


def _merged(state: _State, seq: int | None, token: bytes | None) -> _State:
    return _State(_highest(state.seq, seq), state.token if token is None else token)


def _highest(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return max(one, other)
