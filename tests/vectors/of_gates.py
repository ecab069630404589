"""Vectors of what a node does with a sequence of frames: replays, counters, senders, older keys, envelopes."""

from __future__ import annotations

from typing import Any

from .making import Vector, accepted, cbor, key, person, sha256, spoiled
from .of_gossip import (
    BEACON,
    BEACONS,
    BLOCK,
    BLOCKS,
    DONE,
    ENVELOPE,
    FIELDS,
    INBOX,
    LEDGER,
    LIVE,
    ME,
    MY_BOOT,
    NONCE,
    PEER,
    PROOFS,
    QUERIES,
    TRANSPORT,
    WANT,
    frame,
    plaintext_of,
    seal,
    signed,
)
from .of_governance import kem
from .of_joining import seal as sealed_to


def to_me(kind: int, fields: list[Any]) -> bytes:
    """What an envelope holds."""
    return sealed_to(kem(ME), bytes([kind]) + cbor(fields))


def enveloped(sealed: bytes, **origin: Any) -> bytes:
    """An envelope."""
    return signed(INBOX, ENVELOPE, [sealed], **origin)


def make() -> list[Vector]:
    """Sequences: replays, old counters, revoked senders, requests meant for another boot."""
    where, beacon = frame("beacon")
    fields, (_, _, want) = FIELDS["beacon"][2], FIELDS["want"]

    def sequence(
        name: str,
        why: str,
        *steps: tuple[str, bytes, str],
        known: tuple[str, ...] = (PEER,),
        revoked: tuple[str, ...] = (),
        newer: bytes | None = None,
    ) -> Vector:
        given = {
            "ledger_id": LEDGER,
            "transport_key": newer or TRANSPORT,
            "older_keys": [TRANSPORT] if newer else [],
            "me": key(ME),
            "seed": bytes(person(ME)),
            "boot": MY_BOOT,
            "known": [key(who) for who in known],
            "revoked": [key(who) for who in revoked],
            "frames": [{"topic": at, "frame": raw} for at, raw, _ in steps],
        }
        return accepted("gossip-gate", name, why, given, outcomes=[outcome for _, _, outcome in steps])

    def from_peer(counter: int, n: int = 0, **origin: Any) -> bytes:
        return signed(where, BEACON, fields, counter=counter, n=n, **origin)

    no, yes, again = "refused", "admitted", "seen"
    wrong_signature = plaintext_of(where, BEACON, fields, counter=9)
    wrong = seal(where, wrong_signature[:1] + spoiled(wrong_signature[1:65]) + wrong_signature[65:])
    return [
        sequence(
            "replay",
            "A broker that repeats a frame: the second is seen, and nothing more.",
            (where, beacon, yes),
            (where, beacon, again),
        ),
        sequence(
            "counter-used",
            "Sealed anew by another member, with a counter that was used.",
            (where, from_peer(5), yes),
            (where, from_peer(5, n=1), no),
        ),
        sequence(
            "overtaken",
            "Frames overtake each other within the window of 1,024, each once.",
            (where, from_peer(2000), yes),
            (where, from_peer(977), yes),
            (where, from_peer(976), no),
            (where, from_peer(977, n=1), no),
        ),
        sequence(
            "another-boot",
            "A restarted peer counts from 0 again.",
            (where, from_peer(2000), yes),
            (where, from_peer(0, boot=b"\x03" * 8), yes),
        ),
        sequence(
            "forged-burns-nothing",
            "A forged frame does not use up the counter that it names.",
            (where, wrong, no),
            (where, from_peer(9, n=1), yes),
        ),
        sequence("revoked", "A revoked key is not heard.", (where, beacon, no), revoked=(PEER,)),
        sequence(
            "last-will",
            "Sealed when the connection began: its counter need not be in the window, only later than the will before.",
            (where, from_peer(2000), yes),
            (BEACONS, frame("gone", counter=3)[1], yes),
            (BEACONS, frame("gone", counter=3, n=1)[1], no),
            (BEACONS, frame("gone", counter=2)[1], no),
            (BEACONS, frame("gone", counter=4)[1], yes),
        ),
        sequence(
            "last-will-of-nobody",
            "Of a peer that was never heard, nothing is to be learned from its last will.",
            (BEACONS, frame("gone")[1], no),
        ),
        sequence("stranger", "A key that is not enrolled here yet is listened to.", (where, beacon, yes), known=()),
        sequence(
            "other-boot-asked",
            "A request meant for another boot of ours asks nobody.",
            (INBOX, signed(INBOX, WANT, [want[0], b"\x09" * 8, *want[2:]]), no),
            (INBOX, frame("want", counter=8)[1], yes),
        ),
        sequence(
            "query-asks-all",
            "A query names no boot, and nor does what claims it.",
            (QUERIES, frame("query")[1], yes),
            (QUERIES, frame("claim", counter=8)[1], yes),
            (QUERIES, frame("claim", counter=8)[1], again),
        ),
        sequence("other-topic", "A topic of another ledger.", ("ml/1/00000000000000000000000000000000/s", beacon, no)),
        sequence(
            "topic-of-another-feed",
            "Sealed by a member for the topic of one feed, with blocks of another.",
            (PROOFS.replace("/e/", "/b/"), seal(LIVE, bytes([BLOCKS]) + cbor([key("ada"), [BLOCK]])), no),
            (LIVE, frame("blocks")[1], yes),
        ),
        sequence(
            "retained-proof",
            "A proof is as good when it comes from the broker's memory.",
            (PROOFS, frame("proof")[1], yes),
            (PROOFS, frame("proof")[1], again),
        ),
        sequence(
            "older-key",
            "Of what comes under an older key, beacons and requests of members are heard, and what is in envelopes.",
            (where, beacon, "straggler"),
            (where, beacon, again),
            (INBOX, frame("want", counter=8)[1], "straggler"),
            (INBOX, frame("data", counter=9)[1], no),
            (INBOX, frame("done", counter=10)[1], no),
            (LIVE, frame("blocks")[1], no),
            (PROOFS, frame("proof")[1], no),
            (QUERIES, frame("query", counter=11)[1], no),
            (INBOX, frame("envelope", counter=12)[1], yes),
            newer=sha256(b"the next transport key"),
        ),
        sequence(
            "older-key-revoked",
            "A revoked key is not heard under any key.",
            (where, beacon, no),
            (INBOX, frame("envelope", counter=8)[1], no),
            revoked=(PEER,),
            newer=sha256(b"the next transport key"),
        ),
        sequence(
            "envelopes",
            "What is sealed to another, what holds a request, another envelope, or nothing that can be read.",
            (INBOX, frame("envelope")[1], yes),
            (INBOX, enveloped(sealed_to(kem("ada"), bytes([DONE]) + cbor([NONCE, 1, 0])), counter=8), no),
            (INBOX, enveloped(to_me(WANT, want), counter=9), no),
            (INBOX, enveloped(to_me(ENVELOPE, [bytes(64)]), counter=10), no),
            (INBOX, enveloped(to_me(DONE, [NONCE, 1]), counter=11), no),
            (INBOX, enveloped(sealed_to(kem(ME), bytes([DONE]) + b"\x9f\xff"), counter=12), no),
            (INBOX, enveloped(bytes(64), counter=13), no),
        ),
    ]
