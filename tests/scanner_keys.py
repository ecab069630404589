"""What a wedge scanner does to the keyboard: texts as key events, and a computer that reads them in another layout."""

from __future__ import annotations

from collections.abc import Iterable

from medledger_bridge.scanner.evdev import EVENT
from medledger_bridge.scanner.keyboard import AltCode, Press, Stroke
from medledger_bridge.scanner.layouts import ALTGR, PLAIN, SHIFT, SPACE_KEY, Key, Layout
from medledger_bridge.scanner.selftest import keys_of

GS = "\x1d"
ENTER, TAB, SHIFT_KEY, CONTROL, LEFT_ALT, ALTGR_KEY, F8, BRACKET = 28, 15, 42, 29, 56, 100, 66, 27
KEYPAD = {"0": 82, "1": 79, "2": 80, "3": 81, "4": 75, "5": 76, "6": 77, "7": 71, "8": 72, "9": 73}
LEVEL_KEYS = {PLAIN: [], SHIFT: [SHIFT_KEY], ALTGR: [ALTGR_KEY]}

WAYS = ("ctrl-]", "alt-029", "f8", "dropped", *"~^|{}\\$`")
"""What scanners do with FNC1 over a wedge."""
CONFIGURED = {"ctrl-]": "gs", "alt-029": "gs", "f8": "f8"}
"""What is configured for each; a replacement is configured as itself."""

LEFT_OF_Z = {("us", PLAIN): "<", ("us", SHIFT): ">"}
"""A key that US keyboards have not, and that Linux knows all the same (key 86)."""

Event = tuple[int, int]


def separator(way: str, layout: Layout) -> tuple[Press, ...]:
    """What is pressed for FNC1."""
    fixed: dict[str, tuple[Press, ...]] = {
        "ctrl-]": (Stroke(Key(BRACKET, PLAIN), control=True),),
        "alt-029": (AltCode(29),),
        "f8": (Stroke(Key(F8, PLAIN)),),
        "dropped": (),
    }
    return fixed[way] if way in fixed else keys_of(way, layout)


def pressed(text: str, layout: Layout, way: str) -> tuple[Press, ...]:
    """What a scanner presses for a scan with GS for FNC1."""
    presses: list[Press] = []
    for index, field in enumerate(text.split(GS)):
        presses += [*(separator(way, layout) if index else ()), *keys_of(field, layout)]
    return tuple(presses)


def events(presses: Iterable[Press], end: int = ENTER) -> list[Event]:
    """The (code, value) events of presses, and of the key that ends the scan."""
    found: list[Event] = []
    for press in presses:
        if isinstance(press, AltCode):
            held, keys = [LEFT_ALT], [KEYPAD[digit] for digit in f"{press.number:03}"]
        else:
            held = [*([CONTROL] if press.control else []), *LEVEL_KEYS[press.key.level]]
            keys = [press.key.code]
        found += [(key, 1) for key in held]
        for key in keys:
            found += [(key, 1), (key, 0)]
        found += [(key, 0) for key in reversed(held)]
    return [*found, (end, 1), (end, 0)]


def recorded(keys: Iterable[Event]) -> bytes:
    """The bytes that a Linux input device gives for key events: scan code, key and report, each a struct."""
    raw = bytearray()
    for number, (code, value) in enumerate(keys):
        for type_, of, what in ((4, 4, 0x70000 + code), (1, code, value), (0, 0, 0)):
            raw += EVENT.pack(1_790_000_000, number % 1_000_000, type_, of, what)
    return bytes(raw)


def typed(presses: Iterable[Press], host: Layout) -> str:
    """What a computer makes of presses: characters; a terminal's sequence for F8 and for Alt with a key."""
    text, dead = "", ""
    for press in presses:
        if isinstance(press, AltCode):
            text += chr(press.number)
        elif press.control:
            text += GS
        elif press.key.code == F8:
            text += "\x1b[19~"
        else:
            found = host.characters.get(press.key) or LEFT_OF_Z.get((host.name, press.key.level), "")
            if not found and press.key.level == ALTGR:  # Alt there: a terminal says so with ESC
                found = "\x1b" + host.characters.get(Key(press.key.code, PLAIN), "")
            if dead:
                found = "â" if found.isalpha() else dead if press.key.code == SPACE_KEY else dead + found
                dead = ""
            elif press.key in host.dead:
                found, dead = "", found
            text += found
    return text
