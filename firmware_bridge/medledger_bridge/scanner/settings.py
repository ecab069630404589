"""How a scanner is set, and what that makes of the text that arrived: a GS1 scan with 0x1D for FNC1, or a ScanError.

Rules, checked for each scan:

 (1) nothing but printable ASCII and the separator: `ß` or an escape sequence says that layouts do not agree
 (2) the prefix is there, and is taken off
 (3) the symbology mark is there (`]d2`), where the scanner is set to send it. `]` has another key in each of our
     layouts but US and UK English, and Caps Lock turns `d` into `D`: so it tests layout and Caps Lock with each scan
 (4) FNC1 came in the one form that is configured; in another form it is refused, not passed on

What no single scan can show: without a mark, Y and Z swapped in a serial number (a lot and a serial have no check
digit); and a scanner that drops FNC1 although it is said to send it. For these there is the self-test (`selftest`), and
an agent can ask for a record that it was passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

from ..errors import ScanError
from ..gs1 import FNC1, Scan, parse_scan

GS: Final = "gs"
F8: Final = "f8"
REPLACEMENTS: Final = "~^|{}\\$`"
"""Characters that may stand for FNC1: none is in a GS1 element, nor becomes one in a wrong layout where `]` stays.

`@` and `#` are not among them: `@` is where UK English has `"`, which may stand in a lot, and some elements have `#`.
"""
SEPARATORS: Final = (GS, F8, *REPLACEMENTS)
F8_SEQUENCE: Final = "\x1b[19~"
"""F8 as a terminal writes it. A decoder of keys does the same."""

ENTER: Final = "enter"
TAB: Final = "tab"
FRAMED: Final = "etx"
SUFFIXES: Final = {ENTER: "Enter", TAB: "Tab", FRAMED: "ETX, after STX at its begin"}

RETEST: Final = "Run the self-test: medledger agent scanner-test."


@dataclass(frozen=True, slots=True)
class ScannerSettings:
    """How a scanner is set. `medledger agent scanner-test` finds out."""

    separator: str = GS  # what stands for FNC1: "gs", "f8", or one of REPLACEMENTS
    mark: bool = True  # whether the symbology mark comes first
    prefix: str = ""  # text that the scanner puts before each scan
    suffix: str = ENTER  # what ends a scan, one of SUFFIXES
    layout: str | None = None  # of a wedge whose keys are read; None where characters arrive
    sends_separators: bool = False  # whether the scanner was seen to send FNC1


def canonical(text: str, settings: ScannerSettings) -> str:
    """The scan as GS1 has it, from what arrived without its suffix. Raises ScanError."""
    other = next((c for c in text.replace(F8_SEQUENCE, "") if c != FNC1 and not " " <= c <= "~"), None)
    if other is not None:  # (1)
        raise ScanError(
            f"the scan has the character U+{ord(other):04X}, which no GS1 code has: the keyboard layouts of the "
            "scanner and of this box do not agree",
            hint=RETEST,
        )
    if not text.startswith(settings.prefix):  # (2)
        raise ScanError(f"the scan does not begin with the prefix {settings.prefix!r}", hint=RETEST)
    text = text[len(settings.prefix) :]
    if settings.mark and not text.startswith("]"):  # (3)
        raise ScanError(
            "the scan does not begin with the symbology mark (]d2): the scanner does not send it, or through another "
            "keyboard layout",
            hint=RETEST,
        )
    wanted = {GS: FNC1, F8: F8_SEQUENCE}.get(settings.separator, settings.separator)
    for form, name in ((FNC1, "the character GS"), (F8_SEQUENCE, "the key F8")):
        if form in text and form != wanted:  # (4)
            raise ScanError(f"the scanner sends {name} for FNC1, and another form is configured", hint=RETEST)
    return text.replace(wanted, FNC1)


def read_scan(text: str, settings: ScannerSettings, *, today: date | None = None) -> Scan:
    """The pack that a scan names, from what arrived without its suffix. Raises ScanError."""
    return parse_scan(canonical(text, settings), today=today, sends_separators=settings.sends_separators)
