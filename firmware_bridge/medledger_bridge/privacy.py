"""Keeps people out of readings: text that repeats what a message says about a person does not pass.

Rules:

- A message names people in known fields: the patient, relatives, guarantors and insured in whole segments or parts of
  them, staff in single fields. Their names, numbers, dates, addresses and telephone numbers are collected first.
- Text on its way to the ledger (a text result, an alarm, a code or unit as sent, a device's name) is refused when a
  collected piece stands in it: whole words of two letters or more, and longer pieces anywhere, whatever their case,
  accents and punctuation. Birth dates are also looked for in the usual other orders, names also run together.
- Narrative (TX, FT) is not screened but never taken at all: a screen cannot know every way to name somebody.
- Refusing too much costs a text, and the raw message still holds it; refusing too little cannot be undone.
"""

from __future__ import annotations

import re
import unicodedata
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

TELEPHONES: Final = frozenset((("PID", 13), ("PID", 14), ("NK1", 5), ("NK1", 6), ("GT1", 6), ("GT1", 7)))
TELEPHONE_CODES: Final = frozenset(("PH", "FX", "CP", "NET", "PRN", "ORN", "WPN", "Internet"))
"""Stand in telephone fields and name nobody."""

SHORTEST_PIECE: Final = 4
"""Shorter ASCII pieces are looked for as whole words only; in other scripts one character may be a name."""

REMEMBERED: Final = 64
"""Screens that are kept: a monitor names the same people in every message."""

REMEMBERED_TEXTS: Final = 1024
"""Verdicts that one screen keeps."""

_WORD: Final = re.compile(r"\w+")
_BIRTH: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})[0-9]*")


class Screen:
    """What one message says about people."""

    __slots__ = ("_certain", "_pieces", "_seen", "_words")

    def __init__(self, message: Message) -> None:
        self._certain = message.certain
        self._words: set[str] = set()
        self._pieces: set[str] = set()
        self._seen: dict[str, bool] = {}
        for segment in message.segments:
            name = segment[0]
            for field, component in PEOPLE.get(name, {}).items():
                for text in message.leaves(segment, field, component):
                    if (name, field) not in TELEPHONES or text not in TELEPHONE_CODES:
                        self._collect(text)
            if name == "PID":
                for repeat in range(1, message.repeats(segment, 5) + 1):
                    family, given = (message.part(segment, 5, part, repeat=repeat) for part in (1, 2))
                    self._pieces.update(
                        filter(None, (_squash(family + given), _squash(given + family)) if family and given else ())
                    )

    @classmethod
    def of(cls, message: Message) -> Screen:
        """The message's screen, made once for the same people."""
        told = tuple(
            (segment[0], field, segment[field])
            for segment in message.segments
            for field in PEOPLE.get(segment[0], ())
            if field < len(segment) and segment[field]
        )
        key = (told, message.certain, message.fields[1:3], message.charset)
        found = _screens.get(key)
        if found is None:
            if len(_screens) >= REMEMBERED:
                _screens.clear()
            found = _screens[key] = cls(message)
        return found

    def _collect(self, text: str) -> None:
        plain = _plain(text)
        self._words.update(word for word in _WORD.findall(plain) if len(word) > 1)
        birth = _BIRTH.fullmatch(text)
        squashed = _squash(text)
        if birth:
            year, month, day = birth.groups()
            self._pieces.update((year + month + day, day + month + year, month + day + year))
        elif len(squashed) >= SHORTEST_PIECE or (squashed and not text.isascii()):
            self._pieces.add(squashed)

    def passes(self, text: str) -> bool:
        """Whether `text` can go on the ledger."""
        found = self._seen.get(text)
        if found is None:
            if len(self._seen) >= REMEMBERED_TEXTS:
                self._seen.clear()
            found = self._seen[text] = self._passes(text)
        return found

    def _passes(self, text: str) -> bool:
        if not self._certain and not text.isascii():
            return False  # in another character set it may be a name that we would not recognise
        if not self._words.isdisjoint(_WORD.findall(_plain(text))):
            return False
        squashed = _squash(text)
        return not any(piece in squashed for piece in self._pieces)


def _plain(text: str) -> str:
    """One form for letters that can be written in several: case, accents, full width."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(character for character in folded if not unicodedata.combining(character))


def _squash(text: str) -> str:
    """Letters and digits only, so that punctuation, blanks and case hide nothing."""
    plain = _plain(text)
    return plain if plain.isalnum() else "".join(filter(str.isalnum, plain))


_screens: dict[tuple[object, ...], Screen] = {}
