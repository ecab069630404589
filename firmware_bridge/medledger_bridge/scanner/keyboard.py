"""Key events of a wedge scanner to scans. Bytes of events come from `evdev`; here is no I/O and no clock.

Rules:

- A press counts, its release matters for modifiers only, and repeats that a kernel makes of a held key are no input.
- Enter or Tab ends a scan; how fast keys follow one another says nothing. What was typed before a scan spoils it.
- AltGr is the right Alt key, or Ctrl with the left Alt key, as Windows has it. Keypad digits while the left Alt key is
  held are the number of one character (ALT mode), given when Alt is released: any printable one, or 29, which is GS.
- GS is also Ctrl with the key of `]`, on the US keyboard or in the layout. F8 becomes what a terminal makes of it.
- Whatever is not a character (an arrow, Alt with a letter, Caps Lock) and whatever was lost makes the scan a ScanError.
  A scan is a whole or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..errors import ScanError
from ..gs1 import FNC1, MAX_SCAN_CHARS
from .layouts import ALTGR, LAYOUTS, PLAIN, SHIFT, SPACE_KEY, Key, Layout
from .settings import ENTER, F8_SEQUENCE, RETEST, SUFFIXES, TAB, ScannerSettings, canonical

RELEASED, PRESSED = 0, 1  # values of a key event; 2 is a repeat

_ENDS: Final = {28: ENTER, 96: ENTER, 15: TAB}
_SHIFTS: Final = frozenset((42, 54))
_CONTROLS: Final = frozenset((29, 97))
_LEFT_ALT: Final = 56
_RIGHT_ALT: Final = 100
_CAPS_LOCK: Final = 58
_NUM_LOCK: Final = 69  # some scanners press it around numbers; keypad keys are read as digits either way
_MODIFIERS: Final = _SHIFTS | _CONTROLS | {_LEFT_ALT, _RIGHT_ALT, _NUM_LOCK}
_KEYPAD: Final = {82: "0", 79: "1", 80: "2", 81: "3", 75: "4", 76: "5", 77: "6", 71: "7", 72: "8", 73: "9"}
_F8_KEY: Final = 66
_US_BRACKET: Final = 27
_MAX_ALT_DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class Stroke:
    """One key pressed, with the level that modifiers gave it, and with Ctrl or without."""

    key: Key
    control: bool = False


@dataclass(frozen=True, slots=True)
class AltCode:
    """The number of a character, typed on the keypad with Alt held."""

    number: int


Press = Stroke | AltCode


@dataclass(frozen=True, slots=True)
class KeyedScan:
    """What was pressed up to the key that ended the scan: in no layout yet."""

    presses: tuple[Press, ...]
    suffix: str


class KeyReader:
    """Key events to what was pressed for each scan."""

    def __init__(self) -> None:
        self._held: set[int] = set()
        self._presses: list[Press] = []
        self._alt_digits = ""
        self._spoilt: str | None = None

    def feed(self, code: int, value: int) -> KeyedScan | ScanError | None:
        """What one key event brings to an end, mostly nothing."""
        if value == RELEASED:
            self._held.discard(code)
            if code == _LEFT_ALT and self._alt_digits:
                self._add(AltCode(int(self._alt_digits)))
                self._alt_digits = ""
        elif value == PRESSED:
            if code in self._held:
                self._spoil("a key was pressed twice and not released: events were lost")
            self._held.add(code)
            if code in _ENDS:
                return self._end(_ENDS[code])
            if code not in _MODIFIERS:
                self._pressed(code)
        return None

    def lost(self) -> None:
        """Say that events were lost: what is under way cannot be whole, and no key is known to be held."""
        self._held.clear()
        self._alt_digits = ""
        self._spoil("events were lost on the way from the scanner")

    def finish(self) -> ScanError | None:
        """What is to be said when the scanner is gone: an error if it was in the middle of a scan."""
        under_way = self._presses or self._spoilt or self._alt_digits
        self.__init__()  # type: ignore[misc]  # as if new
        return ScanError("the scanner went away in the middle of a scan", hint="Scan again.") if under_way else None

    def _pressed(self, code: int) -> None:
        control = bool(self._held & _CONTROLS)
        left_alt = _LEFT_ALT in self._held
        if left_alt and not control and code in _KEYPAD:
            if len(self._alt_digits) == _MAX_ALT_DIGITS:
                self._spoil("a number typed with Alt is too long")
            else:
                self._alt_digits += _KEYPAD[code]
            return
        if left_alt and not control:
            self._spoil("the scanner pressed Alt with a key that is no number")
        if code == _CAPS_LOCK:
            self._spoil("the scanner pressed Caps Lock")
        shift = bool(self._held & _SHIFTS)
        altgr = _RIGHT_ALT in self._held or (control and left_alt)
        if shift and altgr:
            self._spoil("the scanner pressed Shift and AltGr together, which gives no character of a GS1 code")
        level = ALTGR if altgr else SHIFT if shift else PLAIN
        self._add(Stroke(Key(code, level), control and not left_alt))

    def _add(self, press: Press) -> None:
        if len(self._presses) >= 2 * MAX_SCAN_CHARS:  # dead keys take two
            self._spoil(f"a scan has at most {MAX_SCAN_CHARS} characters")
        else:
            self._presses.append(press)

    def _spoil(self, reason: str) -> None:
        self._spoilt = self._spoilt or reason

    def _end(self, suffix: str) -> KeyedScan | ScanError | None:
        found, spoilt = KeyedScan(tuple(self._presses), suffix), self._spoilt
        if self._alt_digits:
            spoilt = spoilt or "the scan ended while Alt was held"
        self._presses, self._spoilt, self._alt_digits = [], None, ""
        if spoilt:
            return ScanError(spoilt, hint=f"Scan again. {RETEST}")
        return found if found.presses else None


class KeyDecoder:
    """Key events to scans, under one layout and settings."""

    def __init__(self, settings: ScannerSettings) -> None:
        self._settings = settings
        self._layout = layout_named(settings.layout)
        self._reader = KeyReader()
        self.lost = self._reader.lost
        self.finish = self._reader.finish

    def feed(self, code: int, value: int) -> str | ScanError | None:
        """The scan that one key event brings to an end, as GS1 has it, or why there is none."""
        found = self._reader.feed(code, value)
        if not isinstance(found, KeyedScan):
            return found
        try:
            if found.suffix != self._settings.suffix:
                raise ScanError(
                    f"the scan ended with {SUFFIXES[found.suffix]}, and another end is configured",
                    hint=RETEST,
                )
            return canonical(text_of(found.presses, self._layout), self._settings)
        except ScanError as error:
            return error


def layout_named(name: str | None) -> Layout:
    """A layout by its name. Raises ScanError."""
    found = LAYOUTS.get(name or "")
    if found is None:
        raise ScanError(f"there is no keyboard layout {name!r}", hint=f"Known are {', '.join(LAYOUTS)}. {RETEST}")
    return found


def text_of(presses: tuple[Press, ...], layout: Layout) -> str:
    """The characters of what was pressed. Raises ScanError for what is no character in this layout."""
    text: list[str] = []
    dead: str | None = None
    for press in presses:
        character = _character(press, layout)
        if dead is not None:
            text.append(dead)
            if character.isalpha():
                raise ScanError(f"the dead key {dead} changed the letter after it", hint=RETEST)
            dead = None
            if press == Stroke(Key(SPACE_KEY, PLAIN)):
                continue
        if isinstance(press, Stroke) and press.key in layout.dead and not press.control:
            dead = character
        else:
            text.append(character)
    if dead is not None:
        raise ScanError(f"the scan ends in the dead key {dead}", hint=RETEST)
    return "".join(text)


def _character(press: Press, layout: Layout) -> str:
    if isinstance(press, AltCode):
        if press.number == ord(FNC1) or ord(" ") <= press.number <= ord("~"):
            return chr(press.number)
        raise ScanError(f"the scanner typed the character number {press.number}, which no GS1 code has")
    found = layout.characters.get(press.key)
    if press.control:
        if press.key == Key(_US_BRACKET, PLAIN) or found == "]":
            return FNC1
        raise ScanError("the scanner pressed Ctrl with a key other than ]", hint=RETEST)
    if press.key == Key(_F8_KEY, PLAIN):
        return F8_SEQUENCE
    if found is None:
        raise ScanError(
            f"the key {press.key.code} gives no character in the layout {layout.name} "
            f"({('alone', 'with Shift', 'with AltGr')[press.key.level]})",
            hint=RETEST,
        )
    return found
