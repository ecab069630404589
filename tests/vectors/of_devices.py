"""Vectors of what devices sign themselves, of their keys, and of promises about them."""

from __future__ import annotations

from typing import Any

from nacl.signing import SigningKey

from .making import Vector, cbor
from .of_entries import contents

DEVICE = SigningKey(bytes(range(32)))
OTHER = SigningKey(bytes(range(1, 33)))
READINGS = [[1000, [["8867-4", [72, 0], "/min"]]], [2000, [["8867-4", None, "/min", {"absent": "error"}]]]]


def batch(signer: SigningKey = DEVICE, *, after: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A batch, signed; `after` is changed after the signature."""
    fields = {
        "device": "PO-1",
        "key": bytes(DEVICE.verify_key),
        "boot": bytes(range(8)),
        "counter": 1,
        "uptime": 2500,
        "readings": READINGS,
        **changes,
    }
    signature = signer.sign(cbor(["medledger/device-batch/1", *fields.values()])).signature
    return {**fields, "signature": signature, **(after or {})}


ENROLMENT = {"device": "PO-1", "key": bytes(DEVICE.verify_key)}
ACCEPTED: dict[str, dict[str, Any]] = {
    "device.batch": {
        "two-moments": batch(),
        "no-samples": batch(readings=[[0, []]]),
        "largest-counter": batch(counter=2**53 - 1, uptime=2**53 - 1),
    },
    "device.enrol": {
        "least": ENROLMENT,
        "most": {**ENROLMENT, "model": "Acme PO 7"},
        "used-elsewhere-before": {**ENROLMENT, "first": 1743},
        "first-of-all": {**ENROLMENT, "first": 1},
        "largest-first": {**ENROLMENT, "first": 2**53 - 1},
    },
    "device.retire": {
        "from-the-start": {"key": bytes(32), "last": 0},
        "most": {"key": bytes(32), "last": 17, "reason": "opened"},
    },
    "cadence": {
        "about-a-device": {"device": "PO-1", "interval": 60000},
        "about-the-author": {"interval": 1000},
        "no-promise-about-a-device": {"device": "PO-1"},
        "no-promise": {},
    },
}

REFUSED: dict[str, dict[str, tuple[str, Any]]] = {
    "device.batch": {
        "another-signer": ("Signed by another key than it names.", batch(OTHER)),
        "value-changed": ("A value was changed after it was signed.", batch(after={"readings": [[1000, []]]})),
        "counter-changed": ("The counter was changed.", batch(after={"counter": 2})),
        "device-changed": ("Said to be another device's.", batch(after={"device": "PO-2"})),
        "key-changed": ("Said to be under another key.", batch(after={"key": bytes(OTHER.verify_key)})),
        "key-of-small-order": ("Under a key of small order.", batch(after={"key": bytes(32)})),
        "counter-0": ("Counters begin with 1.", batch(counter=0)),
        "no-readings": ("Nothing measured.", batch(readings=[])),
        "readings-unordered": ("Readings out of order.", batch(readings=READINGS[::-1])),
        "reading-after-the-batch": ("A reading later than its batch.", batch(uptime=1999)),
        "boot-7-bytes": ("A boot id of seven bytes.", batch(boot=bytes(7))),
        "65-readings": ("Too many readings.", batch(readings=[[1, []]] * 65)),
    },
    "device.enrol": {
        "key-31-bytes": ("A key of 31 bytes.", {**ENROLMENT, "key": bytes(31)}),
        "no-key": ("No key.", {"device": "PO-1"}),
        "first-0": ("Counters begin with 1.", {**ENROLMENT, "first": 0}),
    },
    "device.retire": {"last-negative": ("A negative counter.", {"key": bytes(32), "last": -1})},
    "cadence": {
        "interval-999": ("Less than a second.", {"interval": 999}),
        "interval-null": ("What has nothing to say is left out.", {"interval": None}),
    },
}


def make() -> list[Vector]:
    """All of them."""
    return contents(ACCEPTED, REFUSED)
