"""What the frames of the link say: strict both ways, and each message comes back as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from devices_on_lines import BOOT, KEY, signed
from medledger.errors import UsageError
from medledger_bridge.errors import LinkBodyError
from medledger_bridge.link import batch as batches
from medledger_bridge.link.messages import Ack, Hello, Refusal

WORD = Ack(BOOT, 3).encode()


@given(st.binary(max_size=60) | st.tuples(st.binary(max_size=3), st.integers(0, 10)).map(lambda a: _altered(*a)))
@example(WORD[:-1] + b"\x18\x03")
@example(WORD + b"\0")
def test_any_bytes_are_a_message_or_are_refused(raw: bytes) -> None:
    """Strict: what is accepted is exactly what would be written for it."""
    try:
        word = Ack.decode(raw)
    except LinkBodyError:
        return
    assert word.encode() == raw


@pytest.mark.parametrize(
    ("message", "beyond"),
    [
        (Ack, Ack(BOOT, 2**53)),
        (Refusal, Refusal(65_536, "order", 1)),
        (Refusal, Refusal(0, "order", 2**53)),
        (Hello, Hello("SIM-1", KEY, BOOT, 2**53 + 1, 1, 0, "M", "1")),
        (Hello, Hello("SIM-1", KEY, BOOT, 1, 1, 2**53, "M", "1")),
        (Hello, Hello("SIM-1", KEY, BOOT, 1, 2, 0, "M", "1")),
        (Hello, Hello("SIM-1", KEY, BOOT, 1, 1, 0, "M", "1", -1)),
        (Hello, Hello("SIM-1", KEY, BOOT, 1, 1, 0, "M\x9b2J", "1")),
        (Hello, Hello("SIM-1", KEY, BOOT, 1, 1, 0, "M", "1\u202e")),
    ],
)
def test_what_the_page_does_not_allow_is_refused(message: type[Ack | Refusal | Hello], beyond: Any) -> None:
    """Numbers beyond their bounds, and text that would write on a terminal what it likes."""
    with pytest.raises(LinkBodyError):
        message.decode(beyond.encode())


def _altered(piece: bytes, at: int) -> bytes:
    return WORD[:at] + piece + WORD[at + len(piece) :]


def test_a_message_comes_back_as_it_was() -> None:
    """With the largest of its numbers; a reason that there is not is our own mistake."""
    greeting = Hello("Gerät 7", KEY, BOOT, 9, 3, 2, "M", "1.2.3", 1_700_000_000_000)
    assert Hello.decode(greeting.encode()) == greeting
    spent = replace(greeting, next=2**53, oldest=2**53)  # the last counter is used, and nothing is kept
    assert Hello.decode(spent.encode()) == spent
    assert Ack.decode(Ack(BOOT, 2**53 - 1).encode()) == Ack(BOOT, 2**53 - 1)
    assert Refusal.decode(Refusal(65535, "order", 3).encode()) == Refusal(65535, "order", 3)
    assert batches.decode(batches.encode(1, signed(4))) == (1, signed(4))
    with pytest.raises(UsageError):
        Refusal(1, "because", 1).encode()
