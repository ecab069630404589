"""Vectors of single blocks: accepted ones, each numbered check failing, and what only newer software can read."""

from __future__ import annotations

from typing import Any

from .making import (
    LEDGER,
    PROTECTED,
    Head,
    Vector,
    accepted,
    block,
    block_aad,
    cbor,
    entry,
    fields_json,
    head_json,
    head_of,
    heart_rate,
    key,
    leaf,
    payload_of,
    refused,
    sha256,
    sig_structure,
    sign,
    sign_payload,
)

ME = "box"
FIRST = block(ME, None, [heart_rate(0)])
HEAD = head_of(FIRST)
MAX_SEQ = 2**40 - 1
MAX_INT = 2**63 - 1


def inputs(raw: bytes, head: Head | None = HEAD, feed: str = ME) -> dict[str, Any]:
    """What a validator is given: the ledger, the feed and its head, and the block."""
    return {"ledger_id": LEDGER, "feed": key(feed), "head": head_json(head), "block": raw}


def good(name: str, description: str, raw: bytes, head: Head | None = HEAD, *, hidden: bool = False) -> Vector:
    """A block that is the feed's next one."""
    return accepted("block", f"accepted-{name}", description, inputs(raw, head), has_holes=hidden, **fields_json(raw))


def bad(name: str, why: str, raw: bytes, error: str, fault: str = "relay", head: Head | None = HEAD) -> Vector:
    """A block that is refused."""
    return refused("block", name, why, inputs(raw, head), error, fault)


def parents(count: int, seq: int = 5) -> list[list[Any]]:
    """Parents in order, of feeds that need not exist: they never affect validity."""
    return [[bytes([n]) * 32, seq, bytes([0xB0 + n]) * 32] for n in range(count)]


def accepted_blocks() -> list[Vector]:
    """Blocks as they may look."""
    entries = [heart_rate(n) for n in range(16)]
    control = entry([sha256(b"an act"), 0], "gov.approve", n=3)
    largest = [bytes(56)] * 1024
    shown = [entries[0], [leaf(entries[1])], entries[2]]
    extremes = {"time": MAX_INT, "epoch": MAX_INT, "clock": [MAX_INT, b"\xff" * 8, 255]}
    return [
        good("first", "The first block of a feed: seq 0, prev null.", FIRST, None),
        good("one-entry", "The second block, with one entry.", block(ME, HEAD, [entries[1]])),
        good("sixteen-entries", "A block of 16 entries.", block(ME, HEAD, entries)),
        good(
            "two-parents",
            "A block that names what its author had seen.",
            block(ME, HEAD, entries[:1], parents=parents(2)),
        ),
        good("eight-parents", "As many parents as there may be.", block(ME, HEAD, entries[:1], parents=parents(8))),
        good("control", "A block of class 0 holds governance.", block(ME, HEAD, [control], **{"class": 0})),
        good(
            "hidden-entry",
            "An entry is hidden: its leaf hash stands in its place. The size cannot be checked, the root can.",
            block(ME, HEAD, shown, size=sum(map(len, entries[:3]))),
            hidden=True,
        ),
        good(
            "all-entries-hidden",
            "All that is left are leaf hashes.",
            block(ME, HEAD, [[leaf(entries[0])]], size=len(entries[0])),
            hidden=True,
        ),
        good(
            "epoch-rises",
            "A block may name a later epoch than the one before it.",
            block(ME, HEAD, entries[:1], epoch=7),
        ),
        good(
            "time-steps-back",
            "A time before that of the block before: a claim, never a reason to refuse.",
            block(ME, HEAD, entries[:1], time=0),
        ),
        good(
            "entry-is-not-cbor",
            "Validation hashes entries and never decodes them: what cannot be read is void, not refused.",
            block(ME, HEAD, [b"\xff\xff"]),
        ),
        good("empty-entry", "A byte string of no bytes is an entry, and a void one.", block(ME, HEAD, [b""])),
        good(
            "limit-body",
            "1,024 entries, 56 KiB of them together, and eight parents: the largest block.",
            block(ME, HEAD, largest, parents=parents(8, MAX_SEQ), **extremes),
        ),
        good("limit-entry", "An entry of 32 KiB, the largest.", block(ME, HEAD, [bytes(32 * 1024)])),
        good(
            "limit-integers",
            "Every integer of the header at its largest.",
            block(ME, Head(MAX_SEQ - 1, HEAD.id, 0), entries[:1], **extremes),
            Head(MAX_SEQ - 1, HEAD.id, 0),
        ),
    ]


def failing_checks() -> list[Vector]:
    """For each numbered check, blocks that pass those before it and fail it."""
    body = [heart_rate(1)]
    honest = block(ME, HEAD, body)
    header_size = 4 + int.from_bytes(honest[2:4], "big") if honest[1] == 0x59 else 3 + honest[2]
    header, rest = honest[:header_size], honest[header_size:]
    control = entry([sha256(b"an act"), 0], "gov.approve", n=3)
    hidden = block(ME, HEAD, [[leaf(control)]], size=len(control), **{"class": 0})
    malformed, wrong_body = "MalformedBlockError", "BodyError"
    unlinked = {"prev": sha256(b"another block")}
    late = Head(HEAD.seq, HEAD.id, 3)
    return [
        bad("check-01-empty", "No bytes.", b"", malformed),
        bad(
            "check-01-too-large",
            "62 KiB and a byte.",
            block(ME, HEAD, [bytes(31_710), bytes(31_710)], size=56 * 1024),
            malformed,
        ),
        bad("check-01-array-of-three", "A block is an array of two.", b"\x83" + honest[1:] + b"\x00", malformed),
        bad("check-01-array-head-long", "The block's array head in two bytes.", b"\x98\x02" + honest[1:], malformed),
        bad(
            "check-01-array-indefinite",
            "The block as an array of indefinite length.",
            b"\x9f" + honest[1:] + b"\xff",
            malformed,
        ),
        bad(
            "check-01-header-length-long",
            "The length of the header longer than its shortest form.",
            honest[:1]
            + b"\x5a\x00\x00"
            + (header_size - 4).to_bytes(2, "big")
            + honest[header_size - (header_size - 4) :],
            malformed,
        ),
        bad("check-01-truncated", "The last byte is missing.", honest[:-1], malformed),
        bad("check-01-trailing-byte", "A byte follows the body.", honest + b"\x00", malformed),
        bad(
            "check-01-body-head-long", "The body's array head in two bytes.", header + b"\x98\x01" + rest[1:], malformed
        ),
        bad(
            "check-01-body-indefinite",
            "The body as an array of indefinite length.",
            header + b"\x9f" + rest[1:] + b"\xff",
            malformed,
        ),
        bad(
            "check-01-entry-length-long",
            "An entry's length longer than its shortest form.",
            header + b"\x81\x59\x00" + rest[2:],
            malformed,
        ),
        bad(
            "check-01-entry-indefinite",
            "An entry as an indefinite byte string.",
            header + b"\x81\x5f" + rest[1:] + b"\xff",
            malformed,
        ),
        bad(
            "check-01-entry-is-text",
            "An entry as text.",
            header + b"\x81" + bytes([rest[1] | 0x20]) + rest[2:],
            malformed,
        ),
        bad(
            "check-01-hidden-not-a-hash",
            "A hidden entry of 31 bytes.",
            header + b"\x81\x81\x58\x1f" + bytes(31),
            malformed,
        ),
        bad(
            "check-01-hidden-head-long",
            "The array around a hidden entry's hash, with its head in two bytes.",
            header + b"\x81\x98\x01\x58\x20" + leaf(body[0]),
            malformed,
        ),
        bad("check-01-body-empty", "A block without an entry.", header + b"\x80", malformed),
        bad(
            "check-01-entry-too-large",
            "An entry of 32 KiB and a byte.",
            block(ME, HEAD, [bytes(32 * 1024 + 1)]),
            malformed,
        ),
        bad("check-01-too-many-entries", "1,025 entries.", block(ME, HEAD, [b""] * 1025), malformed),
        refused(
            "block",
            "check-03-another-feed",
            "A block of another feed than it came for.",
            inputs(block("thief", HEAD, body)),
            malformed,
        ),
        bad("check-04-gap", "A block is missing in between.", block(ME, HEAD, body, seq=2), "GapError", "nobody"),
        bad("check-04-repeated", "The head itself, again.", FIRST, "GapError", "nobody"),
        bad(
            "check-04-first-after-nothing",
            "The second block of a feed of which none is here.",
            honest,
            "GapError",
            "nobody",
            None,
        ),
        bad(
            "check-05-unlinked",
            "Signed, and of another past than ours: this accuses nobody until the split is found.",
            block(ME, HEAD, body, **unlinked),
            "DivergedError",
            "nobody",
        ),
        bad(
            "check-05-unlinked-unsigned",
            "Of another past, and not signed: anybody could have made it.",
            block(ME, HEAD, body, good=False, **unlinked),
            "BlockSignatureError",
        ),
        bad(
            "check-06-epoch-falls",
            "Its author signed an epoch below that of the block before.",
            block(ME, late, body, epoch=2),
            "RuleError",
            "author",
            late,
        ),
        bad(
            "check-06-epoch-falls-unsigned",
            "An epoch that falls, and no signature that proves who wrote it.",
            block(ME, late, body, epoch=2, good=False),
            "BlockSignatureError",
            "relay",
            late,
        ),
        bad(
            "check-07-more-than-said",
            "Two entries where the header says one.",
            header + b"\x82" + rest[1:] + b"\x40",
            wrong_body,
        ),
        bad(
            "check-07-fewer-than-said",
            "One entry where the header says two.",
            block(ME, HEAD, body, count=2),
            wrong_body,
        ),
        bad(
            "check-07-hidden-control",
            "An entry of a control block is hidden: any relay could hide a revocation.",
            hidden,
            wrong_body,
        ),
        bad("check-08-another-entry", "An entry was exchanged.", header + cbor([heart_rate(2)]), wrong_body),
        bad("check-08-order", "Two entries were exchanged with each other.", swapped(), wrong_body),
        bad(
            "check-08-another-hidden",
            "A hash that is not that of the entry hidden.",
            header + cbor([[leaf(b"x")]]),
            wrong_body,
        ),
        bad(
            "check-09-size", "Nothing is hidden and the sizes do not add up.", block(ME, HEAD, body, size=1), wrong_body
        ),
        bad(
            "check-10-signature",
            "One bit of the signature is wrong.",
            block(ME, HEAD, body, good=False),
            "BlockSignatureError",
        ),
        bad(
            "check-10-another-ledger",
            "Signed for another ledger.",
            block(ME, HEAD, body, ledger=sha256(b"another")),
            "BlockSignatureError",
        ),
        bad("check-10-another-key", "Signed by somebody who is not the author.", forged(body), "BlockSignatureError"),
        bad(
            "check-10-plain-signature",
            "A signature over the payload alone, not over COSE's structure.",
            signed_over(body, plainly=True),
            "BlockSignatureError",
        ),
        bad(
            "check-10-no-external-data",
            "A signature without the external data that names the ledger.",
            signed_over(body, plainly=False),
            "BlockSignatureError",
        ),
    ]


def swapped() -> bytes:
    """A block whose two entries changed places."""
    one, other = heart_rate(1), heart_rate(2)
    honest = block(ME, HEAD, [one, other])
    return honest[: -len(cbor([one, other]))] + cbor([other, one])


def forged(body: list[bytes]) -> bytes:
    """A block that names the box and is signed by a thief."""
    return cbor([sign_payload("thief", cbor(payload_of(ME, HEAD, body))), body])


def signed_over(body: list[bytes], *, plainly: bool) -> bytes:
    """A block whose signature covers something else than it should."""
    payload = cbor(payload_of(ME, HEAD, body))
    signature = sign(ME, payload if plainly else sig_structure(payload, b""))
    header = sign_payload(ME, payload)[:-64] + signature
    return cbor([header, body])


def newer_blocks() -> list[Vector]:
    """What is kept apart and reported, and never called malformed."""
    body = [heart_rate(1)]
    payload = cbor(payload_of(ME, HEAD, body))

    def with_protected(protected: bytes) -> bytes:
        signature = sign(ME, sig_structure(payload, block_aad(), protected))
        return cbor([b"\xd2" + cbor([protected, {}, payload, signature]), body])

    assert with_protected(PROTECTED) == block(ME, HEAD, body)
    raws = {
        "version-2": ("A block of version 2.", block(ME, HEAD, body, version=2)),
        "version-2-of-fourteen": (
            "Version 2 may have further fields.",
            cbor([sign_payload(ME, cbor([2, *payload_of(ME, HEAD, body)[1:], 0])), body]),
        ),
        "version-200": ("A version in two bytes.", block(ME, HEAD, body, version=200)),
        "algorithm-eddsa": ("Algorithm -8: one encoding only, so not this one.", with_protected(cbor({1: -8}))),
        "algorithm-es256": ("Algorithm -7.", with_protected(cbor({1: -7}))),
        "algorithm-later": ("An algorithm with a number of its own.", with_protected(cbor({1: -65537}))),
        "critical-parameter": ("A critical header parameter.", with_protected(cbor({1: -19, 2: [99], 99: 0}))),
        "extension": ("An extension.", block(ME, HEAD, body, ext={1: 1})),
        "extension-named": ("An extension with a name.", block(ME, HEAD, body, ext={"note": b"x"})),
        "class-2": ("A class of blocks not known here.", block(ME, HEAD, body, **{"class": 2})),
        "clock-sync-256": ("A kind of clock not known here.", block(ME, HEAD, body, clock=[1000, b"bootboot", 256])),
    }
    return [bad(f"newer-{name}", why, raw, "NewerBlockError", "nobody") for name, (why, raw) in raws.items()]


def make() -> list[Vector]:
    """All of them."""
    return [*accepted_blocks(), *failing_checks(), *newer_blocks()]
