"""Keyboard layouts: which character a key gives, and which key gives a character.

Rules:

- A key is its Linux key code (input-event-codes.h), a place on the keyboard; its level is 0 plain, 1 with Shift, 2 with
  AltGr. A layout is a table from (key, level) to one character; what is not in it types nothing.
- Where Windows and Linux differ (AltGr and dead keys of French), the table has what Windows does, for that is what
  scanners are made to play.
- A dead key types nothing by itself: a blank after it gives its character, a letter would change into another one.
- Only what scanners send is here, the printable characters of ASCII. The rest of a layout (`ü`, `§`) stands in the
  tables to be refused by name, never to be dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PLAIN, SHIFT, ALTGR = 0, 1, 2
SPACE_KEY: Final = 57

_DIGIT_ROW: Final = (41, *range(2, 14))  # from the key left of 1
_UPPER_ROW: Final = tuple(range(16, 28))  # from Q
_HOME_ROW: Final = (*range(30, 41), 43)  # from A; the last is beside Enter
_LOWER_ROW: Final = (86, *range(44, 54))  # from the key left of Z
_ROWS: Final = (_DIGIT_ROW, _UPPER_ROW, _HOME_ROW, _LOWER_ROW)

NOTHING: Final = "\0"  # no character on this key and level


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the keyboard at a level."""

    code: int
    level: int


@dataclass(frozen=True, slots=True)
class Layout:
    """One layout: `characters` by key, and which of these keys are dead."""

    name: str
    title: str
    characters: Mapping[Key, str]
    dead: frozenset[Key]

    def keys_for(self, character: str) -> tuple[Key, ...]:
        """What is pressed for a character, empty where the layout has none; after a dead key comes a blank."""
        for key, found in self.characters.items():
            if found == character:
                return (key, Key(SPACE_KEY, PLAIN)) if key in self.dead else (key,)
        return ()


def _layout(
    name: str,
    title: str,
    plain: tuple[str, ...],
    shift: tuple[str, ...],
    altgr: Mapping[int, str],
    dead: tuple[tuple[int, int], ...] = (),
) -> Layout:
    """From four rows of characters a level, and the dead keys as (code, level)."""
    characters: dict[Key, str] = {}
    for level, rows in ((PLAIN, plain), (SHIFT, shift)):
        for codes, row in zip(_ROWS, rows, strict=True):
            for code, character in zip(codes, row, strict=True):
                characters[Key(code, level)] = character
    characters |= {Key(code, ALTGR): character for code, character in altgr.items()}
    characters |= {Key(SPACE_KEY, level): " " for level in (PLAIN, SHIFT)}
    known = {key: character for key, character in characters.items() if character != NOTHING}
    return Layout(name, title, known, frozenset(Key(*each) for each in dead))


US: Final = _layout(
    "us",
    "US English",
    ("`1234567890-=", "qwertyuiop[]", "asdfghjkl;'\\", f"{NOTHING}zxcvbnm,./"),
    ("~!@#$%^&*()_+", "QWERTYUIOP{}", 'ASDFGHJKL:"|', f"{NOTHING}ZXCVBNM<>?"),
    {},
)
GB: Final = _layout(
    "gb",
    "UK English",
    ("`1234567890-=", "qwertyuiop[]", "asdfghjkl;'#", "\\zxcvbnm,./"),
    ('¬!"£$%^&*()_+', "QWERTYUIOP{}", "ASDFGHJKL:@~", "|ZXCVBNM<>?"),
    {41: "¦", 5: "€"},
)
DE: Final = _layout(
    "de",
    "German",
    ("^1234567890ß´", "qwertzuiopü+", "asdfghjklöä#", "<yxcvbnm,.-"),
    ('°!"§$%&/()=?`', "QWERTZUIOPÜ*", "ASDFGHJKLÖÄ'", ">YXCVBNM;:_"),
    {3: "²", 4: "³", 8: "{", 9: "[", 10: "]", 11: "}", 12: "\\", 16: "@", 18: "€", 27: "~", 50: "µ", 86: "|"},
    dead=((41, PLAIN), (13, PLAIN), (13, SHIFT)),
)
FR: Final = _layout(
    "fr",
    "French",
    ("²&é\"'(-è_çà)=", "azertyuiop^$", "qsdfghjklmù*", "<wxcvbn,;:!"),
    (f"{NOTHING}1234567890°+", "AZERTYUIOP¨£", "QSDFGHJKLM%µ", ">WXCVBN?./§"),
    {3: "~", 4: "#", 5: "{", 6: "[", 7: "|", 8: "`", 9: "\\", 10: "^", 11: "@", 12: "]", 13: "}", 18: "€", 27: "¤"},
    dead=((26, PLAIN), (26, SHIFT), (3, ALTGR), (8, ALTGR)),
)

LAYOUTS: Final[Mapping[str, Layout]] = {layout.name: layout for layout in (US, GB, DE, FR)}
