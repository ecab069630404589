"""Vectors of prescriptions, returns, stock and recalls, and of what a witness signs."""

from __future__ import annotations

from typing import Any

from nacl.signing import SigningKey

from .making import NOW, Vector, accepted, cbor, sha256
from .of_entries import contents

GTIN = "04012345678901"
WITNESS = SigningKey(bytes(range(2, 34)))
AUTHOR = SigningKey(bytes(range(3, 35)))
LEDGER = sha256(b"ledger")
PRESCRIPTION = {"unit": "{tablet}", "product": GTIN, "quantity": [30, 0], "prescription": bytes(range(16))}
RETURN = {"issue": sha256(b"issue"), "action": "undo", "quantity": [1, 0]}
STOCK = {"step": "receiving", "unit": "{pack}", "product": GTIN, "quantity": [1, 0]}
RECALL = {"product": GTIN}

ACCEPTED: dict[str, dict[str, Any]] = {
    "prescription": {
        "least": PRESCRIPTION,
        "class": {"atc": "N02A", "unit": "mg", "quantity": [25, -1], "prescription": bytes(16)},
        "most": {
            **PRESCRIPTION,
            "atc": "N02AA01",
            "raw": sha256(b"rx"),
            "expires": "2028-02-29",
            "repeats": 99,
            "schedule": "II",
        },
    },
    "dispense.return": {
        "least": RETURN,
        "most": {**RETURN, "action": "return", "reason": "moved", "operator": bytes(16), "raw": sha256(b"x")},
    },
    "stock": {
        "least": STOCK,
        **{step: {**STOCK, "step": step} for step in ("inspecting", "holding", "storing", "shipping", "removing")},
        "most": {
            **STOCK,
            "step": "destroying",
            "lot": "A1",
            "expiry": "2028-02-29",
            "serial": "S-1",
            "source": "holding",
            "disposition": "expired",
            "reason": "out of date",
            "schedule": "II",
            "document": sha256(b"note"),
            "override": "seen",
            "operator": bytes(16),
            "witness": [bytes(WITNESS.verify_key), bytes(64)],
            "raw": sha256(b"x"),
        },
    },
    "dispense": {
        "two-people": {
            "unit": "{tablet}",
            "status": "completed",
            "product": GTIN,
            "quantity": [30, 0],
            "refill": 99,
            "schedule": "II",
            "operator": bytes(16),
            "witness": [bytes(WITNESS.verify_key), bytes(64)],
        },
    },
    "recall": {
        "all": RECALL,
        "lots": {**RECALL, "lots": ["A", "B"]},
        "most": {
            **RECALL,
            "lots": ["A"],
            "serials": ["1", "2"],
            "level": "I",
            "reference": "D-1407-2012",
            "reason": "glass",
            "raw": sha256(b"x"),
        },
    },
}

REFUSED: dict[str, dict[str, tuple[str, Any]]] = {
    "prescription": {
        "id-of-15-bytes": ("An id of 15 bytes.", {**PRESCRIPTION, "prescription": bytes(15)}),
        "id-text": ("An id in text might mean somebody.", {**PRESCRIPTION, "prescription": "RX-1"}),
        "quantity-0": ("Nothing.", {**PRESCRIPTION, "quantity": [0, 0]}),
        "repeats-0": ("No repeats are left out.", {**PRESCRIPTION, "repeats": 0}),
        "of-what": ("Neither a product nor a class.", {k: v for k, v in PRESCRIPTION.items() if k != "product"}),
        "atc": ("Not a code of that classification.", {**PRESCRIPTION, "atc": "N2"}),
    },
    "dispense.return": {
        "issue-20-bytes": ("Not a leaf hash.", {**RETURN, "issue": bytes(20)}),
        "quantity-0": ("Nothing.", {**RETURN, "quantity": [0, 0]}),
        "action-unknown": ("Another action.", {**RETURN, "action": "swap"}),
        "product": ("The product is that of the supply.", {**RETURN, "product": GTIN}),
    },
    "stock": {
        "step-unknown": ("Another step.", {**STOCK, "step": "stocking"}),
        "quantity-0": ("Nothing.", {**STOCK, "quantity": [0, 0]}),
        "source-of-receipt": ("What comes in was not in quarantine here.", {**STOCK, "source": "holding"}),
        "disposition-unknown": ("Another disposition.", {**STOCK, "disposition": "lost"}),
        "witness-alone": ("A key without a signature.", {**STOCK, "witness": [bytes(32)]}),
    },
    "dispense": {
        "refill-0": (
            "The first supply has no number.",
            {"unit": "mL", "status": "completed", "product": GTIN, "quantity": [1, 0], "refill": 0},
        ),
    },
    "recall": {
        "lots-unsorted": ("One set has one form.", {**RECALL, "lots": ["B", "A"]}),
        "lots-twice": ("One set has one form.", {**RECALL, "lots": ["A", "A"]}),
        "lots-empty": ("None are left out.", {**RECALL, "lots": []}),
        "level-unknown": ("Another level.", {**RECALL, "level": "1"}),
    },
}


def witnessed() -> list[Vector]:
    """What a witness signs of an entry, and the signature."""
    found = []
    for name, subject in (("about-nobody", None), ("about-a-subject", bytes(range(16)))):
        content = {**STOCK, "step": "destroying", "schedule": "II"}
        author = bytes(AUTHOR.verify_key)
        message = cbor(["medledger/supply-witness/1", LEDGER, author, "stock", NOW, subject, content])
        inputs = {
            "ledger_id": LEDGER,
            "author": author,
            "type": "stock",
            "time": NOW,
            "subject": subject,
            "content": cbor({**content, "witness": [bytes(WITNESS.verify_key), bytes(64)]}),
            "key": bytes(WITNESS.verify_key),
            "signature": WITNESS.sign(message).signature,
        }
        found.append(accepted("witness", name, "A witness signs all but the witness.", inputs, message=message))
    return found


def make() -> list[Vector]:
    """All of them."""
    return [*contents(ACCEPTED, REFUSED), *witnessed()]
