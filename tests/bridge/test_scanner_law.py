"""The law of wedges: through whatever layouts and settings, a scan is the right one or a ScanError; and its limits."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger_bridge.errors import ScanError
from medledger_bridge.gs1 import parse_elements
from medledger_bridge.scanner.keyboard import KeyDecoder, KeyedScan
from medledger_bridge.scanner.layouts import LAYOUTS, Layout
from medledger_bridge.scanner.selftest import judge_keys, judge_text
from medledger_bridge.scanner.settings import SEPARATORS, ScannerSettings, canonical
from medledger_bridge.scanner.symbol import MARK, TEXT
from scanner_keys import CONFIGURED, GS, WAYS, events, pressed, typed

GTIN = "07032069804988"
SENT = [way for way in WAYS if way != "dropped"]
LIMIT = {("gb", "us", "|"), ("gb", "us", "\\")}
layouts = st.sampled_from(list(LAYOUTS.values()))
separators = st.sampled_from(SEPARATORS)


def heard(keys: list[tuple[int, int]], settings: ScannerSettings) -> dict[str, str] | None:
    """The elements that a box makes of key events, None for a ScanError."""
    decoder = KeyDecoder(settings)
    found = [each for key in keys if (each := decoder.feed(*key)) is not None]
    assert len(found) == 1, "one suffix, one result"
    if isinstance(found[0], ScanError):
        return None
    return elements(found[0], settings)


def elements(text: str, settings: ScannerSettings) -> dict[str, str] | None:
    """The elements of a scan as GS1 has it, None for a ScanError."""
    try:
        return dict(parse_elements(text, sends_separators=settings.sends_separators))
    except ScanError:
        return None


def by_text(text: str, scanner: Layout, host: Layout, way: str, settings: ScannerSettings) -> dict[str, str] | None:
    """The same where a computer in the layout `host` turns the keys into characters."""
    try:
        return elements(canonical(typed(pressed(text, scanner, way), host), settings), settings)
    except ScanError:
        return None


def published(shared_data: Callable[[str], Path]) -> list[str]:
    """GS1's published valid cases, as a scanner sends them."""
    path = shared_data("07-gs1-epcis/vectors/gs1-parse-bracketed-ai.json")
    found = [case["expected"] for case in json.loads(path.read_text()) if case["ok"]]
    return [MARK + text.replace("^", GS).removeprefix(GS) for text in found]


def test_each_published_scan_through_every_pair_of_layouts_and_separators(shared_data: Callable[[str], Path]) -> None:
    """GS1's valid cases, each scanner layout and form of FNC1, each configured layout and form: right, or refused.

    Where the configuration is right, the scan is always read; in every layout but the scanner's it is refused, or, in
    UK English for US English and the other way round, right.
    """
    scans = published(shared_data)
    assert len(scans) == 12
    outcomes: Counter[str] = Counter()
    for text in scans:
        truth = parse_elements(text, sends_separators=True)
        for scanner, way in product(LAYOUTS.values(), SENT):
            keys = events(pressed(text, scanner, way))
            for layout, configured in product(LAYOUTS, SEPARATORS):
                settings = ScannerSettings(separator=configured, layout=layout, sends_separators=True)
                found = heard(keys, settings)
                assert found in (None, truth), (text, scanner.name, way, settings, found)
                right = layout == scanner.name and configured == CONFIGURED.get(way, way)
                assert found == truth or not right, (text, scanner.name, way, settings)
                outcomes["right" if found else "refused"] += 1
                if {layout, scanner.name} - {"us", "gb"} and layout != scanner.name:
                    assert found is None
    assert sum(outcomes.values()) == len(scans) * 16 * len(SENT) * len(SEPARATORS)
    assert min(outcomes.values()) > 0


def test_each_published_scan_through_a_computer_in_another_layout(shared_data: Callable[[str], Path]) -> None:
    """The same where characters arrive: the computer's layout for the configured one.

    One limit, which docs/scanners.md states: a UK scanner that sends `|` or `\\` for FNC1 to a US computer under Linux,
    which has `>` and `<` on that key, while another form is configured. The self-test refuses it.
    """
    wrong = set()
    for text in published(shared_data):
        truth = parse_elements(text, sends_separators=True)
        for scanner, host, way, configured in product(LAYOUTS.values(), LAYOUTS.values(), SENT, SEPARATORS):
            settings = ScannerSettings(separator=configured, sends_separators=True)
            found = by_text(text, scanner, host, way, settings)
            if found not in (None, truth):
                wrong.add((scanner.name, host.name, way))
            right = host is scanner and configured == CONFIGURED.get(way, way)
            assert found == truth or not right
    assert wrong == LIMIT
    for scanner_name, host_name, way in LIMIT:
        assert not judge_text(typed(pressed(MARK + TEXT, LAYOUTS[scanner_name], way), LAYOUTS[host_name])).passed


FIELD = st.text(st.sampled_from("!\"%&'()*+,-./0123456789:;<=>?AQWYZMaqwyzm_"), min_size=1, max_size=20)


@given(FIELD, FIELD, layouts, layouts, st.sampled_from(SENT), separators, st.booleans())
def test_any_pack_is_read_right_or_refused(
    lot: str, serial: str, scanner: Layout, host: Layout, way: str, configured: str, known: bool
) -> None:
    """Lots and serials of the characters that layouts exchange, with keys read and with characters read."""
    text = f"{MARK}01{GTIN}1727022810{lot}{GS}21{serial}"
    truth = {"01": GTIN, "17": "270228", "10": lot, "21": serial}
    settings = ScannerSettings(separator=configured, layout=host.name, sends_separators=known)
    assert heard(events(pressed(text, scanner, way)), settings) in (None, truth)
    if (scanner.name, host.name, way) not in LIMIT:
        assert by_text(text, scanner, host, way, settings) in (None, truth)


@given(FIELD, FIELD, st.permutations(["10", "21", "17", "240"]), layouts, layouts)
def test_a_scanner_that_drops_fnc1_is_read_right_or_refused_where_nobody_vouches_for_it(
    lot: str, serial: str, order: list[str], scanner: Layout, host: Layout
) -> None:
    """The fields of a medicine in any order, with nothing between them, and `sends_separators` not said."""
    values = {"10": lot, "21": serial, "17": "270228", "240": "Z1"}
    text = f"{MARK}01{GTIN}" + GS.join(identifier + values[identifier] for identifier in order)
    truth = {"01": GTIN, **values}
    settings = ScannerSettings(layout=host.name)
    assert heard(events(pressed(text, scanner, "dropped")), settings) in (None, truth)
    assert by_text(text, scanner, host, "dropped", settings) in (None, truth)


@given(FIELD, FIELD, layouts, layouts, st.sampled_from(WAYS), separators, st.sampled_from(["", "]d1", "]d2", "]C1"]))
def test_what_passes_the_self_test_is_read_right(
    lot: str, serial: str, scanner: Layout, host: Layout, way: str, wrong: str, mark: str
) -> None:
    """However a scanner is set: if the test passes, scans under its findings are right; if not, there are none."""
    symbol = pressed(mark + TEXT, scanner, way)
    for findings in (judge_keys(KeyedScan(symbol, "enter")), judge_text(typed(symbol, host))):
        if not findings.passed:
            with pytest.raises(ScanError, match="did not pass"):
                findings.settings()
            continue
        assert (mark, way != "dropped") == (MARK, True)
        settings = findings.settings()
        text = f"{MARK}01{GTIN}1727022810{lot}{GS}21{serial}"
        truth = {"01": GTIN, "17": "270228", "10": lot, "21": serial}
        if findings.way == "keys":
            assert settings.layout == scanner.name
            assert heard(events(pressed(text, scanner, way)), settings) == truth
            assert heard(events(pressed(text, scanner, way)), replace(settings, separator=wrong)) in (None, truth)
        else:
            assert by_text(text, scanner, host, way, settings) == truth


def test_caps_lock_is_refused_by_the_mark() -> None:
    """`]d2` becomes `]D2`: a lot in the wrong case is never read."""
    settings = ScannerSettings(sends_separators=True)
    with contextlib.suppress(ScanError):
        parse_elements(canonical(f"{MARK}01{GTIN}10aB".swapcase(), settings))
        pytest.fail("a scan was read with Caps Lock on")


# --- what no single scan can show ------------------------------------------------------------------------------------


def test_without_a_mark_another_serial_can_come_out_and_the_self_test_refuses_such_a_scanner() -> None:
    """Y and Z exchanged in a serial: the limit that docs/scanners.md states. No test is passed without the mark."""
    text = f"01{GTIN}21XYZ"
    us, de = LAYOUTS["us"], LAYOUTS["de"]
    unmarked = ScannerSettings(layout="de", mark=False, sends_separators=True)
    assert heard(events(pressed(text, us, "ctrl-]")), unmarked) == {"01": GTIN, "21": "XZY"}
    assert heard(events(pressed(text, us, "ctrl-]")), replace(unmarked, mark=True)) is None
    assert not judge_keys(KeyedScan(pressed(TEXT, de, "ctrl-]"), "enter")).passed


def test_a_scanner_that_drops_fnc1_can_lengthen_a_lot_and_the_self_test_refuses_it() -> None:
    """With FNC1 dropped and said to be sent, two fields become one: the other limit that docs/scanners.md states."""
    text = f"{MARK}01{GTIN}10A1{GS}21S1"
    settings = ScannerSettings(layout="us", sends_separators=True)
    assert heard(events(pressed(text, LAYOUTS["us"], "dropped")), settings) == {"01": GTIN, "10": "A121S1"}
    assert heard(events(pressed(text, LAYOUTS["us"], "dropped")), replace(settings, sends_separators=False)) is None
    assert not judge_keys(KeyedScan(pressed(MARK + TEXT, LAYOUTS["us"], "dropped"), "enter")).passed
