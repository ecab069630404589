"""Whom an HL7 message names: the numbers of PID-3 (and MRG-1), and which of them hospitals go by.

- A number means somebody together with who issued it (the assigning authority, PID-3.4). Where a sender names no
  issuer, the configured one is meant; without that, the number stands alone, and is another than one with an issuer.
- The medical record number (MR) comes before other numbers of the patient, and these before the rest.
- A message that names several patients names nobody.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from medledger_bridge.hl7 import Message, Segment

PREFERRED: Final = ("MR", "PI", "")  # HL7 table 0203, in the order in which a patient's numbers are preferred


class Patient(NamedTuple):
    """A patient's number and who issued it. Neither ever goes on the ledger."""

    number: str
    issuer: str


def numbers_in(message: Message, segment: Segment, field: int, issuer: str = "") -> tuple[Patient, ...]:
    """The patient's numbers in a field of type CX, the one that hospitals go by first."""
    found = []
    for repeat in range(1, message.repeats(segment, field) + 1):
        number, given, kind = (message.part(segment, field, place, repeat=repeat) for place in (1, 4, 5))
        if number:
            rank = PREFERRED.index(kind) if kind in PREFERRED else len(PREFERRED)
            found.append((rank, repeat, Patient(number, given or issuer)))
    return tuple(patient for _, _, patient in sorted(found))


def patients_of(message: Message, issuer: str = "") -> tuple[tuple[Patient, ...], ...]:
    """Each different patient that the PID segments name, by all numbers that are given; () for a PID without any."""
    named = [numbers_in(message, segment, 3, issuer) for segment in message.segments if segment[0] == "PID"]
    return tuple(dict.fromkeys(named))


def patient_of(message: Message, issuer: str = "") -> Patient | None:
    """The patient that the message is about; None where it names none, or several."""
    found = {numbers[0] if numbers else None for numbers in patients_of(message, issuer)}
    return found.pop() if len(found) == 1 else None
