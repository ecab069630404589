"""Vectors of COSE_Sign1 at large: what other tools may write and is read, and what our own documents must look like."""

from __future__ import annotations

from typing import Any

import cbor2

from .making import PROTECTED, Vector, accepted, cbor, key, refused, sig_structure, sign, sign1, spoiled

AAD = b"external data"
PAYLOAD = b"a payload"


def signed(protected: bytes, unprotected: dict[Any, Any] | None = None, *, tagged: bool = True) -> bytes:
    """A message with these headers, whose signature is right."""
    fields = [protected, unprotected or {}, PAYLOAD, sign("box", sig_structure(PAYLOAD, AAD, protected))]
    return cbor2.dumps(cbor2.CBORTag(18, fields) if tagged else fields)


def make() -> list[Vector]:
    """All of them."""
    ours = sign1("box", PAYLOAD, AAD)

    def inputs(message: bytes, *, aad: bytes = AAD, who: str = "box") -> dict[str, Any]:
        return {"message": message, "public_key": key(who), "external_aad": aad, "strict": False}

    def strictly(message: bytes) -> dict[str, Any]:
        return {**inputs(message), "strict": True}

    array_loose = b"\xd2\x9f" + ours[2:] + b"\xff"
    eddsa = cbor({1: -8})
    loose_protected = bytes.fromhex("bf0132ff")
    detached = cbor2.dumps(cbor2.CBORTag(18, [PROTECTED, {}, None, sign("box", sig_structure(PAYLOAD, AAD))]))
    good = {
        "ours": ("As we write it, read strictly.", strictly(ours)),
        "untagged": ("Without its tag.", inputs(signed(PROTECTED, tagged=False))),
        "eddsa": ("Algorithm -8.", inputs(signed(eddsa))),
        "key-id": ("A key identifier that nobody needs.", inputs(signed(PROTECTED, {4: b"box"}))),
        "protected-loose": (
            "A protected header that is not deterministic is signed as it is.",
            inputs(signed(loose_protected)),
        ),
        "array-loose": ("An array of indefinite length.", inputs(array_loose)),
    }
    malformed, newer, signature = "MalformedError", "NeedsNewerError", "SignatureError"
    bad = {
        "untagged-strict": ("Our own documents carry the tag.", strictly(ours[1:]), malformed),
        "array-loose-strict": ("Our own documents have one encoding.", strictly(array_loose), malformed),
        "key-id-strict": ("Ours have nothing unprotected.", strictly(signed(PROTECTED, {4: b"box"})), malformed),
        "eddsa-strict": ("Our own documents are signed with algorithm -19.", strictly(signed(eddsa)), malformed),
        "other-tag": ("The tag of a COSE_Mac0.", inputs(b"\xd1" + ours[1:]), malformed),
        "detached": ("The payload is elsewhere.", inputs(detached), malformed),
        "of-five": ("An element too many.", inputs(b"\xd2\x85" + ours[2:] + b"\x00"), malformed),
        "trailing-byte": ("A byte after the message.", inputs(ours + b"\x00"), malformed),
        "no-algorithm": ("No algorithm at all.", inputs(signed(b"")), malformed),
        "algorithm-unprotected": ("An algorithm that could be exchanged.", inputs(signed(b"", {1: -19})), malformed),
        "algorithm-twice": ("An algorithm in both headers.", inputs(signed(PROTECTED, {1: -19})), malformed),
        "critical-unprotected": ("Critical parameters, unprotected.", inputs(signed(PROTECTED, {2: [4]})), malformed),
        "label-of-bytes": ("A label neither integer nor text.", inputs(signed(PROTECTED, {b"x": 0})), malformed),
        "protected-twice": ("One label twice.", inputs(signed(bytes.fromhex("a201320132"))), malformed),
        "algorithm-es256": ("Another algorithm.", inputs(signed(cbor({1: -7}))), newer),
        "algorithm-named": ("An algorithm with a name.", inputs(signed(cbor({1: "own"}))), newer),
        "critical": ("A critical parameter.", inputs(signed(cbor({1: -19, 2: [99], 99: 0}))), newer),
        "signature": ("One bit of the signature.", inputs(ours[:-64] + spoiled(ours[-64:])), signature),
        "other-key": ("Another key.", inputs(ours, who="thief"), signature),
        "other-data": ("Other external data: signed for another purpose.", inputs(ours, aad=b"other"), signature),
        "signature-short": ("A signature of 63 bytes.", inputs(ours[:-66] + b"\x58\x3f" + ours[-64:-1]), signature),
    }  # fmt: skip
    vectors = [accepted("cose", name, why, given, payload=PAYLOAD) for name, (why, given) in good.items()]
    for name, (why, given, error) in bad.items():
        vectors.append(refused("cose", f"wrong-{name}", why, given, error, "nobody" if error == newer else "relay"))
    return vectors
