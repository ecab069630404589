"""Roles, and what each may write: the policy of a ledger whose founder names none.

A role is a word; what it may do is the epoch's policy. These words are the ones that the agents and the command line
use. Who measures does not enrol the instruments that it measures with, and who supplies does not prescribe.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

DEFAULT_POLICY: Final[Mapping[str, tuple[str, ...]]] = {
    "hospital": (
        "association",
        "cadence",
        "device.batch",
        "device.enrol",
        "device.retire",
        "device.status",
        "dispense",
        "dispense.return",
        "prescription",
        "reading",
        "recall",
        "stock",
    ),
    "bedside": ("association", "cadence", "device.batch", "device.status", "reading"),
    "laboratory": ("cadence", "device.batch", "device.status", "reading"),
    "pharmacy": ("cadence", "device.status", "dispense", "dispense.return", "recall", "stock"),
    "prescriber": ("prescription",),
    "regulator": ("recall",),
    "witness": (),
    "insurer": (),
    "auditor": (),
    "patient": (),
}
"""Roles and the entry types they may write. A witness writes nothing: its signature stands in others' entries."""
