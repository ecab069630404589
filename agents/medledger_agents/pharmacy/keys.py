"""What entries about supplies are found under in the register, and what a conflict may be about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from medledger.findings import Observed

from .register import Key

Subject = tuple[str, Any]
"""What is asked about: ("prescription", id), ("pack", (product, serial)), ("supply", leaf), ("recalls", product), or
("raw", what a request of ours is named by). Only to be judged, and only in the register: ("ours", (seq, index)), what
that entry of ours supplied.
"""


def key_of(subject: Subject) -> Key:
    """What a subject's entries are found under."""
    kind, name = subject
    return "leaf" if kind == "supply" else kind, list(name) if kind == "pack" else name


def keys_of(entry: Observed, *, ours: bool) -> Iterator[Key]:
    """What an entry is found under, its own name first: the subjects' names, and some that only the view asks for."""
    content = entry.content
    yield "leaf", entry.leaf
    if entry.type == "dispense.return":
        yield "issue", content["issue"]
    if entry.type in ("dispense", "prescription") and "prescription" in content:
        yield "prescription", content["prescription"]
    if entry.type in ("dispense", "stock") and "serial" in content:
        yield "pack", [content["product"], content["serial"]]
    if entry.type == "recall":
        yield "recalls", content["product"]
    if ours and "raw" in content:
        yield "raw", content["raw"]
    if ours and entry.type == "dispense":
        yield "ours", content["product"]
    if ours and entry.type == "stock" and content["step"] == "inspecting":
        yield inspection(content)


def inspection(content: Any) -> Key:
    """What an alert is found under, so that it is logged once."""
    return "inspecting", [content.get(name) for name in ("product", "lot", "expiry", "serial", "disposition")]


def subject_of(found: Any) -> Subject:
    """A subject as it was before it was encoded."""
    kind, name = found
    return kind, tuple(name) if kind in ("pack", "ours") else name
