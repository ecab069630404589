"""Keeps people out of readings: text that repeats what a message says about a person does not pass.

Rules:

- A message names people in known fields: the patient, relatives, guarantors and insured in whole segments or parts of
  them, staff in single fields. Their names, numbers, dates, addresses and telephone numbers are collected first.
- Text on its way to the ledger (a text result, an alarm, a code or unit as sent, a device's name) is refused when a
  collected piece stands in it: whole words of two letters or more, and longer pieces anywhere, whatever their case and
  punctuation. Birth dates are also looked for in the usual other orders.
- Narrative (TX, FT) is not screened but never taken at all: a screen cannot know every way to name somebody.
- Refusing too much costs a text, and the raw message still holds it; refusing too little cannot be undone.
"""

from __future__ import annotations

import re
from typing import Final

from .message import Message

WHOLE: Final = None  # every component
PEOPLE: Final[dict[str, dict[int, int | None]]] = {
    # segment: field -> the component that identifies (an assigning authority beside a number does not), or all of them
    "PID": {
        **dict.fromkeys((2, 3, 4, 18, 20, 21), 1),
        **dict.fromkeys((5, 6, 7, 9, 11, 12, 13, 14, 19, 23, 29), WHOLE),
    },
    "PD1": dict.fromkeys((3, 4), WHOLE),
    "NK1": dict.fromkeys((2, 4, 5, 6, 12, 16, 26, 30, 31, 32, 33, 37), WHOLE),
    "MRG": {**dict.fromkeys((1, 2, 3, 4, 5, 6), 1), 7: WHOLE},
    "GT1": dict.fromkeys((2, 3, 4, 5, 6, 7, 8, 12, 16, 17, 18, 19, 21), WHOLE),
    "IN1": dict.fromkeys((2, 16, 18, 19, 36, 44, 49), WHOLE),
    "IN2": dict.fromkeys((1, 2, 3, 6, 7, 8, 9, 10, 52, 61, 63), WHOLE),
    "PV1": {**dict.fromkeys((5, 19, 50), 1), **dict.fromkeys((7, 8, 9, 17, 52), WHOLE)},
    "ORC": dict.fromkeys((10, 11, 12, 19), WHOLE),
    "OBR": dict.fromkeys((10, 16, 17, 28, 32, 33, 34, 35), WHOLE),
    "OBX": {16: WHOLE},
    "AIP": {3: WHOLE},
    "PRT": dict.fromkeys((5, 14, 15), WHOLE),
}

_WORD: Final = re.compile(r"\w+")
_TYPE_CODES: Final = frozenset(("ph", "fx", "cp", "net", "prn", "orn", "wpn", "internet"))  # of telephone numbers
_SHORTEST_PIECE: Final = 4  # shorter ones are looked for as whole words only
_BIRTH: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})[0-9]*")


class Screen:
    """What one message says about people."""

    __slots__ = ("_certain", "_pieces", "_words")

    def __init__(self, message: Message) -> None:
        self._certain = message.certain
        self._words: set[str] = set()
        self._pieces: set[str] = set()
        for segment in message.segments:
            for field, component in PEOPLE.get(message.part(segment, 0), {}).items():
                for text in message.leaves(segment, field, component):
                    self._collect(text)

    def _collect(self, text: str) -> None:
        words = _WORD.findall(text.casefold())
        self._words.update(word for word in words if len(word) > 1 and word not in _TYPE_CODES)
        birth = _BIRTH.fullmatch(text)
        squashed = _squash(text)
        if birth:
            year, month, day = birth.groups()
            self._pieces.update((year + month + day, day + month + year, month + day + year))
        elif len(squashed) >= _SHORTEST_PIECE:
            self._pieces.add(squashed)

    def passes(self, text: str) -> bool:
        """Whether `text` can go on the ledger."""
        if not self._certain and not text.isascii():
            return False  # in another character set it may be a name that we would not recognise
        if not self._words.isdisjoint(_WORD.findall(text.casefold())):
            return False
        squashed = _squash(text)
        return not any(piece in squashed for piece in self._pieces)


def _squash(text: str) -> str:
    """Letters and digits only, so that punctuation and case hide nothing."""
    return "".join(character for character in text.casefold() if character.isalnum())
