"""Vectors of fork proofs: two blocks at one place of a feed, proved by their author's own signatures."""

from __future__ import annotations

from typing import Any

import cbor2

from .making import LEDGER, Head, Vector, accepted, block, cbor, head_of, heart_rate, key, refused, sha256

ME = "box"
BEFORE = Head(4, sha256(b"block 4"), 0)


def headers(head: Head | None, first: int, count: int = 1, *, unsigned: int = 0, **changes: Any) -> list[bytes]:
    """Consecutive headers after `head`: the first `unsigned` ones do not verify. `first` makes the branch its own."""
    found = []
    for at in range(count):
        raw = block(ME, head, [heart_rate(first + at)], good=at >= unsigned, **(changes if at == 0 else {}))
        found.append(cbor2.loads(raw)[0])
        head = head_of(raw)
    return found


def proof(one: list[bytes], other: list[bytes], *, feed: str = ME, version: int = 1, ordered: bool = True) -> bytes:
    """A proof of two sides, the smaller id first."""
    sides = sorted((one, other), key=lambda side: sha256(side[0])) if ordered else [one, other]
    return cbor([version, key(feed), *sides])


def good(name: str, why: str, one: list[bytes], other: list[bytes], head: Head | None = BEFORE) -> Vector:
    """A proof that proves."""
    ids = sorted((sha256(one[0]), sha256(other[0])))
    seq, prev = (0, None) if head is None else (head.seq + 1, head.id)
    inputs = {"ledger_id": LEDGER, "proof": proof(one, other)}
    return accepted("fork", name, why, inputs, feed=key(ME), seq=seq, prev=prev, ids=ids)


def bad(name: str, why: str, raw: bytes, error: str, fault: str = "relay") -> Vector:
    """A proof that proves nothing."""
    return refused("fork", f"wrong-{name}", why, {"ledger_id": LEDGER, "proof": raw}, error, fault)


def proofs() -> list[Vector]:
    """Proofs, good and bad."""
    a, b = headers(BEFORE, 1), headers(BEFORE, 2)
    longer = headers(BEFORE, 3, 3, unsigned=2)
    at_62 = Head(61, sha256(b"block 61"), 0)
    honest = proof(a, b)
    reordered = sorted((a, b), key=lambda side: sha256(side[0]), reverse=True)
    elsewhere = headers(Head(4, sha256(b"another block 4"), 0), 2)
    elsewhere_seq = headers(Head(5, BEFORE.id, 0), 2)
    past_the_end = headers(at_62, 1, 3, unsigned=2)
    unlinked = [*headers(BEFORE, 3, 1, unsigned=1), *headers(Head(5, sha256(b"?"), 0), 4)]
    thiefs = [cbor2.loads(block("thief", BEFORE, [heart_rate(9)]))[0]]
    signature = "SignatureError"
    malformed, malformed_block = "MalformedError", "MalformedBlockError"
    return [
        good("two-blocks", "Two signed blocks at seq 5, as a clone of a card makes them.", a, b),
        good("first-blocks", "Two first blocks of one feed.", headers(None, 1), headers(None, 2), None),
        good("with-successors", "One side's signature is that of its second successor.", a, longer),
        good(
            "to-the-end",
            "A side that runs to the end of its segment.",
            headers(at_62, 1, 2, unsigned=1),
            headers(at_62, 5),
            at_62,
        ),
        bad("order", "The larger id first: one fork has one proof.", proof(*reordered, ordered=False), malformed),
        bad("same-block", "One block, twice.", proof(a, a), malformed),
        bad(
            "other-prev",
            "Two blocks with one seq and different pasts: the split is further back.",
            proof(a, elsewhere),
            malformed,
        ),
        bad("other-seq", "Two blocks with one past and different seqs.", proof(a, elsewhere_seq), malformed),
        bad(
            "unsigned",
            "A side that nobody signed: a relay could have made it.",
            proof(a, headers(BEFORE, 2, unsigned=1)),
            signature,
        ),
        bad(
            "successors-unsigned",
            "Successors, and none of them signed.",
            proof(a, headers(BEFORE, 3, 2, unsigned=2)),
            signature,
        ),
        bad(
            "another-ledger",
            "Signed for another ledger.",
            proof(a, [cbor2.loads(block(ME, BEFORE, [heart_rate(2)], ledger=sha256(b"x")))[0]]),
            signature,
        ),
        bad("another-feed", "A side of another feed.", proof(a, thiefs), malformed_block),
        bad(
            "feed-not-the-headers",
            "The feed named is not that of the headers.",
            proof(a, b, feed="thief"),
            malformed_block,
        ),
        bad("unlinked", "Headers of a side that do not link.", proof(a, unlinked), malformed_block),
        bad(
            "past-the-end",
            "A side that runs past block 63, which must verify by itself.",
            proof(past_the_end, headers(at_62, 5)),
            malformed_block,
        ),
        bad("empty-side", "A side without headers.", cbor([1, key(ME), a, []]), malformed_block),
        bad("of-three", "A side is missing.", cbor([1, key(ME), a]), malformed),
        bad("side-not-a-list", "A side that is not a list.", cbor([1, key(ME), a, b[0]]), malformed),
        bad("header-not-bytes", "A header that is not a byte string.", cbor([1, key(ME), a, ["x"]]), malformed),
        bad("no-feed", "A feed of 31 bytes.", cbor([1, key(ME)[:31], *cbor2.loads(honest)[2:]]), malformed),
        bad("trailing-byte", "A byte after the proof.", honest + b"\x00", malformed),
        bad("header-loose", "A header that is not in its one encoding.", proof(a, [b[0][1:]]), malformed_block),
        bad(
            "too-large",
            "More bytes than two segments of the largest headers.",
            cbor([1, key(ME), [bytes(140_000)], []]),
            "LimitError",
        ),
        bad("version-2", "A later version.", proof(a, b, version=2), "NeedsNewerError", "nobody"),
        bad(
            "header-version-2",
            "Headers of a later version.",
            proof(a, headers(BEFORE, 2, version=2)),
            "NewerBlockError",
            "nobody",
        ),
    ]


def choices() -> list[Vector]:
    """Of two proofs about one feed, everybody keeps the same."""
    a, b, c = (headers(BEFORE, n) for n in (1, 2, 3))
    early = Head(2, sha256(b"block 2"), 0)
    lower = proof(headers(early, 1), headers(early, 2))
    ids = sorted(sha256(side[0]) for side in (a, b, c))
    lower_ids = sorted(sha256(side[0]) for side in (headers(early, 1), headers(early, 2)))
    by_id = {sha256(side[0]): side for side in (a, b, c)}
    pairs = [proof(by_id[ids[0]], by_id[ids[2]]), proof(by_id[ids[1]], by_id[ids[2]])]

    def choice(name: str, why: str, given: list[bytes], seq: int, kept: list[bytes]) -> Vector:
        return accepted("fork-choice", name, why, {"ledger_id": LEDGER, "proofs": given}, seq=seq, ids=kept)

    return [
        choice("lowest-seq", "The lower place is kept.", [proof(a, b), lower], 3, lower_ids),
        choice(
            "smallest-ids",
            "Of three blocks at one place the two smallest ids, which neither proof shows together.",
            pairs,
            5,
            ids[:2],
        ),
        choice("the-same", "A proof and itself.", [pairs[0], pairs[0]], 5, [ids[0], ids[2]]),
    ]


def make() -> list[Vector]:
    """All of them."""
    return [*proofs(), *choices()]
