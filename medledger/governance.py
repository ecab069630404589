"""Governance: the genesis document, and what an epoch is.

An epoch says who governs: `[k, id of epoch k-1, governors, threshold t, notaries, policy, closing]`. Governance is a
chain of them. A document is an epoch when

 (1) it is well formed (`acts.EPOCH`): lists sorted and without doubles, within the limits of `medledger.limits`
 (2) its k is its predecessor's plus one and it names the predecessor's id; epoch 0 names none
 (3) t is at most the number n of governors, and 2t > n: any two sets of t governors share one, who can be named
 (4) every governor and notary is a usable Ed25519 key
 (5) `closing` gives the last position that counts, `[feed, seq, block id]`, for each feed that leaves an office it held
     in the epoch before, governor or notary, and for no other; epoch 0 closes none. `[feed, -1, null]` says that
     nothing in the feed counts.

The id of epoch 0 is the ledger id, and that of a later one is its act id. Which epochs are effective is a question of
approvals: `medledger.lineage`.

Genesis = COSE_Sign1, strictly in our own form, over CBOR `[1, nonce, name, continues, epoch 0]` with external data
CBOR "medledger/genesis/1". The founder who signs it is one of epoch 0's governors: the one whose key verifies. `nonce`
is 16 random bytes, so that no two ledgers share an id; `continues` is the id of a ledger that this one carries on,
after its governance became void, or null. The ledger id is the SHA-256 of the whole document, signature included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, NamedTuple

from medledger import cbor, cose
from medledger.acts import EPOCH
from medledger.errors import (
    MalformedError,
    MedledgerError,
    MembershipError,
    NeedsNewerError,
    SchemaError,
    SignatureError,
)
from medledger.keys import Signer, check_public_key
from medledger.limits import MAX_GENESIS_BYTES, MAX_LABEL_CHARS
from medledger.schema import Bytes, Int, Nullable, Text, Tuple

GENESIS_VERSION: Final = 1
EVERY_TYPE: Final = "*"  # in a policy: every entry type that is not governance
CONTROL_PREFIX: Final = "gov."
GOVERNOR: Final = "governor"
NOTARY: Final = "notary"

_GENESIS_AAD: Final = cbor.encode("medledger/genesis/1")
_GENESIS: Final = Tuple(
    Int(GENESIS_VERSION, GENESIS_VERSION),
    Bytes(16),
    Text(1, MAX_LABEL_CHARS),
    Nullable(Bytes(32)),
    EPOCH,
)


class Point(NamedTuple):
    """A position in a feed. `Point(-1, None)` lies before the feed's first block."""

    seq: int
    id: bytes | None


NOTHING: Final = Point(-1, None)


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch of governance: who decides, how many of them it takes, and which role may write what."""

    number: int
    id: bytes
    previous: bytes | None
    governors: tuple[bytes, ...]
    threshold: int
    notaries: tuple[bytes, ...]
    policy: Mapping[str, frozenset[str]]
    closing: Mapping[bytes, Point]

    def allows(self, roles: Iterable[str], entry_type: str) -> bool:
        """Whether one of `roles` may write entries of `entry_type`, which is not governance."""
        granted = [self.policy.get(role, frozenset()) for role in roles]
        return any(entry_type in types or EVERY_TYPE in types for types in granted)

    def offices(self, feed: bytes) -> tuple[str, ...]:
        """The offices that a feed holds in this epoch. They are roles by these names, enrolled or not."""
        return (GOVERNOR,) * (feed in self.governors) + (NOTARY,) * (feed in self.notaries)


@dataclass(frozen=True, slots=True)
class Genesis:
    """A genesis document that verified. `raw` are the bytes whose SHA-256 is the ledger id."""

    raw: bytes
    ledger_id: bytes
    nonce: bytes
    name: str
    continues: bytes | None
    founder: bytes
    epoch: Epoch


def act_id(ledger_id: bytes, act_type: str, content: object) -> bytes:
    """The id of an act: governors that propose the same content in one ledger propose the same act."""
    return sha256(cbor.encode(["medledger/act/1", ledger_id, act_type, content])).digest()


def epoch_document(
    *,
    number: int,
    previous: bytes | None,
    governors: Iterable[bytes],
    threshold: int,
    notaries: Iterable[bytes] = (),
    policy: Mapping[str, Iterable[str]],
    closing: Mapping[bytes, tuple[int, bytes | None]] | None = None,
) -> list[Any]:
    """An epoch's document with its sets in their one order. `read_epoch` says whether it is an epoch."""
    return [
        number,
        previous,
        sorted(set(governors)),
        threshold,
        sorted(set(notaries)),
        {role: sorted(set(types)) for role, types in policy.items()},
        [[feed, seq, block_id] for feed, (seq, block_id) in sorted((closing or {}).items())],
    ]


def read_epoch(document: Any, *, id: bytes, parent: Epoch | None) -> Epoch:  # noqa: A002 - the field's name
    """The epoch that `document` describes as a successor of `parent`; `SchemaError` unless it passes (1) to (5)."""
    EPOCH.check(document, "epoch")  # (1)
    number, previous, governors, threshold, notaries, policy, closing = document
    _check_link(number, previous, parent)
    if not threshold <= len(governors) < 2 * threshold:  # (3)
        raise SchemaError(
            f"a threshold of {threshold} does not suit {len(governors)} governors: "
            f"it must be {len(governors) // 2 + 1} to {len(governors)}"
        )
    for key in (*governors, *notaries):  # (4)
        _check_key(key)
    closes = {feed: Point(seq, block_id) for feed, seq, block_id in closing}
    _check_closing(closes, leaving(parent, governors, notaries) if parent else frozenset())
    return Epoch(
        number=number,
        id=id,
        previous=previous,
        governors=tuple(governors),
        threshold=threshold,
        notaries=tuple(notaries),
        policy={role: frozenset(types) for role, types in policy.items()},
        closing=closes,
    )


def leaving(parent: Epoch, governors: Iterable[bytes], notaries: Iterable[bytes]) -> frozenset[bytes]:
    """The feeds that lose an office of `parent` when these governors and notaries follow."""
    return (frozenset(parent.governors) - frozenset(governors)) | (frozenset(parent.notaries) - frozenset(notaries))


def make_genesis(signer: Signer, *, nonce: bytes, name: str, continues: bytes | None, epoch0: object) -> bytes:
    """The genesis document of a new ledger, signed by `signer`, who is one of the governors of `epoch0`."""
    payload = cbor.encode([GENESIS_VERSION, nonce, name, continues, epoch0])
    raw = cose.sign1(payload, signer, external_aad=_GENESIS_AAD)
    try:
        read_genesis(raw)
    except MedledgerError as error:
        raise MembershipError(f"no ledger can be founded like this: {error}") from error
    return raw


def read_genesis(raw: bytes) -> Genesis:
    """The genesis that `raw` is; raises `MalformedError`, `NeedsNewerError` or `SignatureError`."""
    # (a) The payload, unverified: only it says which keys could have signed it.
    document = cbor.decode(unverified_payload(raw, MAX_GENESIS_BYTES), max_size=MAX_GENESIS_BYTES)
    if isinstance(document, list) and document and type(document[0]) is int and document[0] > GENESIS_VERSION:
        raise NeedsNewerError(f"this ledger was founded in version {document[0]} of the format")
    ledger_id = sha256(raw).digest()
    # (b) What it says.
    try:
        _GENESIS.check(document, "genesis")
        _, nonce, name, continues, epoch0 = document
        epoch = read_epoch(epoch0, id=ledger_id, parent=None)
    except SchemaError as error:
        raise MalformedError(f"not a genesis document: {error}") from error
    # (c) Who signed it, in exactly these bytes.
    founder = next((key for key in epoch.governors if _signed_by(key, raw)), None)
    if founder is None:
        raise SignatureError("none of the first governors signed this genesis document")
    return Genesis(raw, ledger_id, nonce, name, continues, founder, epoch)


def unverified_payload(message: bytes, max_size: int) -> bytes:
    """The payload of a tagged COSE_Sign1 whose signer is named inside. Nothing vouches for it until it is verified."""
    value = cbor.parse_foreign(message, max_size=max_size)
    fields = value.value if isinstance(value, cbor.Tag) else None
    if not isinstance(fields, list | tuple) or len(fields) != 4 or type(fields[2]) is not bytes:
        raise MalformedError("this is not a COSE_Sign1 with its payload inside")
    return fields[2]


def _signed_by(key: bytes, raw: bytes) -> bool:
    try:
        cose.verify1(raw, key, external_aad=_GENESIS_AAD, strict=True)
    except SignatureError:
        return False
    return True


def _check_link(number: int, previous: bytes | None, parent: Epoch | None) -> None:  # (2)
    if parent is None:
        if number != 0 or previous is not None:
            raise SchemaError("the first epoch has number 0 and no predecessor")
    elif number != parent.number + 1 or previous != parent.id:
        raise SchemaError(f"epoch {number} does not follow epoch {parent.number}")


@lru_cache(maxsize=4096)  # a pure fact about 32 bytes, asked again at every fold
def _check_key(key: bytes) -> None:
    try:
        check_public_key(key)
    except MedledgerError as error:
        raise SchemaError(f"an office is given to {key.hex()[:16]}…: {error}") from error


def _check_closing(closes: Mapping[bytes, Point], leavers: frozenset[bytes]) -> None:  # (5)
    for feed in sorted(leavers ^ closes.keys()):
        what = "leaves an office without a closing" if feed in leavers else "has a closing and leaves no office"
        raise SchemaError(f"the feed {feed.hex()[:16]}… {what}")
