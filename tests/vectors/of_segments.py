"""Vectors of ranges of a feed: which blocks are accepted, on whose signature, and why the next one is not."""

from __future__ import annotations

from typing import Any

from .making import LEDGER, Head, Vector, block, cbor, head_json, head_of, heart_rate, key, sha256

ME = "box"
START = Head(60, sha256(b"block 60"), 0)


def chain(head: Head | None, count: int, *, unsigned: tuple[int, ...] = (), **changes: Any) -> list[bytes]:
    """Consecutive blocks after `head`; the seqs in `unsigned` have spoiled signatures. `changes` go to the last."""
    raws = []
    for at in range(count):
        seq = 0 if head is None else head.seq + 1
        last = changes if at == count - 1 else {}
        raws.append(block(ME, head, [heart_rate(seq % 60)], good=seq not in unsigned, **last))
        head = head_of(raws[-1])
    return raws


def vector(
    name: str,
    why: str,
    head: Head | None,
    raws: list[bytes],
    accepted: int,
    error: str | None = None,
    seq: int | None = None,
    fault: str = "relay",
) -> Vector:
    """A range, how many of its blocks are accepted, and the error of the first that is not, if one is not."""
    stops = None if error is None else {"error": error, "fault": fault, "seq": seq}
    ids = [head_of(raw).id for raw in raws[:accepted]]
    inputs = {"ledger_id": LEDGER, "feed": key(ME), "head": head_json(head), "blocks": raws}
    verdict = "accepted" if error is None else "stopped"
    return Vector("segment", name, why, inputs, {"verdict": verdict, "ids": ids, "stopped_by": stops})


def damaged(raw: bytes) -> bytes:
    """A block whose last byte, in an entry, was changed."""
    return raw[:-1] + bytes([raw[-1] ^ 1])


def make() -> list[Vector]:
    """All of them."""
    unsigned, body = "BlockSignatureError", "BodyError"
    five = chain(None, 5)
    across = chain(START, 6)  # 61 to 66
    at_end = chain(START, 6, unsigned=(63,))
    hurt = [*five[:2], damaged(five[2]), *five[3:]]
    lost_head = five[0][:-1] + bytes([five[0][-1] ^ 1])
    falls = chain(Head(60, START.id, 4), 2, epoch=3)
    falls_unsigned = chain(Head(60, START.id, 4), 2, unsigned=(62,), epoch=3)
    other = chain(None, 2, time=5)
    holes = list(five)
    header = five[2][: -len(cbor([heart_rate(2)]))]
    holes[2] = header + cbor([[sha256(b"\x00" + heart_rate(2))]])
    return [
        vector("empty", "No blocks: nothing accepted, nothing wrong.", None, [], 0),
        vector("honest", "Five blocks, each signed.", None, five, 5),
        vector("from-a-head", "Blocks that follow a head, across the end of a segment.", START, across, 6),
        vector("hidden-in-the-middle", "A data entry may be hidden anywhere; the id does not change.", None, holes, 5),
        vector(
            "successor-vouches",
            "Block 3's own signature is wrong; block 4's verifies, and its prev covers every byte of block 3.",
            None,
            chain(None, 5, unsigned=(3,)),
            5,
        ),
        vector(
            "one-signature-for-many",
            "Only the last of five blocks verifies by itself.",
            None,
            chain(None, 5, unsigned=(0, 1, 2, 3)),
            5,
        ),
        vector(
            "last-unsigned",
            "The last block has no signature and no successor: it is not accepted yet.",
            None,
            chain(None, 5, unsigned=(4,)),
            4,
            unsigned,
            4,
        ),
        vector(
            "all-unsigned",
            "Nothing authenticates any of them; the first is named.",
            None,
            chain(None, 3, unsigned=(0, 1, 2)),
            0,
            unsigned,
            0,
        ),
        vector(
            "unsigned-tail",
            "Of the blocks after the last good signature the first is named.",
            None,
            chain(None, 5, unsigned=(2, 3, 4)),
            2,
            unsigned,
            2,
        ),
        vector(
            "63-by-itself",
            "Block 63 ends a segment: its successors' signatures do not vouch for it.",
            START,
            at_end,
            2,
            unsigned,
            63,
        ),
        vector(
            "63-vouches",
            "Block 63's own signature vouches for those before it.",
            START,
            chain(START, 6, unsigned=(61, 62)),
            6,
        ),
        vector(
            "64-needs-its-own-segment",
            "A segment ends at 63: what comes after stands on later signatures only.",
            START,
            chain(START, 6, unsigned=(64, 65, 66)),
            3,
            unsigned,
            64,
        ),
        vector("damaged-first", "The first block was damaged.", None, [lost_head, *five[1:]], 0, body, 0),
        vector("damaged-middle", "What comes before the damaged block is accepted.", None, hurt, 2, body, 2),
        vector(
            "damaged-after-unsigned",
            "The damaged block is the successor that should have vouched: the unsigned one before it is named.",
            None,
            [*chain(None, 2, unsigned=(1,)), damaged(chain(None, 3, unsigned=(1,))[2])],
            1,
            unsigned,
            1,
        ),
        vector("gap", "Block 2 is missing.", None, [*five[:2], *five[3:]], 2, "GapError", 3, "nobody"),
        vector("repeated", "Block 1 comes twice.", None, [*five[:2], five[1]], 2, "GapError", 1, "nobody"),
        vector("reversed", "Out of order.", None, five[::-1], 0, "GapError", 4, "nobody"),
        vector(
            "of-another-past",
            "Block 1 of another history of the same author: signed, so the two have to be compared further back.",
            None,
            [five[0], five[1], chain(head_of(other[1]), 1)[0]],
            2,
            "DivergedError",
            2,
            "nobody",
        ),
        vector(
            "of-another-past-vouched",
            "Of another history, and not signed itself: its successor's signature stands behind it.",
            None,
            [five[0], five[1], *chain(head_of(other[1]), 2, unsigned=(2,))],
            2,
            "DivergedError",
            2,
            "nobody",
        ),
        vector(
            "of-another-past-unsigned",
            "Of another history, and neither of the two is signed: anybody could have made them.",
            None,
            [five[0], five[1], *chain(head_of(other[1]), 2, unsigned=(2, 3))],
            2,
            unsigned,
            2,
        ),
        vector(
            "of-another-past-vouched-beyond-63",
            "Of another history and unsigned; the signature that follows is in the next segment, and vouches for none.",
            Head(62, head_of(other[1]).id, 0),
            chain(START, 5, unsigned=(63,))[2:],
            0,
            unsigned,
            63,
        ),
        vector(
            "epoch-falls",
            "The author signed an epoch that falls.",
            Head(60, START.id, 4),
            falls,
            1,
            "RuleError",
            62,
            "author",
        ),
        vector(
            "epoch-falls-unsigned",
            "An epoch that falls, in a block that nobody signed: it proves nothing about the author.",
            Head(60, START.id, 4),
            falls_unsigned,
            1,
            unsigned,
            62,
        ),
    ]
