"""How full a block is made: what a reading may take is known without encoding it, and never too little."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hl7_messages import recorded
from medledger.entry import encode_entry
from medledger.records import Reading, Sample
from medledger_agents.recorder import _length
from medledger_bridge.hl7 import parse, readings

MOST = {"time": 2**62, "subject": bytes(16), "salt": bytes(16)}
WORDS = st.text(st.sampled_from("aé漢😀 "), min_size=1, max_size=32).filter(lambda text: text.strip() == text)


def exact(reading: Reading) -> int:
    """The bytes of its entry."""
    return len(encode_entry(reading.TYPE, reading.to_content(), **MOST))


def test_recorded_readings_are_not_longer_than_foreseen(shared_data: Callable[[str], Path]) -> None:
    """And not less than a third of it: blocks would stay empty."""
    found = [each for raw in recorded(shared_data).values() for each in readings(parse(raw))]
    assert len(found) > 20
    for reading in found:
        assert exact(reading) <= _length(reading) < 3 * exact(reading)


@given(
    st.lists(
        st.builds(
            lambda sent, flag, number: Sample(
                None,
                unit="mm[Hg]",
                absent="positive-infinity",
                flag=flag,
                sent=sent,
                sent_unit=sent,
                sent_value=(number, -127),
                status="calibration-ongoing",
                result="F",
                sub="1.2.3",
            ),
            WORDS,
            st.sampled_from((None, "unit-mismatch")),
            st.integers(-(2**62), 2**62),
        ),
        max_size=32,
    ),
    WORDS,
)
def test_no_reading_is_longer_than_foreseen(samples: list[Sample], text: str) -> None:
    """With every field as long as it can be."""
    reading = Reading(
        device=text,
        samples=samples,
        device_time=-(2**62),
        device_sync=2**32 - 1,
        quality="stale",
        alarm=text,
        raw=bytes(32),
        quarantine="after-discharge",
    )
    assert exact(reading) <= _length(reading)
