"""HL7 v2 from monitors, in one place for those who use it: parse, readings, is_alarm, acknowledge.

    message = parse(raw)                      # Hl7Error when it is not usable
    for reading in readings(message): ...     # commit them
    reply = acknowledge(message, "AA")        # after the commit, and not before

What each of them does, and by which rules, stands in message.py (parsing, times, acknowledgements), observations.py
(mapping), privacy.py (what never reaches the ledger) and mdc.py (codes and units).
"""

from __future__ import annotations

from .errors import Hl7Error
from .message import Message, Segment, acknowledge, parse
from .observations import is_alarm, readings

__all__ = ["Hl7Error", "Message", "Segment", "acknowledge", "is_alarm", "parse", "readings"]
