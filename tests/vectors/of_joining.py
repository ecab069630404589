"""Vectors of joining: the request, its text, and the reply that lets the applicant in.

A reply is sealed with libsodium's sealed box. Its one-time key is fixed here, so that the file is the same each time:
sealed = one-time public key || box under nonce = BLAKE2b-24(one-time public key || recipient's public key).
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import Any

from nacl.bindings import crypto_box, crypto_scalarmult_base

from .making import Vector, accepted, cbor, key, person, refused, sha256
from .of_governance import changes, epoch, genesis, kem, request

SECRET = bytes(range(16))
GENESIS = genesis("ada", epoch("ada"))
LEDGER_ID = sha256(GENESIS)
TRANSPORT = [[b"key1", sha256(b"a transport key")]]
BROKER = "mqtts://broker.example:8883"


def seal(recipient: bytes, plaintext: bytes) -> bytes:
    """A libsodium sealed box with a fixed one-time key."""
    secret = sha256(b"a one-time key")
    public = crypto_scalarmult_base(secret)
    nonce = blake2b(public + recipient, digest_size=24).digest()
    return public + crypto_box(plaintext, nonce, recipient, secret)


def text(prefix: str, document: Any) -> str:
    """A document as people copy it."""
    return prefix + urlsafe_b64encode(cbor(document)).rstrip(b"=").decode()


def mac(sealed: bytes, *, secret: bytes = SECRET, feed: bytes | None = None, recipient: bytes | None = None) -> bytes:
    """What only somebody who saw the request can make."""
    covered = [feed or key("box"), [1, recipient or kem("box")], sealed]
    return blake2b(cbor(covered), key=secret, person=b"medledger/reply1", digest_size=32).digest()


def reply(**changed: Any) -> str:
    """A reply to the box's request."""
    fields = {"version": 1, "id": LEDGER_ID, "genesis": GENESIS, "transport": TRANSPORT, "broker": BROKER}
    sealed = seal(kem("box"), cbor(list({**fields, **changed}.values())))
    return text("mlrep1:", [sealed, mac(sealed)])


def requests() -> list[Vector]:
    """Requests, which are also the proof in an enrolment."""

    def good(name: str, why: str, raw: bytes, algorithm: int = 1, sealing: bytes | None = None) -> Vector:
        told = {"feed": key("box"), "kem": [algorithm, sealing or kem("box")]}
        return accepted("request", name, why, {"request": raw}, **told)

    def bad(name: str, why: str, raw: bytes, error: str = "MalformedError", fault: str = "relay") -> Vector:
        return refused("request", f"wrong-{name}", why, {"request": raw}, error, fault)

    other = kem("another key of the box")
    honest = request("box")
    vectors = [
        good("derived", "The sealing key is the image of the signing key.", honest),
        good("separate", "A sealing key of its own.", request("box", kem=[2, other]), 2, other),
        good("bare", "Nothing asked for, nothing told.", request("box", label="", organisation="", roles=[])),
        bad(
            "derived-of-another",
            "A sealing key that is said to be derived and is another's.",
            request("box", kem=[1, other]),
        ),
        bad(
            "separate-of-small-order",
            "A sealing key of small order: what is sealed to it is open.",
            request("box", kem=[2, bytes(32)]),
        ),
        bad(
            "signed-by-another",
            "The applicant named did not sign.",
            request("thief", sig=[-19, key("box")], kem=[1, kem("box")]),
            "SignatureError",
        ),
        bad("key-of-small-order", "A key that is anybody's.", request("box", sig=[-19, (1).to_bytes(32, "little")])),
        bad("succeeds-itself", "A key cannot succeed itself.", request("box", succeeds=key("box"))),
        bad("label-too-long", "A label of 129 characters.", request("box", label="x" * 129)),
        bad("roles-unsorted", "Roles out of order.", request("box", roles=["b", "a"])),
        bad("algorithm", "A signing algorithm that is not -19.", request("box", sig=[-8, key("box")])),
        bad("version-2", "A later version.", request("box", version=2), "NeedsNewerError", "nobody"),
    ]
    for name, what, changed in changes(honest):
        if name.startswith(("tag", "unprotected")):
            why = f"What its signature does not cover was changed: {what}."
            vectors.append(bad(f"unsigned-{name}", why, changed))
    return vectors


def request_texts() -> list[Vector]:
    """Requests as text, with the secret."""
    whole = text("mlreq1:", [request("box"), SECRET])

    def bad(name: str, why: str, given: str) -> Vector:
        return refused("request-text", f"wrong-{name}", why, {"text": given}, "JoinError")

    told = {"feed": key("box"), "secret": SECRET, "label": "box", "organisation": "St. Elsewhere", "roles": ["nurse"]}
    return [
        accepted("request-text", "whole", "A request as it is copied.", {"text": whole}, **told),
        accepted(
            "request-text",
            "wrapped",
            "Mail and terminals wrap lines.",
            {"text": whole[:70] + "\n  " + whole[70:] + "\n"},
            **told,
        ),
        bad("cut", "The last letters are missing.", whole[:-4]),
        bad(
            "letter-changed", "One letter is another.", whole[:200] + ("A" if whole[200] != "A" else "B") + whole[201:]
        ),
        bad("prefix", "The text of a reply.", "mlrep1:" + whole[7:]),
        bad("padding", "Base64 with padding.", whole + "="),
        bad("other-letters", "Letters of another base64.", whole[:100] + "+" + whole[101:]),
        bad("secret-15-bytes", "A secret of 15 bytes.", text("mlreq1:", [request("box"), SECRET[:15]])),
        bad("no-secret", "No secret.", text("mlreq1:", [request("box")])),
        bad(
            "forged", "A request whose signature is wrong.", text("mlreq1:", [request("box")[:-64] + bytes(64), SECRET])
        ),
        bad("empty", "Nothing.", ""),
    ]


def replies() -> list[Vector]:
    """Replies, opened with the applicant's own key and secret."""
    seed = bytes(person("box"))
    whole = reply()

    def inputs(given: str, **changed: Any) -> dict[str, Any]:
        return {"text": given, "seed": seed, "secret": SECRET, **changed}

    def good(name: str, why: str, given: str, broker: str | None, transport: list[Any]) -> Vector:
        told = {"ledger_id": LEDGER_ID, "genesis": GENESIS, "transport_keys": transport, "broker": broker}
        return accepted("reply", name, why, inputs(given), **told)

    def bad(name: str, why: str, given: dict[str, Any]) -> Vector:
        return refused("reply", f"wrong-{name}", why, given, "JoinError")

    sealed_to_thief = seal(kem("thief"), b"anything")
    not_ours = seal(kem("box"), cbor([1]))
    changed_seal = seal(kem("box"), cbor([1, LEDGER_ID, GENESIS, TRANSPORT, BROKER]))
    changed_seal = changed_seal[:-1] + bytes([changed_seal[-1] ^ 1])
    honest_seal = seal(kem("box"), cbor([1, LEDGER_ID, GENESIS, TRANSPORT, BROKER]))
    return [
        good("whole", "A reply to the box's request.", whole, BROKER, TRANSPORT),
        good(
            "no-broker",
            "No broker named, and two transport keys.",
            reply(broker=None, transport=TRANSPORT * 2),
            None,
            TRANSPORT * 2,
        ),
        good("wrapped", "Wrapped lines.", whole[:40] + "\r\n" + whole[40:], BROKER, TRANSPORT),
        bad(
            "other-secret",
            "An older request's secret: the reply was not made for the latest one.",
            inputs(whole, secret=bytes(16)),
        ),
        bad(
            "other-applicant", "Opened by somebody else who has the secret.", inputs(whole, seed=bytes(person("thief")))
        ),
        bad("no-mac", "A MAC of zeros.", inputs(text("mlrep1:", [honest_seal, bytes(32)]))),
        bad(
            "seal-changed",
            "The seal was changed on the way.",
            inputs(text("mlrep1:", [changed_seal, mac(honest_seal)])),
        ),
        bad(
            "seal-changed-by-a-confidant",
            "A seal that does not open, under a right MAC.",
            inputs(text("mlrep1:", [changed_seal, mac(changed_seal)])),
        ),
        bad(
            "sealed-to-another",
            "Sealed to another key, under a right MAC.",
            inputs(text("mlrep1:", [sealed_to_thief, mac(sealed_to_thief)])),
        ),
        bad(
            "mac-for-another-key",
            "A MAC over another applicant's key.",
            inputs(text("mlrep1:", [honest_seal, mac(honest_seal, feed=key("thief"))])),
        ),
        bad("inside", "What is sealed is no reply.", inputs(text("mlrep1:", [not_ours, mac(not_ours)]))),
        bad(
            "other-ledger", "It names another ledger than the genesis it brings.", inputs(reply(id=sha256(b"another")))
        ),
        bad(
            "genesis-forged",
            "A genesis that its founder did not sign.",
            inputs(reply(genesis=GENESIS[:-64] + bytes(64), id=sha256(GENESIS[:-64] + bytes(64)))),
        ),
        bad(
            "version-2",
            "A later version. The applicant cannot tell more than that it cannot be read.",
            inputs(reply(version=2)),
        ),
        bad("nine-transport-keys", "More keys than there may be.", inputs(reply(transport=TRANSPORT * 9))),
        bad("prefix", "The text of a request.", inputs("mlreq1:" + whole[7:])),
        bad("cut", "The last letters are missing.", inputs(whole[:-8])),
    ]


def make() -> list[Vector]:
    """All of them."""
    return [*requests(), *request_texts(), *replies()]
