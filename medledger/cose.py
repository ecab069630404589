"""COSE_Sign1 (RFC 9052 section 4.2) with Ed25519: one signer, external data, the payload inside.

Rules:

- We write one form only: tag 18, protected header `{1: -19}` (Ed25519, RFC 9864), empty unprotected header, payload,
  signature of 64 bytes, all in deterministic CBOR.
- We read what other tools may write as well: without the tag, not deterministic, further header parameters, algorithm
  -8 (EdDSA). The signature is checked over the protected bytes and the payload as they arrived, never over an encoding
  of our own. `strict=True` accepts our own form only, byte for byte; whatever is named by a hash of the whole message
  MUST be read strictly, or anybody could give one statement two names.
- An algorithm outside the protected header does not count: it could be swapped without breaking the signature.
- Other algorithms and critical parameters are `NeedsNewerError`: the message may be fine. A wrong structure is
  `MalformedError`, a signature that does not verify is `SignatureError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from medledger import cbor
from medledger.errors import MalformedError, NeedsNewerError, UsageError
from medledger.keys import SIGNATURE_BYTES, Signer, verify
from medledger.limits import MAX_COSE_BYTES

ALG_ED25519: Final = -19
ALG_EDDSA: Final = -8

_TAG_SIGN1: Final = 18
_LABEL_ALG: Final = 1
_LABEL_CRIT: Final = 2
_PROTECTED: Final = cbor.encode({_LABEL_ALG: ALG_ED25519})
_BYTE_STRING: Final = 0x40

# What every message of ours starts with: tag 18, array of four, protected header, empty unprotected header.
_START: Final = cbor.head(0xC0, _TAG_SIGN1) + cbor.head(0x80, 4) + cbor.encode(_PROTECTED) + cbor.encode({})
_CONTEXT: Final = cbor.head(0x80, 4) + cbor.encode("Signature1")


def sig_structure(protected: bytes, external_aad: bytes, payload: bytes) -> bytes:
    """The bytes that a COSE_Sign1 signature covers (RFC 9052 section 4.4), for a serialised protected header."""
    return b"".join(
        (
            _CONTEXT,
            cbor.head(_BYTE_STRING, len(protected)),
            protected,
            cbor.head(_BYTE_STRING, len(external_aad)),
            external_aad,
            cbor.head(_BYTE_STRING, len(payload)),
            payload,
        )
    )


def sign1(payload: bytes, signer: Signer, *, external_aad: bytes) -> bytes:
    """The one message of ours for `payload`, signed by `signer` together with `external_aad`."""
    if type(payload) is not bytes or type(external_aad) is not bytes:
        raise UsageError("a payload and its external data must be bytes")
    signature = signer.sign(sig_structure(_PROTECTED, external_aad, payload))
    if type(signature) is not bytes or len(signature) != SIGNATURE_BYTES:
        raise UsageError(f"the signer did not return a signature of {SIGNATURE_BYTES} bytes")
    return _message(payload, signature)


def verify1(message: bytes, public_key: bytes, *, external_aad: bytes, strict: bool = False) -> bytes:
    """The payload of `message`, if `public_key` signed it together with `external_aad`; raises otherwise."""
    # (1) The structure, as far as the signature needs it.
    protected, unprotected, payload, signature = _fields(message)
    headers = _protected_headers(protected)
    # (2) The header parameters: labels, then what we would have to understand.
    _check_labels(headers, unprotected)
    _check_algorithm(headers)
    # (3) Our own form, where it is demanded.
    if strict and message != _message(payload, signature):
        raise MalformedError("this COSE_Sign1 is not in the one encoding that is accepted here")
    # (4) The signature, over the bytes that arrived.
    verify(public_key, sig_structure(protected, external_aad, payload), signature)
    return payload


def _message(payload: bytes, signature: bytes) -> bytes:
    return _START + cbor.encode(payload) + cbor.encode(signature)


def _fields(message: bytes) -> tuple[bytes, Any, bytes, bytes]:
    value = cbor.parse_foreign(message, max_size=MAX_COSE_BYTES)
    if isinstance(value, cbor.Tag):
        if value.number != _TAG_SIGN1:
            raise MalformedError(f"tag {value.number} is not that of a COSE_Sign1")
        value = value.value
    if not isinstance(value, list | tuple) or isinstance(value, cbor.Tag) or len(value) != 4:
        raise MalformedError("a COSE_Sign1 is an array of four")
    protected, unprotected, payload, signature = value
    if type(protected) is not bytes or type(signature) is not bytes:
        raise MalformedError("the protected header and the signature of a COSE_Sign1 are byte strings")
    if payload is None:
        raise MalformedError("the payload of this COSE_Sign1 is detached: it must be inside")
    if type(payload) is not bytes:
        raise MalformedError("the payload of a COSE_Sign1 is a byte string")
    return protected, unprotected, payload, signature


def _protected_headers(protected: bytes) -> Any:
    return cbor.parse_foreign(protected, max_size=MAX_COSE_BYTES) if protected else {}


def _check_labels(headers: Any, unprotected: Any) -> None:
    """Labels are integers or text, and each occurs once in the two headers together (RFC 9052 section 3)."""
    if not isinstance(headers, Mapping) or not isinstance(unprotected, Mapping):
        raise MalformedError("the headers of a COSE_Sign1 are maps")
    if not {type(label) for label in (*headers, *unprotected)} <= {int, str}:
        raise MalformedError("the labels of a COSE header are integers or text")
    if headers.keys() & unprotected.keys():
        raise MalformedError("a COSE header parameter is both protected and unprotected")
    if _LABEL_CRIT in unprotected:
        raise MalformedError("the critical parameters of a COSE message must be protected")


def _check_algorithm(headers: Mapping[int | str, Any]) -> None:
    if _LABEL_CRIT in headers:
        raise NeedsNewerError(f"this COSE_Sign1 has critical parameters that we do not know: {headers[_LABEL_CRIT]!r}")
    algorithm = headers.get(_LABEL_ALG)
    if type(algorithm) is not int and type(algorithm) is not str:
        raise MalformedError("this COSE_Sign1 names no algorithm in its protected header")
    if algorithm not in (ALG_ED25519, ALG_EDDSA):
        raise NeedsNewerError(f"this COSE_Sign1 is signed with an algorithm that we do not know: {algorithm!r}")
