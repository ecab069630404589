"""docs/wire.cddl against the bytes: golden vectors, a real ledger, and crooked instances of every rule."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cbor2
import pycddl
import pytest

from cddl import Container, Schema, is_array
from forge import Chain, small_entry
from medledger import (
    Association,
    DeviceStatus,
    Dispense,
    Identity,
    Reading,
    Sample,
    cbor,
    governing,
    make_request,
)
from medledger.bundle import encode_manifest
from medledger.entry import decode_entry
from medledger.errors import MalformedError, SchemaError
from medledger.governance import act_id
from medledger.header import signing_prefix
from medledger.records import batch_message
from medledger.registry import registered
from vector_checks import read
from worlds import found, join, sync

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "wire.cddl").read_text(encoding="utf-8")
VECTORS = ROOT / "tests" / "vectors"
SIGNED = ("beacon", "probe", "leaves", "want", "data", "done", "want-branches", "gone", "query", "claim", "envelope")
KINDS = {**dict(enumerate(SIGNED, 1)), 16: "blocks", 17: "proof"}
ANYTHING = {("entry", 4), ("act", 3)}
"""Fields of any type."""


def rule_of(entry_type: str) -> str:
    """The rule of an entry type's content."""
    return "epoch" if entry_type == "gov.epoch" else entry_type.replace(".", "-")


def untext(text: str) -> bytes:
    """The CBOR in a request's or reply's text."""
    letters = "".join(text.split())[7:]
    return urlsafe_b64decode(letters + "=" * (-len(letters) % 4))


def of_block(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """A block, and each entry of it that can be read."""
    yield "block", raw
    for item in cbor.decode(raw, max_size=1 << 16)[1]:
        if isinstance(item, bytes):
            yield from of_entry(item)


def of_entry(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """An entry, and its content where the type is known."""
    try:
        entry = decode_entry(raw)
    except MalformedError:
        return
    yield "entry", raw
    record = registered().get(entry.type)
    if record is not None and conforms(record.SCHEMA.check, entry.content):
        yield rule_of(entry.type), cbor.encode(entry.content)


def conforms(check: Callable[[Any], None], value: Any) -> bool:
    """Whether our own schema accepts a content."""
    try:
        check(value)
    except SchemaError:
        return False
    return True


PLAIN = {
    "genesis": ("genesis", "genesis"),
    "epoch": ("epoch", "document"),
    "enrolment": ("gov-enrol", "content"),
    "revocation": ("gov-revoke", "content"),
    "handing": ("gov-transport", "content"),
    "request": ("request", "request"),
    "fork": ("fork-proof", "proof"),
}
"""Kinds of vectors with one document in them: its rule, and the input that it is."""


def of_vector(kind: str, inputs: dict[str, Any], expected: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """(rule, encoding) of everything in an accepted vector that a rule describes."""
    if kind in PLAIN:
        rule, field = PLAIN[kind]
        yield rule, inputs[field]
    elif kind in ("block", "segment", "membership", "rotations"):
        raws = inputs["blocks"][: len(expected.get("ids", inputs["blocks"]))] if kind != "block" else [inputs["block"]]
        for raw in raws:
            yield from of_block(raw)
    elif kind == "entry":
        yield from of_entry(inputs["entry"])
    elif kind == "content":
        yield rule_of(inputs["type"]), inputs["content"]
        if inputs["type"] == "device.batch":
            fields = cbor.decode(inputs["content"], max_size=1 << 16)
            yield "device-batch-message", batch_message(**{k: v for k, v in fields.items() if k != "signature"})
    elif kind == "witness":
        yield "witness-message", expected["message"]
    elif kind == "bundle-segment":
        yield from (("segment-item", cbor.encode(raw)) for raw in expected["blocks"])
    else:
        yield from of_messages(kind, inputs, expected)


def of_messages(kind: str, inputs: dict[str, Any], expected: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """The same for what people hand over, and for gossip."""
    if kind == "request-text":
        yield "request-text", untext(inputs["text"])
    elif kind == "reply":
        raw = untext(inputs["text"])
        yield "reply-text", raw
        yield "reply", Identity.from_seed(inputs["seed"]).unseal(cbor.decode(raw, max_size=1 << 16)[0])
    elif kind == "gossip-frame":
        fields = cbor.decode(expected["fields"], max_size=1 << 17)
        yield KINDS[expected["message"]], cbor.encode([*(expected["origin"] or []), *fields])
        yield "frame-aad", cbor.encode(["medledger/frame/1", inputs["ledger_id"], inputs["topic"], inputs["frame"][:4]])


@pytest.fixture(scope="module")
def schema() -> Schema:
    """The schema, which collects the instances that conformed to each rule."""
    return Schema(TEXT)


def accepted_vectors() -> Iterator[tuple[str, str, bytes]]:
    """(file, rule, encoding) of all accepted vectors."""
    for path in sorted(VECTORS.glob("*/*.json")):
        vector = json.loads(path.read_text(encoding="utf-8"))
        if vector.get("expected", {}).get("verdict") in ("accepted", "stopped"):
            expected = {field: read(value, field) for field, value in vector["expected"].items() if field != "value"}
            for rule, data in of_vector(vector["kind"], read(vector["inputs"]), expected):
                yield f"{path.parent.name}/{path.name}", rule, data


def test_every_accepted_vector_conforms(schema: Schema) -> None:
    """Each document, block, entry and message in them, by its rule."""
    checked = [(name, rule, schema.conforms_bytes(rule, data)) for name, rule, data in accepted_vectors()]
    assert [each for each in checked if not each[2]] == []
    assert len(checked) > 300


def test_a_real_ledger_conforms(schema: Schema, tmp_path: Path) -> None:
    """A ledger with every type of record, its bundle, a fork proof, a request and a reply, all freshly written."""
    instances = [*real_data(tmp_path)]
    assert [rule for rule, data in instances if not schema.conforms_bytes(rule, data)] == []
    kinds = {"reading", "dispense", "association", "device-status", "epoch", "gov-enrol", "gov-revoke", "gov-approve"}
    kinds.add("gov-transport")  # a revocation brings a new transport key
    assert kinds <= {rule for rule, _ in instances}


def real_data(tmp_path: Path) -> Iterator[tuple[str, bytes]]:
    """(rule, encoding) of what a founder, a box and a pharmacy write in a few lines."""
    with found(tmp_path) as founder, join(founder, tmp_path, "box") as box:
        samples = [
            ("8867-4", "72.50", "/min"),
            Sample(None, sent="X", text=">90"),
            Sample("2708-6", absent="error", unit="%"),
        ]
        box.append(
            Reading(device="MON-7", samples=samples, subject=bytes(16), raw=bytes(32), quality="live"),
            DeviceStatus(device="MON-7", state="on", firmware="2.1", config=bytes(32), calibrated=-5, detail="E1"),
            Association(device="MON-7", action="begin", at=0, location="ICU-3", reason="admit", raw=bytes(32)),
        )
        founder.append(
            Dispense(
                product="04012345678901",
                quantity="1.5",
                unit="mL",
                lot="A",
                expiry="2028-02-29",
                serial="S",
                prescription="RX-1",
                override="seen",
            )
        )
        sync(box, founder)
        governing.change_epoch(founder, policy={"bedside": ["reading"]})
        assert box.me is not None
        founder.revoke(box.me, reason="lost")
        with join(founder, tmp_path, "clone") as clone:
            assert clone.identity is not None
            one, other = Chain(clone.identity, clone.id), Chain(clone.identity, clone.id)
            founder.import_blocks([one.add([small_entry(1)]), other.add([small_entry(2)])])
        manifest = founder.export_bundle(tmp_path / "all.bundle")
        assert manifest.fork_proofs
        yield "manifest", encode_manifest(manifest)
        for feed in founder.frontier():
            for raw in founder.raw_blocks(feed):
                yield from of_block(raw)
        yield "genesis", founder.genesis.raw
        identity = Identity.generate()
        request = make_request(identity, secret=bytes(16), label="new", roles=["bedside"])
        yield "request-text", untext(request)
        answer = untext(founder.enrol(request, broker="mqtts://broker.example:8883"))
        yield "reply-text", answer
        sealed, _ = cbor.decode(answer, max_size=1 << 16)
        yield "reply", identity.unseal(sealed)
        yield "reply-mac-input", cbor.encode([identity.public_key, [1, identity.kem_public_key], sealed])


def test_what_is_hashed_and_signed_beside_the_formats_is_as_described(schema: Schema) -> None:
    """External data of signatures, and what an act's id is the hash of."""
    ledger_id = bytes(range(32))
    aad = cbor.encode(["medledger/block/1", ledger_id])
    assert signing_prefix(ledger_id).endswith(aad)
    act = ["medledger/act/1", ledger_id, "gov.revoke", {"epoch": 0}]
    assert cbor2.dumps(act, canonical=True) == cbor.encode(act)
    assert act_id(ledger_id, "gov.revoke", {"epoch": 0}) != act_id(ledger_id, "gov.enrol", {"epoch": 0})
    for rule, data in (
        ("block-aad", aad),
        ("act", cbor.encode(act)),
        ("genesis-aad", cbor.encode("medledger/genesis/1")),
        ("request-aad", cbor.encode("medledger/request/1")),
    ):
        assert schema.conforms_bytes(rule, data), rule


# --- crooked instances --------------------------------------------------------------------------------------------


def filled() -> Schema:
    """The schema with instances of every rule collected from the vectors and a few of our own making."""
    schema = Schema(TEXT)
    for _, rule, data in accepted_vectors():
        schema.conforms_bytes(rule, data)
    test_what_is_hashed_and_signed_beside_the_formats_is_as_described(schema)
    first = json.loads((VECTORS / "bundle-segment" / "two-blocks.json").read_text())["expected"]["blocks"][0]
    genesis = json.loads((VECTORS / "genesis" / "sole.json").read_text())["inputs"]["genesis"]
    proof = json.loads((VECTORS / "fork" / "two-blocks.json").read_text())["inputs"]["proof"]
    segment = [bytes(32), len(read(first)), 1, [[bytes(32), 0, 1, bytes(32)]]]
    schema.conforms("manifest", [1, read(genesis), [segment], [read(proof)]])
    schema.conforms("reply-mac-input", [bytes(32), [1, bytes(32)], b"sealed"])
    return schema


FILLED = filled()
RULES = sorted(name for name in FILLED.rules)


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_has_instances_and_refuses_crooked_ones(rule: str) -> None:
    """Something conforms to it; and of each part of it, a value of another kind does not."""
    instances = FILLED.seen[rule][:8]
    assert instances, f"nothing that anybody writes conforms to {rule}"
    fresh = Schema(TEXT)
    node = fresh.rules[rule]
    is_group = isinstance(node, Container) and node.kind == "("

    def check(value: Any) -> bool:
        if is_group:
            return is_array(value) and any(end == len(value) for end in fresh._sequence(node.entries, value, 0))
        return fresh.conforms(rule, value)

    crooked = [(rule, at, changed) for instance in instances for at, changed in crooked_forms(instance)]
    accepted = [(at, changed) for _, at, changed in crooked if check(changed) and (rule, at) not in ANYTHING]
    assert accepted == []
    assert len(crooked) >= len(instances)


def crooked_forms(value: Any) -> Iterator[tuple[Any, Any]]:
    """(place, changed value): the whole in another kind, each part in another kind, and a field that nobody knows."""
    yield None, 1.5
    if isinstance(value, cbor.Tag):
        yield "tag", cbor.Tag(value.number + 1, value.value)
        yield "untagged", value.value
    elif isinstance(value, Mapping):
        yield "more", {**value, "no such field": 0}
        for key in value:
            yield key, {**value, key: 1.5}
    elif is_array(value):
        for at in range(len(value)):
            yield at, [*value[:at], 1.5, *value[at + 1 :]]


@pytest.mark.parametrize(
    ("rule", "crooked"),
    [
        ("hash", bytes(31)),
        ("feed", bytes(33)),
        ("signature", bytes(63)),
        ("seq", 2**40),
        ("seq", -1),
        ("length", 2**40 + 1),
        ("uint63", 2**63),
        ("int64", -(2**63) - 1),
        ("decimal", [1, 128]),
        ("decimal", [1]),
        ("protected", b"\xa1\x01\x27"),
        ("unprotected", {4: b"x"}),
        ("parent", [bytes(32), 2**40, bytes(32)]),
        ("body", []),
        ("body", [b""] * 1025),
        ("hidden", [bytes(31)]),
        ("hidden", [bytes(32), bytes(32)]),
        ("entry-bytes", bytes(32769)),
        ("sample", ["8867-4", [1, 0]]),
        ("sample", ["8867-4", [1, 0], "/min", {}, 0]),
        ("sample", ["8867-4", [1, 0], "per min"]),
        ("loinc", "8867"),
        ("unit", "a b"),
        ("qualifiers", {"absent": "forgotten"}),
        ("reading", {"samples": []}),
        ("dispense", {"product": "1", "quantity": [1, 0], "unit": "mL", "status": "completed"}),
        ("association", {"device": "x", "action": "pause"}),
        ("device-status", {"device": "x", "state": "fine"}),
        ("closing", [bytes(32), -2, None]),
        ("last-seq", -2),
        ("kem", [3, bytes(32)]),
        ("gov-approve", [bytes(32), -1]),
        ("act", ["medledger/act/1", bytes(32), "gov.pardon", 0]),
        ("transport-key", [b"", bytes(32)]),
        ("side", []),
        ("side", [b"x"]),
        ("segment", [bytes(32), 0, 1]),
        ("leaf", [bytes(9), 1, bytes(8), b""]),
        ("range", [bytes(32), 0, 0, b""]),
        ("count32", 2**32),
        ("raw-block", b""),
        ("frame-aad", ["medledger/frame/2", bytes(32), "ml/1/x/s", bytes(4)]),
    ],
)
def test_limits_that_cddl_can_say_are_said(rule: str, crooked: Any) -> None:
    """Values just beyond a limit, or of the wrong length, are refused."""
    assert not Schema(TEXT).conforms(rule, crooked)


def test_refused_vectors_are_refused_here_too_where_cddl_can_tell() -> None:
    """Of the headers that are wrong in form all but those whose fault CDDL cannot express do not conform."""
    cannot = ("long", "sorted", "repeated", "the-author", "prev-null-later", "prev-at-first", "payload-trailing-byte")
    schema = Schema(TEXT)
    wrong = []
    for path in sorted((VECTORS / "block").glob("check-02-*.json")):
        if not any(word in path.stem for word in cannot):
            raw = read(json.loads(path.read_text())["inputs"])["block"]
            if schema.conforms_bytes("block", raw):
                wrong.append(path.stem)
    assert wrong == []


# --- the schema itself --------------------------------------------------------------------------------------------


def test_an_outside_parser_reads_the_schema() -> None:
    """It is CDDL, not only what our own checker takes for it."""
    pycddl.Schema(TEXT)


def test_every_record_type_has_its_rule() -> None:
    """A new type of record comes with the description of its content."""
    own = [name for name, cls in registered().items() if cls.__module__.startswith("medledger.")]
    assert [name for name in own if rule_of(name) not in FILLED.rules] == []


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        (
            "a = [1*2 b]\nb = c / d\nc = bstr\nd = [bstr .size 2]",
            [[b"x"], [[b"xy"], b""]],
            [[], [[b"x"]], [b"", b"", b""]],
        ),
        ("a = {}", [{}], [{1: 2}, []]),
        ("a = -3..2", [-3, 0, 2], [-4, 3, True, "0"]),
        ("a = [int1, bstr .cbor [1, int1]]\nint1 = 0..9", [[1, b"\x82\x01\x02"]], [[1, b"\x82\x02\x02"], [1, b"\xff"]]),
        ('a = {"x": 1, ? "y": bool}', [{"x": 1}, {"x": 1, "y": True}], [{}, {"x": 1, "y": 1}, {"x": 1, "z": 1}]),
        ("a = {0*1 tstr => null}", [{}, {"k": None}], [{"k": None, "l": None}, {1: None}]),
        ("a = [g, 5]\ng = (x: 1, y: 2)", [[1, 2, 5]], [[1, 5], [[1, 2], 5]]),
        ("a = [? 1, * 2, + 3]", [[3], [1, 3], [2, 2, 3, 3]], [[], [1], [3, 2]]),
        ("a = #6.18(b)\nb = [1]", [cbor.Tag(18, (1,))], [cbor.Tag(17, (1,)), [1]]),
        ('a = tstr .regexp "[a-z]+"', ["abc"], ["abc1", b"abc"]),
        ("a = tstr .size (1..4)", ["\u00e9\u00e9"], ["\u00e9\u00e9\u00e9", ""]),
    ],
)
def test_our_checker_follows_rfc_8610(text: str, good: list[Any], bad: list[Any]) -> None:
    """Choices, occurrences, groups, ranges and controls mean what the RFC says."""
    schema = Schema(text)
    assert [value for value in good if not schema.conforms("a", value)] == []
    assert [value for value in bad if schema.conforms("a", value)] == []
