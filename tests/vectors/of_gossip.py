"""Vectors of gossip: names of topics, sealed and signed frames. What a node makes of several: `of_gates`."""

from __future__ import annotations

from hashlib import blake2b
from math import log2
from typing import Any

from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt

from .making import Vector, accepted, block, cbor, heart_rate, key, refused, sha256, sign, spoiled
from .of_forks import BEFORE, proof
from .of_forks import headers as headers_of
from .of_governance import kem
from .of_joining import seal as sealed_to

LEDGER = sha256(b"medledger test vector: the ledger of the frames")
TRANSPORT = sha256(b"medledger test vector: a transport key")
ME, PEER = "auditor", "box"
MY_BOOT, BOOT = b"\x01" * 8, b"\x02" * 8
FEED = key(PEER)
BLOCK = block(PEER, None, [heart_rate(0)], ledger=LEDGER)

BEACON, PROBE, LEAVES, WANT, DATA, DONE, WANT_BRANCHES, GONE, QUERY, CLAIM, ENVELOPE = range(1, 12)
BLOCKS, PROOF = 16, 17


def derived(purpose: bytes, ledger: bytes = LEDGER, transport: bytes = TRANSPORT) -> bytes:
    """A key of one purpose."""
    return blake2b(ledger, key=transport, person=purpose, digest_size=32).digest()


def key_id(transport: bytes = TRANSPORT) -> bytes:
    """The name that a transport key goes by."""
    return blake2b(transport, digest_size=32, person=b"medledger/tkid/1").digest()[:4]


def token(kind: bytes, name: bytes) -> str:
    """The name of a ledger, feed or peer in topics."""
    digest = blake2b(kind + b"\0" + name, key=derived(b"medledger topics"), person=b"medledger token", digest_size=16)
    return digest.hexdigest()


def topic(channel: str, name: str = "") -> str:
    """A topic of the ledger."""
    return f"ml/1/{token(b'ledger', LEDGER)}/{channel}" + (f"/{name}" if name else "")


BEACONS = topic("s")
QUERIES = topic("q")
INBOX = topic("i", token(b"peer", key(ME)))
LIVE = topic("b", token(b"feed", FEED))
PROOFS = topic("e", token(b"feed", FEED))


def associated(where: str, ledger: bytes = LEDGER, transport: bytes = TRANSPORT) -> bytes:
    """What the seal covers besides the plaintext."""
    return cbor(["medledger/frame/1", ledger, where, key_id(transport)])


def seal(where: str, plaintext: bytes, *, ledger: bytes = LEDGER, transport: bytes = TRANSPORT, n: int = 0) -> bytes:
    """Any plaintext sealed for a topic. `n` makes another nonce."""
    nonce = sha256(b"nonce" + plaintext + bytes([n]))[:24]
    secret = derived(b"medledger seal", ledger, transport)
    extra = associated(where, ledger, transport)
    return key_id(transport) + nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, extra, nonce, secret)


def plaintext_of(
    where: str,
    kind: int,
    fields: list[Any],
    *,
    who: str = PEER,
    counter: int = 7,
    boot: bytes = BOOT,
    ledger: bytes = LEDGER,
) -> bytes:
    """A signed message as it stands inside its seal."""
    body = cbor([key(who), boot, counter, *fields])
    covered = b"medledger/frame-signature/1" + sha256(associated(where, ledger)) + sha256(bytes([kind]) + body)
    return bytes([kind]) + sign(who, covered) + body


def signed(where: str, kind: int, fields: list[Any], *, n: int = 0, **origin: Any) -> bytes:
    """A signed and sealed frame."""
    return seal(where, plaintext_of(where, kind, fields, **origin), n=n)


def bare(where: str, kind: int, fields: list[Any]) -> bytes:
    """A sealed frame without a signature of its own."""
    return seal(where, bytes([kind]) + cbor(fields))


NONCE = b"a nonce."
BITMAP = b"\x80" + bytes(31)
FIELDS: dict[str, tuple[str, int, list[Any]]] = {
    "beacon": (BEACONS, BEACON, [sha256(b"root")[:16], 3, 120, sha256(b"head")[:8], False]),
    "probe": (INBOX, PROBE, [NONCE, MY_BOOT, False, BITMAP, sha256(b"bucket")[:8]]),
    "leaves": (
        INBOX,
        LEAVES,
        [NONCE, 0, 1, [[FEED[:8], 5, sha256(b"head")[:8], b""], [key("ada"), 1, sha256(b"h"), sha256(b"f")]]],
    ),
    "want": (INBOX, WANT, [NONCE, MY_BOOT, 2, 131_072, [[FEED, 0, 5, sha256(b"head")[:8]]]]),
    "data": (INBOX, DATA, [NONCE, 0, 1, [BLOCK]]),
    "done": (INBOX, DONE, [NONCE, 1, 0]),
    "want-branches": (
        INBOX,
        WANT_BRANCHES,
        [NONCE, MY_BOOT, 2, 131_072, FEED, bytes(7) + b"\x05", b"", sha256(NONCE + sha256(b"a block on a branch"))[:8]],
    ),
    "gone": (BEACONS, GONE, []),
    "query": (QUERIES, QUERY, [NONCE, [[FEED, 4, 5, b""], [key("ada"), 0, 2, sha256(b"head")]], key("ben")[:8]]),
    "claim": (QUERIES, CLAIM, [NONCE, b"\x80" + bytes(7)]),
    "envelope": (INBOX, ENVELOPE, [sealed_to(kem(ME), bytes([DONE]) + cbor([NONCE, 1, 0]))]),
    "blocks": (LIVE, BLOCKS, [FEED, [BLOCK]]),
    "proof": (PROOFS, PROOF, [FEED, proof(headers_of(BEFORE, 1), headers_of(BEFORE, 2))]),
}


def frame(name: str, **origin: Any) -> tuple[str, bytes]:
    """An honest frame of each kind, with its topic."""
    where, kind, fields = FIELDS[name]
    return where, signed(where, kind, fields, **origin) if kind < 16 else bare(where, kind, fields)


def inputs(where: str, raw: bytes) -> dict[str, Any]:
    """What a receiver has."""
    return {"ledger_id": LEDGER, "transport_key": TRANSPORT, "topic": where, "frame": raw}


def names() -> list[Vector]:
    """What brokers see instead of names."""
    told = {
        "key_id": key_id(),
        "beacons": BEACONS,
        "queries": QUERIES,
        "live": LIVE,
        "forks": PROOFS,
        "inbox": INBOX,
    }
    given = {"ledger_id": LEDGER, "transport_key": TRANSPORT, "feed": FEED, "peer": key(ME)}
    meet = blake2b(key("box"), key=bytes(range(16)), person=b"medledger/meet/1", digest_size=16).hexdigest()
    return [
        accepted("gossip-names", "names", "The transport key's id, and the topics of a ledger.", given, **told),
        accepted(
            "rendezvous",
            "topic",
            "Where the reply to a request is left, by the applicant's key and the request's secret.",
            {"feed": key("box"), "secret": bytes(range(16))},
            topic=f"ml/1/join/{meet}",
        ),
    ]


def frames() -> list[Vector]:
    """One frame at a time."""
    vectors = []
    for name, (_, kind, fields) in FIELDS.items():
        told = {"message": kind, "origin": [key(PEER), BOOT, 7] if kind < 16 else None, "fields": cbor(fields)}
        vectors.append(accepted("gossip-frame", name, f"A {name}, as a peer sends it.", inputs(*frame(name)), **told))

    def bad(name: str, why: str, where: str, raw: bytes) -> None:
        vectors.append(refused("gossip-frame", f"wrong-{name}", why, inputs(where, raw), "FrameError"))

    where, beacon = frame("beacon")
    fields = FIELDS["beacon"][2]
    plain = plaintext_of(where, BEACON, fields)
    bad("topic", "A beacon on a feed's topic: it does not open.", LIVE, beacon)
    bad(
        "other-feed", "Blocks on the topic of another feed.", topic("b", token(b"feed", key("ada"))), frame("blocks")[1]
    )
    bad("other-inbox", "Meant for another peer's inbox.", topic("i", token(b"peer", key("ben"))), frame("want")[1])
    bad("other-ledger", "Sealed for another ledger.", where, seal(where, plain, ledger=sha256(b"another")))
    bad("other-key", "Sealed with another transport key.", where, seal(where, plain, transport=sha256(b"another")))
    bad(
        "other-key-same-id",
        "Another key under our key's id.",
        where,
        key_id() + seal(where, plain, transport=sha256(b"x"))[4:],
    )
    bad("flipped", "One bit flipped.", where, beacon[:-1] + bytes([beacon[-1] ^ 1]))
    bad("truncated", "A byte short.", where, beacon[:-1])
    bad("empty", "No bytes.", where, b"")
    bad("nothing-inside", "A seal around nothing.", where, seal(where, b""))
    bad("too-large", "A beacon over 200 bytes.", where, beacon + bytes(200))
    bad("kind-of-another-channel", "Blocks among the beacons.", where, bare(where, BLOCKS, FIELDS["blocks"][2]))
    bad("kind-unknown", "A kind that nobody knows.", INBOX, signed(INBOX, 15, [NONCE]))
    bad("query-in-an-inbox", "A query is for all, not for one.", INBOX, signed(INBOX, QUERY, FIELDS["query"][2]))
    bad("want-among-queries", "A want is for one, not for all.", QUERIES, signed(QUERIES, WANT, FIELDS["want"][2]))
    bad(
        "signature",
        "A member forges another member's signature.",
        where,
        seal(where, plain[:1] + spoiled(plain[1:65]) + plain[65:]),
    )
    bad(
        "signed-by-another",
        "The sender named is not who signed.",
        where,
        seal(where, plain[:65] + plain[65:].replace(key(PEER), key("ada"))),
    )
    bad(
        "signed-for-another-topic",
        "Passed on to a third: the signature covers the topic.",
        INBOX,
        seal(INBOX, plaintext_of(topic("i", token(b"peer", key("ben"))), DONE, FIELDS["done"][2])),
    )
    bad(
        "signed-for-another-ledger",
        "Signed for another ledger.",
        where,
        seal(where, plaintext_of(where, BEACON, fields, ledger=sha256(b"x"))),
    )
    bad(
        "signed-kind-exchanged",
        "The signature of one kind on another.",
        INBOX,
        seal(INBOX, bytes([LEAVES]) + plaintext_of(INBOX, DONE, FIELDS["done"][2])[1:]),
    )
    bad("fields-trailing-byte", "A byte after the fields.", where, seal(where, plain + b"\0"))
    bad("fields-missing", "A field too few.", where, signed(where, BEACON, fields[:-1]))
    bad("fields-too-many", "A field too many.", where, signed(where, BEACON, [*fields, 0]))
    bad("root-15-bytes", "A root of 15 bytes.", where, signed(where, BEACON, [fields[0][:15], *fields[1:]]))
    bad("count-negative", "A negative count.", where, signed(where, BEACON, [fields[0], -1, *fields[2:]]))
    bad("answer-1", "1 is not true.", where, signed(where, BEACON, [*fields[:4], 1]))
    bad("counter-negative", "A negative counter.", where, signed(where, BEACON, fields, counter=-1))
    bad("boot-7-bytes", "A boot id of seven bytes.", where, signed(where, BEACON, fields, boot=bytes(7)))
    bad(
        "probe-digests",
        "More digests than the bitmap has bits.",
        INBOX,
        signed(INBOX, PROBE, [NONCE, MY_BOOT, False, BITMAP, bytes(16)]),
    )
    bad(
        "leaf-contradicts",
        "Blocks, and no head.",
        INBOX,
        signed(INBOX, LEAVES, [NONCE, 0, 1, [[FEED[:8], 5, b"", b""]]]),
    )
    bad(
        "leaf-feed-9-bytes",
        "Neither a prefix nor a feed.",
        INBOX,
        signed(INBOX, LEAVES, [NONCE, 0, 1, [[FEED[:9], 5, bytes(8), b""]]]),
    )
    bad("leaves-page-beyond", "Page 1 of 1, counted from 0.", INBOX, signed(INBOX, LEAVES, [NONCE, 1, 1, []]))
    bad("want-no-ranges", "Nothing wanted.", INBOX, signed(INBOX, WANT, [NONCE, MY_BOOT, 2, 1000, []]))
    bad("want-empty-range", "From 5 to 5.", INBOX, signed(INBOX, WANT, [NONCE, MY_BOOT, 2, 1000, [[FEED, 5, 5, b""]]]))
    bad(
        "want-17-frames",
        "More credit than there may be.",
        INBOX,
        signed(INBOX, WANT, [NONCE, MY_BOOT, 17, 1000, [[FEED, 0, 5, b""]]]),
    )
    bad(
        "data-block-too-large",
        "A block over 62 KiB.",
        INBOX,
        signed(INBOX, DATA, [NONCE, 0, 1, [bytes(62 * 1024 + 1)]]),
    )
    asked = FIELDS["want-branches"][2]
    bad(
        "branches-held-9-bytes",
        "Salted ids are 8 bytes each.",
        INBOX,
        signed(INBOX, WANT_BRANCHES, [*asked[:7], bytes(9)]),
    )
    bad(
        "branches-held-4097",
        "A salted id more than there may be.",
        INBOX,
        signed(INBOX, WANT_BRANCHES, [*asked[:7], bytes(8 * 4097)]),
    )
    bad(
        "branches-low-41-bytes",
        "A place is 40 bytes at most.",
        INBOX,
        signed(INBOX, WANT_BRANCHES, [*asked[:5], bytes(41), *asked[6:]]),
    )
    nonce, ranges, _ = FIELDS["query"][2]
    bad("gone-with-fields", "A last will says no more than that.", BEACONS, signed(BEACONS, GONE, [0]))
    bad("query-no-ranges", "Nothing asked for.", QUERIES, signed(QUERIES, QUERY, [nonce, [], b""]))
    bad("query-65-ranges", "A range too many.", QUERIES, signed(QUERIES, QUERY, [nonce, ranges[:1] * 65, b""]))
    bad("query-excluded-9-bytes", "Prefixes are 8 bytes.", QUERIES, signed(QUERIES, QUERY, [nonce, ranges, bytes(9)]))
    bad("query-17-excluded", "A peer too many.", QUERIES, signed(QUERIES, QUERY, [nonce, ranges, bytes(8 * 17)]))
    bad(
        "query-feed-prefix",
        "Feeds are named whole.",
        QUERIES,
        signed(QUERIES, QUERY, [nonce, [[FEED[:8], 4, 5, b""]], b""]),
    )
    bad("claim-nothing", "No range is claimed.", QUERIES, signed(QUERIES, CLAIM, [nonce, bytes(8)]))
    bad("claim-9-bytes", "A bitmap for 72 ranges.", QUERIES, signed(QUERIES, CLAIM, [nonce, b"\x80" + bytes(8)]))
    bad("done-status-3", "An unknown status.", INBOX, signed(INBOX, DONE, [NONCE, 1, 3]))
    bad("envelope-49-bytes", "No sealed box around anything.", INBOX, signed(INBOX, ENVELOPE, [bytes(49)]))
    bad("envelope-to-all", "An envelope among the beacons.", BEACONS, signed(BEACONS, ENVELOPE, [bytes(64)]))
    bad("blocks-none", "No blocks.", LIVE, bare(LIVE, BLOCKS, [FEED, []]))
    bad("proof-empty", "An empty proof.", PROOFS, bare(PROOFS, PROOF, [FEED, b""]))
    bad("fields-a-map", "Fields in a map.", LIVE, bare(LIVE, BLOCKS, {"feed": FEED}))  # type: ignore[arg-type]
    bad(
        "fields-loose",
        "An integer longer than its shortest form.",
        LIVE,
        seal(LIVE, bytes([BLOCKS]) + b"\x98\x02" + cbor([FEED, [BLOCK]])[1:]),
    )
    return vectors


def ranks() -> list[Vector]:
    """How long peers wait before they claim what a query asks for."""
    vectors = []
    for name, nonce, feeds in (("first", NONCE, 20), ("second", b"another.", 20), ("large", NONCE, 10_000)):
        waits = []
        for who in ("ada", "ben", PEER, ME):
            digest = blake2b(key(who) + nonce, digest_size=8, person=b"medledger rank").digest()
            share = (int.from_bytes(digest, "big") + 1) / 2**64
            waits.append(round(250 * (1 + max(0.0, log2(share * feeds)))))
        given = {"peers": [key(who) for who in ("ada", "ben", PEER, ME)], "nonce": nonce, "feeds": feeds}
        why = f"Four peers that have what a query asks for, and wrote none of it, in a ledger of {feeds} feeds."
        vectors.append(accepted("gossip-rank", name, why, given, milliseconds=waits))
    return vectors


def make() -> list[Vector]:
    """All of them."""
    return [*names(), *frames(), *ranks()]
