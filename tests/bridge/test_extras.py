"""Without an optional library, its format says what to install, and the rest of the bridge works."""

from __future__ import annotations

import sys

import pytest

from hl7_messages import MSH
from medledger_bridge import gs1, hl7, mllp
from medledger_bridge.errors import ExtraMissingError


def test_hl7_needs_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Framing and messages are read without any library; python-hl7 is the tests' reference only."""
    monkeypatch.setitem(sys.modules, "hl7", None)
    (raw,) = mllp.Framer().feed(mllp.wrap(MSH.encode()))
    assert hl7.parse(raw).message_id == "C1"


def test_gs1_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain GTIN by its mark needs no library."""
    monkeypatch.setitem(sys.modules, "biip", None)
    monkeypatch.setitem(sys.modules, "biip.gs1_messages", None)
    assert gs1.parse_scan("]E07032069804988").gtin == "07032069804988"
    with pytest.raises(ExtraMissingError) as caught:
        gs1.parse_scan("]d20107032069804988")
    assert caught.value.hint is not None
    assert "medledger[supply]" in caught.value.hint
