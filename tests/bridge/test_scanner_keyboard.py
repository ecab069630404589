"""Key events of a wedge scanner: recorded structs through a real pipe, and what spoils a scan."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger.errors import UsageError
from medledger_bridge.errors import ScanError
from medledger_bridge.scanner.evdev import EVENT, LOST, EventReader, InputDevice, KeyEvent
from medledger_bridge.scanner.keyboard import AltCode, KeyDecoder, KeyReader
from medledger_bridge.scanner.layouts import LAYOUTS
from medledger_bridge.scanner.settings import ScannerSettings, read_scan
from scanner_keys import ENTER, GS, LEFT_ALT, TAB, events, pressed, recorded

SCAN = "]d2010703206980498817280331" + "10A1-b/Z" + GS + "21SER_1"
US = ScannerSettings(layout="us")
A_KEY, CAPS_LOCK, UP, SHIFT = 30, 58, 103, 42


def decode(keys: list[tuple[int, int]], settings: ScannerSettings = US) -> list[str | ScanError]:
    """All that a decoder makes of key events."""
    decoder = KeyDecoder(settings)
    return [each for key in keys if (each := decoder.feed(*key)) is not None]


def refusal(keys: list[tuple[int, int]], settings: ScannerSettings = US) -> str:
    """The one reason for which a scan is refused."""
    (found,) = decode(keys, settings)
    assert isinstance(found, ScanError)
    return str(found)


def test_recorded_events_through_a_pipe_become_the_scan(tmp_path: Path) -> None:
    """Two scans, a German wedge, written in pieces that split events."""
    path = tmp_path / "event5"
    os.mkfifo(path)
    raw = recorded(2 * events(pressed(SCAN, LAYOUTS["de"], "ctrl-]")))

    def write() -> None:
        with path.open("wb", buffering=0) as pipe:
            for start in range(0, len(raw), 1001):
                pipe.write(raw[start : start + 1001])

    writer = threading.Thread(target=write)
    writer.start()
    device = InputDevice(path)
    decoder, reader, found = KeyDecoder(ScannerSettings(layout="de")), EventReader(), []
    while data := device.read():
        found += [each for event in reader.feed(data) if (each := decoder.feed(*event)) is not None]
    writer.join()
    device.close()
    assert found == [SCAN, SCAN]
    assert decoder.finish() is None
    scan = read_scan(found[0], US)
    assert (scan.gtin, scan.lot, scan.expiry, scan.serial) == ("07032069804988", "A1-b/Z", "2028-03-31", "SER_1")


def test_what_is_no_input_device_is_refused(tmp_path: Path) -> None:
    """A character device that cannot be grabbed is not read, and a missing one is named."""
    with pytest.raises(UsageError, match="cannot be taken"):
        InputDevice(Path("/dev/null"))
    with pytest.raises(UsageError, match="cannot be opened"):
        InputDevice(tmp_path / "event9")


@given(st.binary(max_size=400) | st.lists(st.integers(0, 255), max_size=40).map(bytes), st.integers(1, 60))
def test_any_bytes_are_events_or_nothing(data: bytes, size: int) -> None:
    """However they are cut, the same events come out, and the decoder says scan, ScanError or nothing."""
    whole = EventReader().feed(data)
    reader = EventReader()
    assert [e for at in range(0, len(data), size) for e in reader.feed(data[at : at + size])] == whole
    for each in decode([tuple(event) for event in whole]):
        assert isinstance(each, str | ScanError)


@given(st.lists(st.tuples(st.sampled_from([*range(1, 120)]), st.sampled_from([0, 1, 1, 2])), max_size=200))
def test_any_keys_are_scans_or_scan_errors(keys: list[tuple[int, int]]) -> None:
    """Nothing else comes out, in any layout; after any keys and an end, the next scan is read."""
    for layout in LAYOUTS:
        decoder = KeyDecoder(ScannerSettings(layout=layout))
        for key in keys:
            assert isinstance(decoder.feed(*key), str | ScanError | None)
        decoder.lost()
        assert isinstance(decoder.feed(ENTER, 1), ScanError)
        decoder.feed(ENTER, 0)
        again = [decoder.feed(*key) for key in events(pressed(SCAN, LAYOUTS[layout], "ctrl-]"))]
        assert [each for each in again if each is not None] == [SCAN]


def test_events_that_the_kernel_lost_spoil_the_scan_and_no_other() -> None:
    """SYN_DROPPED: what is under way is refused, events up to the next report are void, the next scan is read."""
    first = recorded(events(pressed(SCAN, LAYOUTS["us"], "ctrl-]")))
    middle = 3 * EVENT.size * 40
    dropped = EVENT.pack(0, 0, 0, 3, 0) + EVENT.pack(0, 0, 1, UP, 1) + EVENT.pack(0, 0, 0, 0, 0)
    heard = EventReader().feed(first[:middle] + dropped + first[middle:] + first)
    assert heard.count(LOST) == 1
    assert KeyEvent(UP, 1) not in heard
    decoder = KeyDecoder(US)
    found = []
    for event in heard:
        if event == LOST:
            decoder.lost()
        elif (each := decoder.feed(*event)) is not None:
            found.append(each)
    assert isinstance(found[0], ScanError)
    assert "lost" in str(found[0])
    assert found[1:] == [SCAN]


@pytest.mark.parametrize("end", [ENTER, TAB, 96])
def test_enter_or_tab_ends_a_scan_as_configured(end: int) -> None:
    """The configured key ends it; the other one makes it refused, for the scanner is not set as was thought."""
    suffix, other = ("tab", "enter") if end == TAB else ("enter", "tab")
    keys = events(pressed(SCAN, LAYOUTS["us"], "ctrl-]"), end)
    assert decode(keys, ScannerSettings(layout="us", suffix=suffix)) == [SCAN]
    assert "ended with" in refusal(keys, ScannerSettings(layout="us", suffix=other))
    assert decode([(end, 1), (end, 0)]) == []


def test_a_prefix_is_demanded_and_taken_off() -> None:
    """A scanner may announce itself."""
    settings = ScannerSettings(layout="us", prefix="S:")
    assert decode(events(pressed("S:" + SCAN, LAYOUTS["us"], "ctrl-]")), settings) == [SCAN]
    assert "prefix" in refusal(events(pressed(SCAN, LAYOUTS["us"], "ctrl-]")), settings)


def test_characters_typed_by_number_need_no_layout() -> None:
    """ALT mode: every character is ALT and its number."""
    keys = events(AltCode(ord(character)) for character in SCAN)
    for layout in LAYOUTS:
        assert decode(keys, ScannerSettings(layout=layout)) == [SCAN]
    assert "number 200" in refusal(events([AltCode(200)]))


def test_altgr_is_ctrl_with_alt_too() -> None:
    """As Windows has it, and some scanners: `]` on a German keyboard."""
    scan = events(pressed("]d21", LAYOUTS["de"], "ctrl-]"))
    keys = [each for code, value in scan for each in ([(29, value), (56, value)] if code == 100 else [(code, value)])]
    assert keys != scan
    assert decode(keys, ScannerSettings(layout="de")) == ["]d21"]


def test_repeats_of_a_held_key_are_no_input() -> None:
    """They are the kernel's, when a computer is slow."""
    keys = [each for key in events(pressed(SCAN, LAYOUTS["us"], "f8")) for each in ([key, (key[0], 2)])]
    assert decode(keys, ScannerSettings(layout="us", separator="f8")) == [SCAN]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ([(CAPS_LOCK, 1), (CAPS_LOCK, 0)], "Caps Lock"),
        ([(UP, 1), (UP, 0)], "no character"),
        ([(LEFT_ALT, 1), (A_KEY, 1), (A_KEY, 0), (LEFT_ALT, 0)], "Alt with a key"),
        ([(LEFT_ALT, 1), *5 * [(79, 1), (79, 0)], (LEFT_ALT, 0)], "too long"),
        ([(LEFT_ALT, 1), (79, 1), (79, 0)], "while Alt was held"),
        ([(29, 1), (A_KEY, 1), (A_KEY, 0), (29, 0)], "Ctrl with a key"),
        ([(SHIFT, 1), (100, 1), (A_KEY, 1), (A_KEY, 0), (100, 0), (SHIFT, 0)], "Shift and AltGr"),
        ([(A_KEY, 1), (A_KEY, 1), (A_KEY, 0)], "not released"),
        (1100 * [(A_KEY, 1), (A_KEY, 0)], "at most"),
        ([(66, 1), (66, 0)], "the key F8"),
    ],
)
def test_what_is_no_character_spoils_the_scan_by_name(keys: list[tuple[int, int]], said: str) -> None:
    """Nothing is dropped out of a scan: it is refused as a whole, and the next one is read."""
    mark = pressed("]d2", LAYOUTS["us"], "f8")
    assert said in refusal([*events(mark)[:-2], *keys, *events(())])
    assert decode([*events(mark)[:-2], *keys, *events(()), (LEFT_ALT, 0), *events(mark)])[1:] == ["]d2"]


def test_dead_keys_give_their_character_or_spoil_the_scan() -> None:
    """`^` on a German keyboard: with the blank after it, or before a digit; before a letter it is another letter."""
    de, settings = LAYOUTS["de"], ScannerSettings(layout="de", separator="^")
    keys = pressed("]d210A^21S", de, "^")
    assert decode(events(keys), settings) == [f"]d210A{GS}21S"]
    assert decode(events(key for key in keys if getattr(key, "key", None) != keys[-4].key), settings) == [
        f"]d210A{GS}21S"
    ]
    assert "dead key" in refusal(events([*pressed("]d2", de, "^"), keys[-5], *pressed("a", de, "^")]), settings)
    assert "dead key" in refusal(events([*pressed("]d2", de, "^"), keys[-5]]), settings)


def test_a_scanner_that_goes_away_in_the_middle_is_told() -> None:
    """Half a scan is not the beginning of the next one."""
    reader = KeyReader()
    for key in events(pressed(SCAN, LAYOUTS["us"], "ctrl-]"))[:20]:
        assert reader.feed(*key) is None
    assert isinstance(reader.finish(), ScanError)
    assert reader.finish() is None


def test_a_layout_that_is_not_known_is_refused_by_name() -> None:
    """And the known ones are listed."""
    with pytest.raises(ScanError, match="dvorak") as caught:
        KeyDecoder(ScannerSettings(layout="dvorak"))
    assert "us, gb, de, fr" in str(caught.value.hint)
