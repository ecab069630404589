"""Joining: the request by which a key asks to be enrolled, and the reply that lets it in.

A *request* is a COSE_Sign1, strictly in our own form, over CBOR `[1, [-19, key], [kem_alg, key], label, organisation,
roles, succeeds]` with external data CBOR "medledger/request/1", signed by that key. It is the `proof` in an enrolment.

- kem_alg 1: the X25519 key is the image of the signing key; one signature proves both. Any other key is refused.
- kem_alg 2: an X25519 key of its own (a secure element cannot derive one from the other). The signature vouches for it;
  that the applicant holds it is shown by opening the reply, which is sealed to it (docs/adr/0010).

What travels, as text or QR code: `mlreq1:` + base64url of CBOR `[request, secret]`. The 16-byte secret never crosses a
network: hand the text over on paper, on a screen, on a stick. Only the request, without the secret, goes on the ledger.

A *reply* is `mlrep1:` + base64url of CBOR `[sealed, mac]`, and may travel any way. `sealed` is a sealed box to the
applicant's X25519 key around CBOR `[1, ledger id, genesis, [[key id, transport key]...], broker or null]`; `mac` is
BLAKE2b under the secret over the applicant's keys and `sealed`. Whoever did not see the request text cannot make a
reply that opens, so nobody can enrol a box into a ledger of their own. The applicant checks, in this order:

 (1) the text is in its one encoding, within `limits.MAX_JOIN_BYTES`
 (2) the MAC, under its own secret and for its own keys
 (3) the seal opens, and what is inside is well formed
 (4) the genesis verifies and its hash is the ledger id that the reply names
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from hmac import compare_digest
from os import urandom
from typing import Any, Final, Protocol

from nacl.bindings import crypto_scalarmult, crypto_sign_ed25519_pk_to_curve25519

from medledger import cbor, cose
from medledger.errors import Fault, JoinError, MalformedError, MedledgerError, NeedsNewerError, SchemaError
from medledger.governance import read_genesis, unverified_payload
from medledger.keys import Randomness, Signer, check_public_key, seal_to
from medledger.limits import (
    MAX_GENESIS_BYTES,
    MAX_JOIN_BYTES,
    MAX_LABEL_CHARS,
    MAX_ROLES,
    MAX_TRANSPORT_KEYS,
    MAX_TYPE_CHARS,
    MAX_URL_CHARS,
)
from medledger.schema import Array, Bytes, Int, Nullable, Text, Tuple

KEM_DERIVED: Final = 1
KEM_SEPARATE: Final = 2
SECRET_BYTES: Final = 16
REQUEST_PREFIX: Final = "mlreq1:"
REPLY_PREFIX: Final = "mlrep1:"

_VERSION: Final = 1
_REQUEST_AAD: Final = cbor.encode("medledger/request/1")
_MAC_PERSON: Final = b"medledger/reply1"
_SCALAR: Final = b"\x08" * 32  # any scalar tells the points of small order: their product is zero
_TEXT_CHARS: Final = 4 * MAX_JOIN_BYTES // 3 + 16

_REQUEST: Final = Tuple(
    Int(_VERSION, _VERSION),
    Tuple(Int(cose.ALG_ED25519, cose.ALG_ED25519), Bytes(32)),  # what signs the applicant's blocks
    Tuple(Int(KEM_DERIVED, KEM_SEPARATE), Bytes(32)),  # what the reply and later secrets are sealed to
    Text(0, MAX_LABEL_CHARS),  # what people will call it
    Text(0, MAX_LABEL_CHARS),  # which organisation answers for it
    Array(Text(1, MAX_TYPE_CHARS), 0, MAX_ROLES, order=lambda role: role),  # what it asks for; governors decide
    Nullable(Bytes(32)),  # the feed it carries on
)
_REQUEST_TEXT: Final = Tuple(Bytes(1, MAX_JOIN_BYTES), Bytes(SECRET_BYTES))
_REPLY_TEXT: Final = Tuple(Bytes(1, MAX_JOIN_BYTES), Bytes(32))
_REPLY: Final = Tuple(
    Int(_VERSION, _VERSION),
    Bytes(32),
    Bytes(1, MAX_GENESIS_BYTES),
    Array(Tuple(Bytes(1, 16), Bytes(32)), 0, MAX_TRANSPORT_KEYS),
    Nullable(Text(1, MAX_URL_CHARS)),
)


class Applicant(Signer, Protocol):
    """Whoever asks to join: signs with one key, opens what is sealed to the other."""

    @property
    def kem_public_key(self) -> bytes:
        """The 32 bytes of the X25519 public key."""
        ...

    def unseal(self, sealed: bytes) -> bytes:
        """What was sealed to it; raises `SealError`."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """A request that verified. `proof` are its bytes; `kem` is the pair of algorithm and key."""

    feed: bytes
    kem: tuple[int, bytes]
    label: str
    organisation: str
    roles: tuple[str, ...]
    succeeds: bytes | None
    proof: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that is authentic: the ledger to join, and how to reach it. Its secrets never show in its `repr`."""

    ledger_id: bytes
    genesis: bytes = field(repr=False)
    transport_keys: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    broker: str | None = field(repr=False)  # a URL, in which people put passwords


def make_request(
    applicant: Applicant,
    *,
    secret: bytes,
    label: str = "",
    organisation: str = "",
    roles: Iterable[str] = (),
    succeeds: bytes | None = None,
) -> str:
    """The text that asks to join. The applicant keeps `secret`, 16 random bytes, until it has opened the reply."""
    kem = _kem_of(applicant)
    payload = [
        _VERSION,
        [cose.ALG_ED25519, applicant.public_key],
        list(kem),
        label,
        organisation,
        sorted(set(roles)),
        succeeds,
    ]
    try:
        _REQUEST.check(payload, "request")
        proof = cose.sign1(cbor.encode(payload), applicant, external_aad=_REQUEST_AAD)
        read_request(proof)
        _REQUEST_TEXT.check([proof, secret], "request")
    except MedledgerError as error:
        raise JoinError(f"this request cannot be made: {error}") from error
    return REQUEST_PREFIX + _armour([proof, secret])


def read_request(proof: bytes) -> Request:
    """The request that `proof` is; raises `MalformedError`, `NeedsNewerError` or `SignatureError`. A pure function."""
    document = cbor.decode(unverified_payload(proof, MAX_JOIN_BYTES), max_size=MAX_JOIN_BYTES)
    if isinstance(document, list) and document and type(document[0]) is int and document[0] > _VERSION:
        raise NeedsNewerError(f"this request is in version {document[0]} of the format")
    try:
        _REQUEST.check(document, "request")
    except SchemaError as error:
        raise MalformedError(f"not a request to join: {error}") from error
    _, (_, feed), (kem_algorithm, kem_key), label, organisation, roles, succeeds = document
    check_public_key(feed)
    _check_kem(feed, kem_algorithm, kem_key)
    if succeeds == feed:
        raise MalformedError("a key cannot succeed itself")
    cose.verify1(proof, feed, external_aad=_REQUEST_AAD, strict=True)
    return Request(feed, (kem_algorithm, kem_key), label, organisation, tuple(roles), succeeds, proof)


def read_request_text(text: str) -> tuple[Request, bytes]:
    """The request and the secret in a `mlreq1:` text; raises `JoinError`."""
    document = _disarm(text, REQUEST_PREFIX, "request")
    try:
        _REQUEST_TEXT.check(document, "request")
        return read_request(document[0]), document[1]
    except MedledgerError as error:
        raise JoinError(
            f"this is not a request to join that can be trusted: {error}",
            fault=Fault.RELAY,
            hint="Copy the whole text again, or have the applicant make a new request.",
        ) from error


def make_reply(
    request: Request,
    secret: bytes,
    *,
    genesis: bytes,
    transport_keys: Sequence[tuple[bytes, bytes]] = (),
    broker: str | None = None,
    randomness: Randomness = urandom,
) -> str:
    """The text that lets the applicant in. Enrol it first: the reply says which ledger, the enrolment that it may."""
    ledger_id = read_genesis(genesis).ledger_id
    document = [_VERSION, ledger_id, genesis, [list(key) for key in transport_keys], broker]
    try:
        _REPLY.check(document, "reply")
        sealed = seal_to(request.kem[1], cbor.encode(document), randomness=randomness)
        mac = _mac(secret, request.feed, request.kem, sealed)
        _REPLY_TEXT.check([sealed, mac], "reply")
    except MedledgerError as error:
        raise JoinError(f"this reply cannot be made: {error}") from error
    return REPLY_PREFIX + _armour([sealed, mac])


def open_reply(text: str, applicant: Applicant, secret: bytes) -> Reply:
    """The reply to the applicant's own request with this secret; raises `JoinError`."""
    document = _disarm(text, REPLY_PREFIX, "reply")  # (1)
    try:
        _REPLY_TEXT.check(document, "reply")
        sealed, mac = document
        if not compare_digest(mac, _mac(secret, applicant.public_key, _kem_of(applicant), sealed)):  # (2)
            raise MalformedError("it was not made by somebody who has our request")
        inner = cbor.decode(applicant.unseal(sealed), max_size=MAX_JOIN_BYTES)  # (3)
        _REPLY.check(inner, "reply")
        _, ledger_id, genesis, transport_keys, broker = inner
        if read_genesis(genesis).ledger_id != ledger_id:  # (4)
            raise MalformedError("it names another ledger than the genesis it brings")
    except MedledgerError as error:
        raise JoinError(
            f"this reply cannot be trusted: {error}",
            fault=Fault.RELAY,
            hint="Check that it answers this device's latest request; otherwise make a new request.",
        ) from error
    return Reply(ledger_id, genesis, tuple((key_id, key) for key_id, key in transport_keys), broker)


def _kem_of(applicant: Applicant) -> tuple[int, bytes]:
    key = applicant.kem_public_key
    return (KEM_DERIVED if key == _image(applicant.public_key) else KEM_SEPARATE), key


def _image(feed: bytes) -> bytes | None:
    """The X25519 key that belongs to an Ed25519 key, None where there is none."""
    try:
        return crypto_sign_ed25519_pk_to_curve25519(feed)
    except RuntimeError:
        return None


def _check_kem(feed: bytes, algorithm: int, key: bytes) -> None:
    if algorithm == KEM_DERIVED:
        if key != _image(feed):
            raise MalformedError("the X25519 key of a request is not the image of its signing key")
        return
    try:
        crypto_scalarmult(_SCALAR, key)
    except RuntimeError as error:
        raise MalformedError("the X25519 key of a request has small order: what is sealed to it is open") from error


def _mac(secret: bytes, feed: bytes, kem: tuple[int, bytes], sealed: bytes) -> bytes:
    if type(secret) is not bytes or len(secret) != SECRET_BYTES:
        raise JoinError(f"the secret of a request is {SECRET_BYTES} bytes")
    covered = cbor.encode([feed, list(kem), sealed])
    return blake2b(covered, key=secret, person=_MAC_PERSON, digest_size=32).digest()


def _armour(document: list[bytes]) -> str:
    return urlsafe_b64encode(cbor.encode(document)).rstrip(b"=").decode()


def _disarm(text: str, prefix: str, what: str) -> Any:
    """What the text holds. White space is nobody's: mail and terminals wrap long lines."""
    bare = "".join(text[: 2 * _TEXT_CHARS].split())
    hint = f"It starts with {prefix} and must be copied whole."
    if not bare.startswith(prefix):
        raise JoinError(f"this text is not a {what}", fault=Fault.RELAY, hint=hint)
    letters = bare[len(prefix) :]
    try:
        raw = urlsafe_b64decode(letters + "=" * (-len(letters) % 4))
        if urlsafe_b64encode(raw).rstrip(b"=").decode() != letters:
            raise MalformedError("letters that are not its own")
        return cbor.decode(raw, max_size=MAX_JOIN_BYTES)
    except (ValueError, MedledgerError) as error:
        raise JoinError(f"this {what} is damaged: {error}", fault=Fault.RELAY, hint=hint) from error
