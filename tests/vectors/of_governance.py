"""Vectors of governance documents: genesis, epoch, enrolment and revocation."""

from __future__ import annotations

from typing import Any

import cbor2
from nacl.bindings import crypto_sign_ed25519_pk_to_curve25519

from .making import PROTECTED, Vector, accepted, cbor, key, keys, refused, sha256, sig_structure, sign, sign1, spoiled
from .of_unsigned import headers

GENESIS_AAD = cbor("medledger/genesis/1")
REQUEST_AAD = cbor("medledger/request/1")
POLICY = {"nurse": ["note", "reading"], "pharmacist": ["dispense"], "robot": ["*"]}
NONCE = b"n" * 16


def epoch(*governors: str, **changes: Any) -> list[Any]:
    """Epoch 0 by these governors, a majority of whom decides."""
    fields = {
        "number": 0,
        "previous": None,
        "governors": keys(*governors),
        "threshold": len(governors) // 2 + 1,
        "notaries": [],
        "policy": POLICY,
        "closing": [],
    }
    return list({**fields, **changes}.values())


def genesis(founder: str, document: Any, **changes: Any) -> bytes:
    """A genesis document signed by `founder`."""
    fields = {"version": 1, "nonce": NONCE, "name": "Test ledger", "continues": None, "epoch": document}
    return sign1(founder, cbor(list({**fields, **changes}.values())), GENESIS_AAD)


def act_id(ledger_id: bytes, act: str, content: Any) -> bytes:
    """The id of an act: of what is proposed, not of who proposes it or where."""
    return sha256(cbor(["medledger/act/1", ledger_id, act, content]))


def kem(name: str) -> bytes:
    """The X25519 key that belongs to an Ed25519 key."""
    return crypto_sign_ed25519_pk_to_curve25519(key(name))


def request(name: str, **changes: Any) -> bytes:
    """A request to join, signed by its applicant."""
    fields = {
        "version": 1,
        "sig": [-19, key(name)],
        "kem": [1, kem(name)],
        "label": name,
        "organisation": "St. Elsewhere",
        "roles": ["nurse"],
        "succeeds": None,
    }
    return sign1(name, cbor(list({**fields, **changes}.values())), REQUEST_AAD)


def enrolment(name: str, **changes: Any) -> dict[str, Any]:
    """The content of a `gov.enrol`."""
    return {
        "epoch": 0,
        "roles": ["nurse"],
        "org": "St. Elsewhere",
        "label": name,
        "sig": [-19, key(name)],
        "kem": [1, kem(name)],
        "proof": request(name),
        "succeeds": None,
        **changes,
    }


def revocation(name: str, seq: int, block_id: bytes | None, **changes: Any) -> dict[str, Any]:
    """The content of a `gov.revoke`."""
    return {"epoch": 0, "feed": key(name), "seq": seq, "id": block_id, "reason": "lost", **changes}


def geneses() -> list[Vector]:
    """Genesis documents."""

    def good(name: str, why: str, raw: bytes, founder: str, governors: list[bytes], threshold: int) -> Vector:
        told = {"ledger_id": sha256(raw), "founder": key(founder), "governors": governors, "threshold": threshold}
        return accepted("genesis", name, why, {"genesis": raw}, **told)

    def bad(name: str, why: str, raw: bytes, error: str = "MalformedError", fault: str = "relay") -> Vector:
        return refused("genesis", f"wrong-{name}", why, {"genesis": raw}, error, fault)

    sole, trio = epoch("ada"), epoch("ada", "ben", "cyd", notaries=keys("ned"))
    honest = genesis("ada", sole)
    descending = epoch("ada", "ben", governors=keys("ada", "ben")[::-1])
    weak = epoch("ada", "ben", threshold=1)
    small_order = epoch("ada", governors=sorted([key("ada"), bytes(31) + b"\x80"]), threshold=2)
    es256 = [cbor({1: -7}), {}, cbor2.loads(honest).value[2], bytes(64)]
    vectors = [
        good("sole", "One governor, who founds the ledger.", honest, "ada", keys("ada"), 1),
        good(
            "three",
            "Three governors, of whom two must agree, and a notary.",
            genesis("cyd", trio),
            "cyd",
            keys("ada", "ben", "cyd"),
            2,
        ),
        good(
            "continues",
            "A ledger that carries on another one.",
            genesis("ada", sole, continues=sha256(b"the old one")),
            "ada",
            keys("ada"),
            1,
        ),
        bad("not-a-governor", "Signed by somebody who is no governor.", genesis("thief", sole), "SignatureError"),
        bad("signature", "One bit of the signature.", honest[:-64] + spoiled(honest[-64:]), "SignatureError"),
        bad("no-majority", "One of two governors could decide alone.", genesis("ada", weak)),
        bad("threshold-too-high", "Two of one.", genesis("ada", epoch("ada", threshold=2))),
        bad("no-governors", "Nobody governs.", genesis("ada", epoch("ada", governors=[]))),
        bad("governors-unsorted", "A set has one order.", genesis("ada", descending)),
        bad("governor-of-small-order", "A key that is anybody's.", genesis("ada", small_order)),
        bad("notary-31-bytes", "A key of 31 bytes.", genesis("ada", epoch("ada", notaries=[bytes(31)]))),
        bad("policy-unsorted", "Types out of order.", genesis("ada", epoch("ada", policy={"nurse": ["b", "a"]}))),
        bad(
            "closing",
            "There is no epoch before whose governors could leave.",
            genesis("ada", epoch("ada", closing=[[key("ben"), -1, None]])),
        ),
        bad("number-1", "The first epoch has number 0.", genesis("ada", epoch("ada", number=1))),
        bad("previous", "The first epoch has no predecessor.", genesis("ada", epoch("ada", previous=bytes(32)))),
        bad("nonce-15-bytes", "A nonce of 15 bytes.", genesis("ada", sole, nonce=bytes(15))),
        bad("name-empty", "A ledger without a name.", genesis("ada", sole, name="")),
        bad("name-turns-direction", "A name that writes backwards.", genesis("ada", sole, name="a\u202eb")),
        bad("of-six", "A field too many.", sign1("ada", cbor([1, NONCE, "Test ledger", None, sole, 0]), GENESIS_AAD)),
        bad(
            "external-data",
            "Signed for another purpose.",
            sign1("ada", cbor([1, NONCE, "x", None, sole]), REQUEST_AAD),
            "SignatureError",
        ),
        bad("not-cose", "Something else.", cbor([1, NONCE])),
        bad("version-2", "A later version.", genesis("ada", sole, version=2), "NeedsNewerError", "nobody"),
        bad("algorithm-es256", "Another algorithm.", cbor(cbor2.CBORTag(18, es256)), "NeedsNewerError", "nobody"),
    ]
    # The ledger id covers bytes that the signature does not, as a block's id does: the same changes, to the same end.
    for name, what, changed in changes(honest):
        vectors.append(bad(f"unsigned-{name}", f"What its signature does not cover was changed: {what}.", changed))
    return vectors


def changes(honest: bytes) -> list[tuple[str, str, bytes]]:
    """The changes of `of_unsigned`, but for a signature of another length: that one is malformed in a block only."""
    return [change for change in headers(honest) if not change[0].startswith("signature-6")]


def epochs() -> list[Vector]:
    """Successors of an epoch 0 with the governors ada, ben, cyd and the notary ned."""
    first = genesis("ada", epoch("ada", "ben", "cyd", notaries=keys("ned")))
    ledger_id = sha256(first)
    end = [key("cyd"), 7, sha256(b"cyd's block 7")]

    def document(*governors: str, **changed: Any) -> list[Any]:
        return epoch(*governors, **{"number": 1, "previous": ledger_id, "notaries": keys("ned"), **changed})

    def good(name: str, why: str, told: list[Any]) -> Vector:
        inputs = {"genesis": first, "document": cbor(told)}
        return accepted("epoch", name, why, inputs, act_id=act_id(ledger_id, "gov.epoch", told), threshold=told[3])

    def bad(name: str, why: str, told: Any) -> Vector:
        inputs = {"genesis": first, "document": cbor(told)}
        return refused("epoch", f"wrong-{name}", why, inputs, "SchemaError", "caller")

    trio = ("ada", "ben", "cyd")
    return [
        good("other-policy", "The same governors and another policy.", document(*trio, policy={})),
        good(
            "one-leaves",
            "cyd leaves, closed at its block 7, and dot comes.",
            document("ada", "ben", "dot", closing=[end]),
        ),
        good(
            "closed-at-nothing",
            "cyd leaves, and nothing of its feed counts.",
            document("ada", "ben", closing=[[key("cyd"), -1, None]]),
        ),
        good("notary-leaves", "The notary leaves.", document(*trio, notaries=[], closing=[[key("ned"), 0, bytes(32)]])),
        good("threshold-all", "All three must agree.", document(*trio, threshold=3)),
        bad("leaves-unclosed", "cyd leaves, and nothing says where its feed ends.", document("ada", "ben")),
        bad("closing-of-one-who-stays", "A closing of somebody who leaves no office.", document(*trio, closing=[end])),
        bad(
            "closing-without-id",
            "A position without the block's id.",
            document("ada", "ben", closing=[[key("cyd"), 7, None]]),
        ),
        bad(
            "closing-id-at-minus-1",
            "An id where there is no block.",
            document("ada", "ben", closing=[[key("cyd"), -1, bytes(32)]]),
        ),
        bad("number-2", "The number after next.", document(*trio, number=2)),
        bad("other-previous", "A successor of another epoch.", document(*trio, previous=sha256(b"another"))),
        bad("threshold-1-of-3", "Two sets of one governor need not share one.", document(*trio, threshold=1)),
        bad("threshold-4-of-3", "More than there are.", document(*trio, threshold=4)),
        bad("governors-repeated", "One governor twice.", document(*trio, governors=keys("ada", "ada", "ben"))),
        bad(
            "65-governors",
            "One more than there may be.",
            document(*trio, governors=[n.to_bytes(32, "big") for n in range(65)], threshold=40),
        ),
        bad(
            "governor-not-a-point",
            "32 bytes that are no key.",
            document(*trio, governors=sorted([(2).to_bytes(32, "little"), *keys("ada", "ben", "cyd")]), threshold=3),
        ),
        bad("role-empty", "A role without a name.", document(*trio, policy={"": []})),
        bad("of-six", "A field too few.", document(*trio)[:6]),
        bad("a-map", "Another form.", {"k": 1}),
    ]


def enrolments() -> list[Vector]:
    """Contents of `gov.enrol`: what may be approved, and what can never be effective."""
    ledger_id = sha256(b"the ledger")

    def good(name: str, why: str, content: dict[str, Any]) -> Vector:
        told = {"act_id": act_id(ledger_id, "gov.enrol", content), "feed": content["sig"][1], "kem": content["kem"]}
        return accepted("enrolment", name, why, {"ledger_id": ledger_id, "content": cbor(content)}, **told)

    def bad(name: str, why: str, content: Any, error: str = "SchemaError", fault: str = "caller") -> Vector:
        inputs = {"ledger_id": ledger_id, "content": cbor(content)}
        return refused("enrolment", f"wrong-{name}", why, inputs, error, fault)

    separate = [2, kem("somebody else")]
    without = enrolment("box")
    del without["proof"]
    return [
        good("box", "A member with a derived sealing key.", enrolment("box")),
        good(
            "separate-key",
            "A sealing key of its own.",
            enrolment("box", kem=separate, proof=request("box", kem=separate)),
        ),
        good(
            "other-roles",
            "Governors may give other roles, another label than were asked for.",
            enrolment("box", roles=["pharmacist"], label="Box 7"),
        ),
        good("succeeds", "A key that carries on another feed.", enrolment("box", succeeds=key("old box"))),
        bad("proof-of-another", "The request of another key.", enrolment("box", proof=request("thief"))),
        bad("other-sealing-key", "The request names another sealing key.", enrolment("box", kem=[1, kem("thief")])),
        bad("roles-unsorted", "A set has one order.", enrolment("box", roles=["b", "a"])),
        bad("succeeds-itself", "A key cannot succeed itself.", enrolment("box", succeeds=key("box"))),
        bad(
            "algorithm", "A signing algorithm that this version does not know.", enrolment("box", sig=[-8, key("box")])
        ),
        bad(
            "kem-algorithm",
            "A sealing algorithm that this version does not know.",
            enrolment("box", kem=[3, kem("box")]),
        ),
        bad("no-proof", "The proof is missing.", without),
        bad("epoch-negative", "A negative epoch.", enrolment("box", epoch=-1)),
        bad("unknown-field", "A field that the act does not know.", enrolment("box", note="x")),
        bad(
            "proof-forged",
            "A request whose signature is wrong.",
            enrolment("box", proof=request("box")[:-64] + bytes(64)),
            "SignatureError",
            "relay",
        ),
        bad(
            "proof-not-a-request",
            "A proof that is something else.",
            enrolment("box", proof=genesis("box", epoch("box"))),
            "MalformedError",
            "relay",
        ),
        bad(
            "proof-version-2",
            "A request of a later version.",
            enrolment("box", proof=request("box", version=2)),
            "NeedsNewerError",
            "nobody",
        ),
    ]


def revocations() -> list[Vector]:
    """Contents of `gov.revoke`."""
    ledger_id = sha256(b"the ledger")
    last = sha256(b"the last block")
    cases = {
        "at-a-block": ("The feed ends at block 7.", revocation("box", 7, last)),
        "at-nothing": ("Nothing of the feed stands.", revocation("box", -1, None)),
        "wrong-no-id": ("A seq without the block's id.", revocation("box", 7, None)),
        "wrong-id-at-minus-1": ("An id where there is no block.", revocation("box", -1, last)),
        "wrong-seq-minus-2": ("No such place.", revocation("box", -2, None)),
        "wrong-seq-over-limit": ("A seq of 2^40.", revocation("box", 2**40, last)),
        "wrong-feed-31-bytes": ("A feed of 31 bytes.", revocation("box", 7, last, feed=bytes(31))),
        "wrong-reason-too-long": ("A reason of 129 characters.", revocation("box", 7, last, reason="x" * 129)),
    }
    vectors = []
    for name, (why, content) in cases.items():
        inputs = {"ledger_id": ledger_id, "content": cbor(content)}
        if name.startswith("wrong"):
            vectors.append(refused("revocation", name, why, inputs, "SchemaError", "caller"))
        else:
            told = act_id(ledger_id, "gov.revoke", content)
            vectors.append(accepted("revocation", name, why, inputs, act_id=told))
    return vectors


def make() -> list[Vector]:
    """All of them."""
    assert sign1("ada", b"x", b"")[-64:] == sign("ada", sig_structure(b"x", b"", PROTECTED))
    return [*geneses(), *epochs(), *enrolments(), *revocations()]
