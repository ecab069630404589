"""Vectors of transport keys on the ledger: the acts that hand them out, and which one is in use."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from .making import Vector, accepted, cbor, key, person, refused, sha256
from .of_governance import enrolment, kem, revocation
from .of_joining import seal
from .of_membership import World, trio


def transport_key(n: int | str) -> bytes:
    """A transport key, another for each n."""
    return sha256(f"medledger test vector: transport key {n}".encode())


def name_of(transport: bytes) -> bytes:
    """What acts call a transport key."""
    return blake2b(transport, digest_size=32, person=b"medledger/tkid/1").digest()


def handing(transport: bytes, *to: str, generation: int = 1, **changes: Any) -> dict[str, Any]:
    """The content of a `gov.transport`."""
    boxes = [[key(who), seal(kem(who), transport)] for who in sorted(to, key=key)]
    return {"epoch": 0, "generation": generation, "key": name_of(transport), "boxes": boxes, **changes}


def handings() -> list[Vector]:
    """Contents of `gov.transport`, and what one member finds in them."""
    first = transport_key(1)
    honest = handing(first, "ada", "box")

    def good(name: str, why: str, content: dict[str, Any], opens: bytes | None = None) -> Vector:
        return accepted("handing", name, why, inputs(content), opens=opens)

    def bad(name: str, why: str, content: Any) -> Vector:
        return refused("handing", f"wrong-{name}", why, inputs(content), "SchemaError", "caller")

    def inputs(content: Any) -> dict[str, Any]:
        return {"content": cbor(content), "seed": bytes(person("box"))}

    def to_box(box: bytes) -> dict[str, Any]:
        return {**honest, "boxes": [[key("box"), box]]}

    many = sorted([n.to_bytes(32, "big"), bytes(80)] for n in range(241))
    return [
        good("to-two", "A key for two members, each copy sealed to its own.", honest, first),
        good("to-another", "No copy for this member.", handing(first, "ada")),
        good("to-240", "As many as one entry takes.", {**honest, "boxes": many[:240]}),
        good(
            "another-key-inside",
            "A copy of another key than the act names is passed over.",
            to_box(seal(kem("box"), transport_key(2))),
        ),
        good("sealed-to-another", "A copy that does not open is passed over.", to_box(seal(kem("thief"), first))),
        good("zeros", "So is one that nobody can open.", to_box(bytes(80))),
        bad("generation-0", "Generation 0 is not handed out.", {**honest, "generation": 0}),
        bad("no-boxes", "To nobody.", {**honest, "boxes": []}),
        bad("241-boxes", "One more than an entry takes.", {**honest, "boxes": many}),
        bad("unsorted", "A set has one order.", {**honest, "boxes": honest["boxes"][::-1]}),
        bad("twice", "One member twice.", {**honest, "boxes": [honest["boxes"][0]] * 2}),
        bad("box-79-bytes", "No sealed box around 32 bytes.", to_box(bytes(79))),
        bad("name-4-bytes", "The id is not the name.", {**honest, "key": honest["key"][:4]}),
        bad("unknown-field", "A field that the act does not know.", {**honest, "note": "x"}),
        bad("a-list", "Another form.", list(honest.values())),
    ]


def rotation(n: int | str, *, generation: int = 1, counts: bool = True, leaked: tuple[str, ...] = ()) -> dict[str, Any]:
    """A rotation, as vectors write it."""
    told = {"generation": generation, "key": name_of(transport_key(n))}
    return {**told, "counts": counts, "leaked": sorted(map(key, leaked))}


def in_use(name: str, why: str, world: World, *ranked: dict[str, Any]) -> Vector:
    """A scenario; the rotation in use comes last, unless it does not count."""
    return accepted("rotations", name, why, {"genesis": world.genesis, "blocks": world.raws}, ranked=list(ranked))


def write(world: World, who: str, n: int | str, *to: str, generation: int = 1, **changes: Any) -> None:
    """A governor hands a key out."""
    world.write(who, ("gov.transport", handing(transport_key(n), *to, generation=generation)), **changes)


def uses() -> list[Vector]:
    """Which key is in use."""
    sole = World("ada")
    write(sole, "ada", 1, "ada", "box")
    write(sole, "ada", 2, "ada", generation=2)
    write(sole, "ada", 2, "box", generation=2)
    tied = trio()
    write(tied, "ada", 1, "ada", "ben", "cyd")
    write(tied, "ben", 2, "ada", "ben", "cyd")
    smaller, larger = sorted((1, 2), key=lambda n: name_of(transport_key(n)))
    stranger = World("ada")
    stranger.decide("gov.enrol", enrolment("box"), "ada")
    write(stranger, "box", 1, "ada", "box")
    unknown = World("ada")
    unknown.write("ada", ("gov.transport", handing(transport_key(1), "ada", epoch=1)))
    left = trio()
    write(left, "cyd", 1, "ada", "ben", "cyd")
    closing = left.heads["cyd"]
    left.decide("gov.epoch", left.successor("ada", "ben", closing={"cyd": closing}), "ada", "ben")
    write(left, "cyd", 2, "ada", "ben", "cyd", generation=2)
    write(left, "cyd", 3, "ada", "ben", "cyd", generation=3, after=None)
    revoked = trio()
    revoked.decide("gov.enrol", enrolment("box"), "ada", "ben")
    write(revoked, "ada", 1, "ada", "ben", "box", "cyd")
    write(revoked, "cyd", 9, "ada", "ben", "box", "cyd", generation=9)
    last = revoked.heads["cyd"]
    revoked.decide("gov.revoke", revocation("cyd", last.seq, last.id), "ada", "ben")
    write(revoked, "ada", 2, "ada", "ben", "box", generation=2)
    write(revoked, "cyd", 10, "ada", "ben", "box", "cyd", generation=10)
    apart = trio()
    apart.decide("gov.enrol", enrolment("box"), "ada", "ben")
    apart.decide("gov.revoke", revocation("box", -1, None), "ada", "cyd")
    write(apart, "ada", 1, "ada", "ben", "cyd")
    write(apart, "ben", 2, "ada", "ben", "box", "cyd", generation=2)
    renamed = trio()
    renamed.decide("gov.enrol", enrolment("box"), "ada", "ben")
    write(renamed, "ada", 1, "ada", "ben", "box", "cyd")
    renamed.decide("gov.revoke", revocation("box", -1, None), "ada", "cyd")
    write(renamed, "ada", 2, "ada", "ben", "cyd", generation=2)
    write(renamed, "ben", 1, "ada", "ben", "cyd", generation=3)
    forked = World("ada")
    write(forked, "ada", 1, "ada")
    write(forked, "ada", 2, "ada", generation=2, after=None)
    return [
        in_use("none", "Nothing was handed out: the key that replies brought is in use.", World("ada")),
        in_use(
            "two-generations",
            "The higher generation, of several entries.",
            sole,
            rotation(1),
            rotation(2, generation=2),
        ),
        in_use("tie", "Of one generation the key with the smaller name.", tied, rotation(larger), rotation(smaller)),
        in_use("not-a-governor", "A member that never governed hands out no keys.", stranger),
        in_use("epoch-to-come", "An epoch that is not effective here.", unknown, rotation(1, counts=False)),
        in_use(
            "closed-governor",
            "What a governor handed out before it left counts; what comes after, on any branch, does not.",
            left,
            rotation(2, generation=2, counts=False),
            rotation(3, generation=3, counts=False),
            rotation(1),
        ),
        in_use(
            "revoked-governor",
            "A revoked governor's keys come after those it does not hold, and beyond its cut they do not count.",
            revoked,
            rotation(10, generation=10, counts=False),
            rotation(1, leaked=("cyd",)),
            rotation(9, generation=9, leaked=("cyd",)),
            rotation(2, generation=2),
        ),
        in_use(
            "unheard-revocation",
            "ben had not heard that box is revoked: the key that ada made for the others stays in use.",
            apart,
            rotation(2, generation=2, leaked=("box",)),
            rotation(1),
        ),
        in_use(
            "another-number",
            "A key that a revoked member holds is leaked under every number.",
            renamed,
            rotation(1, leaked=("box",)),
            rotation(1, generation=3, leaked=("box",)),
            rotation(2, generation=2),
        ),
        in_use(
            "branch",
            "Entries on both branches of a governor's forked feed count.",
            forked,
            rotation(1),
            rotation(2, generation=2),
        ),
    ]


def make() -> list[Vector]:
    """All of them."""
    return [*handings(), *uses()]
