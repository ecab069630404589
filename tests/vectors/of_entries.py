"""Vectors of entries: the envelope, and the content of each type of record."""

from __future__ import annotations

from typing import Any

from .making import NOW, Vector, accepted, cbor, refused, salt, sha256

SUBJECT = bytes(range(16))
CONTENT = {"device": "MON-7", "samples": [["8867-4", [72, 0], "/min"]]}
LEAST = {"unit": "{tablet}", "status": "completed", "product": "04012345678901", "quantity": [30, 0]}


def sampled(*sample: Any) -> dict[str, Any]:
    """A reading of one sample."""
    return {"device": "MON-7", "samples": [list(sample)]}


def envelopes() -> list[Vector]:
    """Entries that can be read, and entries that cannot."""

    def entry(**changes: Any) -> list[Any]:
        fields = {"salt": salt(1), "type": "reading", "time": NOW, "subject": None, "content": CONTENT}
        return list({**fields, **changes}.values())

    def good(name: str, why: str, **changes: Any) -> Vector:
        fields = entry(**changes)
        names = ("salt", "type", "time", "subject")
        told = dict(zip(names, fields, strict=False))
        return accepted("entry", name, why, {"entry": cbor(fields)}, **told, content=cbor(fields[4]))

    def bad(name: str, why: str, raw: bytes, error: str = "MalformedError") -> Vector:
        return refused("entry", name, why, {"entry": raw}, error)

    whole = cbor(entry())
    size = len(cbor(entry(content=bytes(1000)))) - 1000  # of all but the content's bytes
    return [
        good("reading", "A reading about nobody."),
        good("with-subject", "A reading about a subject, by its pseudonym.", subject=SUBJECT),
        good("time-negative", "A time before 1970: a claim like any other.", time=-1),
        good("type-of-64-characters", "The longest type name, of an unknown type: kept, and void.", type="x" * 64),
        good("type-not-ascii", "Characters are counted, not bytes.", type="\u6c34" * 64),
        good("largest", "32 KiB.", content=bytes(32768 - size)),
        good("content-null", "The envelope says nothing of the content.", content=None),
        bad("salt-15-bytes", "A salt of 15 bytes.", cbor(entry(salt=bytes(15)))),
        bad("salt-text", "A salt in text.", cbor(entry(salt="0123456789abcdef"))),
        bad("type-empty", "An empty type.", cbor(entry(type=""))),
        bad("type-of-65-characters", "A type of 65 characters.", cbor(entry(type="x" * 65))),
        bad("type-bytes", "A type in bytes.", cbor(entry(type=b"reading"))),
        bad("time-text", "A time in text.", cbor(entry(time="2026-01-01"))),
        bad("time-float", "A floating-point time.", cbor(entry(time=1.5))),
        bad("time-true", "True is not 1.", cbor(entry(time=True))),
        bad("time-over-64-bits", "A time beyond signed 64 bits.", cbor(entry(time=2**63))),
        bad("subject-15-bytes", "A pseudonym of 15 bytes.", cbor(entry(subject=bytes(15)))),
        bad("subject-text", "A subject in text: it might be a name.", cbor(entry(subject="Jane Doe"))),
        bad("of-four", "A field too few.", cbor(entry()[:4])),
        bad("of-six", "A field too many.", cbor([*entry(), 0])),
        bad("a-map", "A map.", cbor({"type": "reading"})),
        bad("empty", "No bytes.", b""),
        bad("trailing-byte", "A byte after the entry.", whole + b"\x00"),
        bad("array-head-long", "The array's head in two bytes.", b"\x98\x05" + whole[1:]),
        bad("content-float", "A floating-point value.", cbor(entry(content={"value": 13.5}))),
        bad("content-tag", "A tag inside the content.", cbor(entry(content=0))[:-1] + b"\xc1\x00"),
        bad(
            "content-too-deep",
            "Containers nested beyond 16.",
            cbor(entry(content=0))[:-1] + b"\x81" * 16 + b"\x80",
            "LimitError",
        ),
        bad("too-large", "32 KiB and a byte.", cbor(entry(content=bytes(32768 - size + 1))), "LimitError"),
    ]


ACCEPTED: dict[str, dict[str, Any]] = {
    "reading": {
        "one-sample": CONTENT,
        "exact-decimals": {"device": "G-1", "samples": [["8310-5", [3650, -2], "Cel"], ["2339-0", [-5, 3], None]]},
        "text-result": {"device": "LAB", "samples": [["5778-6", "Yellow", None]]},
        "absent-with-reason": {"device": "MON-7", "samples": [["8867-4", None, "/min", {"absent": "not-performed"}]]},
        "flagged": {
            "device": "MON-7",
            "samples": [
                ["2708-6", None, "%", {"flag": "sentinel", "sent": "SpO2", "absent": "error", "sent_value": [-9, 0]}]
            ],
        },
        "own-code": {"device": "MON-7", "samples": [[None, [5, 0], None, {"sent": "X-1", "status": "in-alarm"}]]},
        "alarm": {"raw": sha256(b"raw"), "alarm": "ASYSTOLE", "device": "MON-7", "quality": "lost", "samples": []},
        "clocks": {**CONTENT, "device_time": NOW - 5, "device_sync": 532226},
        "quarantined": {**CONTENT, "quarantine": "after-discharge"},
    },
    "dispense": {
        "least": LEAST,
        "most": {
            "lot": "A1", "raw": sha256(b"scan"), "unit": "mL", "expiry": "2028-02-29", "serial": "S-1",
            "status": "stopped", "product": "04012345678901", "override": "allergy ruled out", "quantity": [125, -1],
            "prescription": bytes(32),
        },
    },
    "association": {
        "begin": {"action": "begin", "device": "MON-7"},
        "end": {
            "at": NOW, "raw": sha256(b"ADT"), "action": "end", "device": "MON-7", "reason": "discharge",
            "location": "ICU-3",
        },
        "cancelled": {"at": NOW, "action": "end", "device": "MON-7", "reason": "cancel"},
        "to-come": {"at": NOW, "sent": -(2**63), "action": "begin", "device": "MON-7", "reason": "admit"},
    },
    "device.status": {
        "lost": {"state": "lost", "device": "MON-7"},
        "most": {
            "state": "on", "config": sha256(b"cfg"), "detail": "E17", "device": "MON-7", "firmware": "2.1",
            "calibrated": NOW,
        },
        "kept": {
            "key": bytes(32), "raw": sha256(b"batch"), "state": "fault", "detail": "batch 7", "device": "PO-1",
            "counter": 2**53 - 1,
        },
    },
}  # fmt: skip

REFUSED: dict[str, dict[str, tuple[str, Any]]] = {
    "reading": {
        "unknown-field": ("A field that the type does not know: it might be a name.", {**CONTENT, "patient": "Jane"}),
        "device-missing": ("Which device?", {"samples": []}),
        "device-empty": ("An empty device.", {**CONTENT, "device": ""}),
        "device-with-newline": ("A control character could forge a line of a log.", {**CONTENT, "device": "A\nB"}),
        "sample-of-two": ("A sample without its unit.", sampled("8867-4", [72, 0])),
        "value-integer": ("A value is a decimal, a text or null.", sampled("8867-4", 72, "/min")),
        "exponent-out-of-range": ("An exponent of 128.", sampled("8867-4", [1, 128], "/min")),
        "value-missing": ("No value and no reason.", sampled("8867-4", None, "/min")),
        "code-check-digit": ("A LOINC code with a wrong check digit.", sampled("8867-5", [72, 0], "/min")),
        "unit-with-space": ("Not a UCUM unit.", sampled("8867-4", [72, 0], "per min")),
        "value-and-absent": ("A value, and why it lacks.", sampled("8867-4", [72, 0], "/min", {"absent": "unknown"})),
        "flagged-with-value": ("Flagged, with a value.", sampled("8867-4", [72, 0], "/min", {"flag": "sentinel"})),
        "qualifiers-empty": ("An empty map of qualifiers is left out.", sampled("8867-4", [72, 0], "/min", {})),
        "code-null-alone": ("Neither a code nor what the device called it.", sampled(None, [72, 0], "/min")),
        "a-list": ("Content of another form.", ["MON-7", []]),
        "quarantine-unknown": ("Another reason to be nobody's.", {**CONTENT, "quarantine": "perhaps"}),
    },
    "dispense": {
        "gtin-check-digit": ("A GTIN with a wrong check digit.", {**LEAST, "product": "04012345678900"}),
        "gtin-of-13": ("A GTIN of 13 digits.", {**LEAST, "product": "4012345678901"}),
        "quantity-negative": ("A return is an event of its own.", {**LEAST, "quantity": [-1, 0]}),
        "status-unknown": ("A status that FHIR does not know.", {**LEAST, "status": "done"}),
        "expiry-30-february": ("A day that does not exist.", {**LEAST, "expiry": "2026-02-30"}),
        "expiry-yymmdd": ("A date in another form.", {**LEAST, "expiry": "20260228"}),
    },
    "association": {
        "action-unknown": ("Neither begin nor end.", {"action": "pause", "device": "MON-7"}),
        "reason-unknown": ("Another reason.", {"action": "end", "device": "MON-7", "reason": "died"}),
        "sent-null": ("Null in the place of what is left out.", {"sent": None, "action": "end", "device": "MON-7"}),
    },
    "device.status": {
        "state-unknown": ("Another state.", {"state": "fine", "device": "MON-7"}),
        "config-31-bytes": ("A hash of 31 bytes.", {"state": "on", "device": "MON-7", "config": bytes(31)}),
        "counter-0": ("Batches are counted from 1.", {"state": "fault", "device": "PO-1", "counter": 0}),
        "key-31-bytes": ("A key of 31 bytes.", {"key": bytes(31), "state": "fault", "device": "PO-1"}),
    },
}  # fmt: skip


def contents(accepts: dict[str, dict[str, Any]], refuses: dict[str, dict[str, tuple[str, Any]]]) -> list[Vector]:
    """Contents that conform to their type's schema, and contents that do not. An entry of the latter is void."""
    vectors = []
    for kind, named in accepts.items():
        for name, content in named.items():
            inputs = {"type": kind, "content": cbor(content)}
            vectors.append(accepted("content", f"{kind}-{name}", f"A {kind} as it may be.", inputs, control=False))
    for kind, crooked in refuses.items():
        for name, (why, content) in crooked.items():
            inputs = {"type": kind, "content": cbor(content)}
            vectors.append(refused("content", f"{kind}-wrong-{name}", why, inputs, "SchemaError", "caller"))
    return vectors


def make() -> list[Vector]:
    """All of them."""
    return [*envelopes(), *contents(ACCEPTED, REFUSED)]
