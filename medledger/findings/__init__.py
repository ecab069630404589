"""Findings: what an auditor has to know beyond the bytes, folded from the entries of a whole replica.

    for finding in find(ledger, now=None):
        print(finding.kind, finding.sentence, finding.places)

Verification (`Ledger.verify`) proves that the bytes are what their authors signed. The folds here ask whether what they
say fits together: batches of devices against their enrolment, promised entries against those that came, what was
supplied against what was prescribed. Each is a pure function of the set of entries (finding.py); `FOLDS` lists them.
"""

from __future__ import annotations

from .associations import ASSOCIATIONS
from .batches import BATCHES
from .cadences import CADENCES
from .finding import Context, Finding, Fold, Observed, Place
from .prescriptions import PRESCRIPTIONS
from .reading import find, observe
from .recalls import RECALLS
from .serials import SERIALS
from .stock import STOCK
from .witnesses import WITNESSES

__all__ = ["FOLDS", "Context", "Finding", "Fold", "Observed", "Place", "find", "observe"]

FOLDS: tuple[Fold, ...] = (BATCHES, CADENCES, ASSOCIATIONS, PRESCRIPTIONS, SERIALS, RECALLS, STOCK, WITNESSES)
"""Every question that is asked of a ledger, in the order of the answers."""
