"""A reading is encoded once, when it is checked: what it says is that encoding, and a block is filled by its length.

The slow way beside it is to encode the content of the record again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hl7_messages import recorded
from medledger import cbor
from medledger.entry import encode_entry
from medledger.records import Reading, Sample
from medledger.registry import encoding_of
from medledger_agents.recorder import _length
from medledger_bridge.hl7 import parse, readings

MOST = {"time": 2**62, "subject": bytes(16), "salt": bytes(16)}
WORDS = st.text(st.sampled_from("aé漢😀 "), min_size=1, max_size=32).filter(lambda text: text.strip() == text)


def exact(reading: Reading) -> int:
    """The bytes of its entry."""
    return len(encode_entry(reading.TYPE, reading.to_content(), **MOST))


def check(reading: Reading) -> None:
    """Its encoding, and the length that is foreseen for it: a time and a subject may be shorter than foreseen."""
    assert encoding_of(reading) == cbor.encode(reading.to_content())
    assert encoding_of(replace(reading, subject=bytes(16))) == encoding_of(reading)
    assert Reading.from_content(cbor.decode(encoding_of(reading), max_size=65536)) == replace(reading, time=None)
    assert exact(reading) - 32 <= _length(reading) <= exact(reading)


def test_recorded_readings_are_encoded_once(shared_data: Callable[[str], Path]) -> None:
    """As they come from real monitors."""
    found = [each for raw in recorded(shared_data).values() for each in readings(parse(raw))]
    assert len(found) > 20
    for reading in found:
        check(reading)


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
def test_a_reading_is_what_it_was_encoded_as(samples: list[Sample], text: str) -> None:
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
    check(reading)
