"""What arrived of the test symbol tells how a scanner is set, and what must be changed. No I/O.

Rules:

- The symbol holds every character of GS1 codes. A layout is found if it is the only one in which all of them come out
  as they stand in the symbol; nothing near that is taken. So after a passed test no character becomes another one, and
  FNC1 arrives in a known form.
- A wedge must send the symbology mark `]d2`: it is what shows a changed layout or Caps Lock later, with each scan. A
  serial scanner knows no layouts and may do without.
- FNC1 must arrive: as GS, as F8, or as a character that no GS1 element can hold. A scanner that drops it, or sends what
  may stand in a lot, does not pass.
- Where characters arrive instead of keys (a terminal, a till's software), what goes wrong is two layouts that differ,
  the scanner's and the computer's. The pairs of known layouts that explain it are named; none of them passes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal

from ..errors import ScanError
from ..gs1 import FNC1
from .keyboard import AltCode, KeyedScan, Stroke, text_of
from .layouts import LAYOUTS, SPACE_KEY, Layout
from .settings import ENTER, F8, F8_SEQUENCE, GS, REPLACEMENTS, SUFFIXES, ScannerSettings
from .symbol import AFTER, BEFORE, MARK

Way = Literal["keys", "text", "serial"]
MAX_PREFIX_CHARS: Final = 16
_MARK: Final = re.compile(r"\][A-Za-z][0-9A-Za-z]\Z")

SEND_GS: Final = (
    "Set the scanner to send FNC1 as GS: on a keyboard wedge as Ctrl+] or ALT+029, on a serial line as the byte 1D. "
    f"Where it cannot, let it send F8, or one of {' '.join(REPLACEMENTS)}"
)
SEND_MARK: Final = "Set the scanner to send the AIM code identifier (symbology identifier) before each scan."


@dataclass(frozen=True, slots=True)
class Findings:
    """How the scanner is set, as far as the scan showed. `actions` is empty if, and only if, the test is passed."""

    way: Way
    layout: str | None = None  # of keys
    separator: str | None = None  # what stands for FNC1
    mark: str | None = None  # as it was sent
    prefix: str = ""
    suffix: str = ENTER
    sentences: tuple[str, ...] = ()  # what was seen
    actions: tuple[str, ...] = field(default=("Scan the test symbol.",))  # what is to be done

    @property
    def passed(self) -> bool:
        """Whether scans may be taken from this scanner as it is set now."""
        return not self.actions

    def settings(self) -> ScannerSettings:
        """The configuration that goes with a passed test. Raises ScanError after one that was not."""
        if self.actions or self.separator is None:
            raise ScanError("the scanner did not pass the self-test", hint=" ".join(self.actions))
        return ScannerSettings(
            separator=self.separator,
            mark=self.mark is not None,
            prefix=self.prefix,
            suffix=self.suffix,
            layout=self.layout,
            sends_separators=True,
        )


@dataclass(frozen=True, slots=True)
class _Parts:
    """What stands around the known characters in a scan of the symbol."""

    prefix: str
    mark: str | None
    separator: str


def judge_keys(scan: KeyedScan) -> Findings:
    """The findings of a wedge whose keys were read."""
    found: dict[str, _Parts] = {}
    for layout in LAYOUTS.values():
        try:
            parts = _parts(text_of(scan.presses, layout))
        except ScanError:
            continue
        if parts is not None:
            found[layout.name] = parts
    numbers = all(isinstance(press, AltCode) or press.control for press in scan.presses)
    if numbers and found:
        name, parts = next(iter(found.items()))
        return _judge("keys", parts, scan.suffix, "It types numbers of characters with Alt: no layout matters.", name)
    if len(found) == 1:
        [(name, parts)] = found.items()
        return _judge("keys", parts, scan.suffix, f"It plays a {LAYOUTS[name].title} keyboard ({name}).", name)
    titles = ", ".join(layout.title for layout in LAYOUTS.values())
    if found:
        return failed("keys", "More than one keyboard layout fits what was pressed.", _choose(titles))
    for layout in LAYOUTS.values():
        try:
            if _parts(text_of(scan.presses, layout).swapcase()) is not None:
                return failed("keys", "Capital and small letters arrived exchanged.", CAPS_LOCK)
        except ScanError:
            continue
    return failed("keys", "What was pressed is not the test symbol in any known keyboard layout.", _choose(titles))


def judge_text(text: str, *, suffix: str = ENTER, way: Way = "text") -> Findings:
    """The findings where characters arrive, from a wedge (`text`) or a serial scanner (`serial`)."""
    parts = _parts(text)
    if parts is not None:
        return _judge(way, parts, suffix, "All characters arrived as they stand in the symbol.", None)
    if way == "serial":
        return failed(way, "What arrived is not the test symbol.", "Scan again; let the scanner change no characters.")
    if _parts(text.swapcase()) is not None:
        return failed(way, "Capital and small letters arrived exchanged.", CAPS_LOCK)
    pairs = [
        f"a scanner set to {scanner.title} and a computer set to {host.title}"
        for scanner in LAYOUTS.values()
        for host in LAYOUTS.values()
        if scanner is not host and re.search(_mistyped(scanner, host), text, re.DOTALL)
    ]
    if pairs:
        return failed(
            way,
            f"What arrived is what {' or '.join(pairs)} make of the symbol.",
            "Set the scanner's keyboard layout (country) to that of the computer.",
        )
    return failed(
        way,
        "What arrived is not the test symbol, and no pair of known keyboard layouts explains it.",
        "Make sure that the test symbol was scanned, once, whole. " + _choose("that of the computer"),
    )


CAPS_LOCK: Final = "Switch Caps Lock off, on the keyboard and in the scanner's settings."


def failed(way: Way, sentence: str, *actions: str) -> Findings:
    """A test that was not passed before anything was known of the scanner."""
    return Findings(way, sentences=(sentence,), actions=actions)


def _choose(titles: str) -> str:
    return f"Set the scanner's keyboard layout (country) to {titles}, and let it change no characters."


def _parts(text: str) -> _Parts | None:
    """What stands around the known characters, None where they are not all there once."""
    head, known, tail = text.partition(BEFORE)
    if not known or not tail.endswith(AFTER):
        return None
    separator = tail.removesuffix(AFTER)
    if separator and head.endswith(separator):  # FNC1 in the first position, which need not be sent
        head = head.removesuffix(separator)
    match = _MARK.search(head)
    return _Parts(head[: match.start()] if match else head, match[0] if match else None, separator)


def _judge(way: Way, parts: _Parts, suffix: str, first: str, layout: str | None) -> Findings:
    sentences = [first, f"It ends a scan with {SUFFIXES[suffix]}."]
    actions = []
    separator = {FNC1: GS, F8_SEQUENCE: F8}.get(parts.separator, parts.separator)
    if separator in (GS, F8) or (len(separator) == 1 and separator in REPLACEMENTS):
        sentences.append(f"It sends FNC1 as {({GS: 'the character GS', F8: 'the key F8'}).get(separator, separator)}.")
    elif separator:
        sentences.append(f"It sends FNC1 as {separator[:8]!r}, which could be part of a lot or serial.")
        actions.append(SEND_GS)
    else:
        sentences.append("It sends nothing for FNC1: where a lot or serial ends could only be guessed.")
        actions.append(SEND_GS)
    if parts.mark == MARK:
        sentences.append("It sends the symbology mark ]d2.")
    elif parts.mark is not None:
        sentences.append(f"It sends the symbology mark {parts.mark}, and the symbol is a GS1 DataMatrix, ]d2.")
        actions.append("Switch GS1 DataMatrix on in the scanner's settings.")
    else:
        sentences.append("It sends no symbology mark.")
        if way != "serial":
            actions.append(SEND_MARK)
    if parts.prefix:
        sentences.append(f"It puts {parts.prefix[:MAX_PREFIX_CHARS]!r} before each scan.")
        if len(parts.prefix) > MAX_PREFIX_CHARS or not all(" " <= c <= "~" for c in parts.prefix):
            actions.append("Take the prefix out of the scanner's settings, or scan again: something else was typed.")
    return Findings(way, layout, separator or None, parts.mark, parts.prefix, suffix, tuple(sentences), tuple(actions))


def _mistyped(scanner: Layout, host: Layout) -> str:
    """A pattern of what the symbol's known characters become; what a computer makes of dead keys may be anything."""
    pattern, after_dead = "", False
    for character in BEFORE:
        for key in scanner.keys_for(character):
            found = host.characters.get(key)
            dead = key in host.dead
            if dead or found is None:
                pattern += ".{0,2}?"
            elif key.code != SPACE_KEY:
                pattern += f"(?:{re.escape(found)})?" if after_dead else re.escape(found)
            after_dead = dead
    return pattern


def keys_of(text: str, layout: Layout) -> tuple[Stroke, ...]:
    """What a scanner in this layout presses for a text. Raises ScanError for a character that the layout has not."""
    strokes: list[Stroke] = []
    for character in text:
        keys = layout.keys_for(character)
        if not keys:
            raise ScanError(f"the layout {layout.name} has no key for {character!r}")
        strokes += [Stroke(key) for key in keys]
    return tuple(strokes)
