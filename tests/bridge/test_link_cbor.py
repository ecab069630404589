"""The firmware's CBOR reader takes what is there and nothing beyond it, whatever length the bytes claim."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from devices_on_lines import firmware_reader
from medledger import cbor
from medledger.errors import MalformedError

MOST = 2**64 - 1
SIZES = (0, 1, 5, 8, 22, 23, 24, 64, 255, 256)
BAD = "bad"


class Asked(NamedTuple):
    """One reading: a kind, the size of a byte string or the most of a text, and the bytes."""

    kind: str
    size: int
    data: bytes


def read(asked: list[Asked]) -> list[str]:
    """What the firmware reads; it must not touch a byte beyond those that it was given."""
    lines = "".join(f"{each.kind} {each.size} {each.data.hex()}\n" for each in asked)
    done = subprocess.run([firmware_reader()], input=lines, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def expected(asked: Asked) -> str:
    """By the ledger's decoder: the shortest prefix that is an item of that kind."""
    for end in range(1, len(asked.data) + 1):
        try:
            value = cbor.decode(asked.data[:end], max_size=end)
        except MalformedError:
            continue
        left = len(asked.data) - end
        return f"{value.hex() if type(value) is bytes else value.encode().hex()} {left}" if _fits(asked, value) else BAD
    return BAD


def _fits(asked: Asked, value: Any) -> bool:
    if asked.kind == "b":
        return type(value) is bytes and len(value) == asked.size
    return type(value) is str and 1 <= len(value.encode()) <= asked.size


def strings() -> Iterator[Asked]:
    """Strings whole, cut short at every byte, and with a byte after them; of the right size and of wrong ones."""
    for size in SIZES:
        for kind, value in (("b", bytes(size)), ("t", "x" * size)):
            whole = cbor.encode(value)
            for most in {size, size + 1, max(size - 1, 0), MOST}:
                yield from (Asked(kind, most, whole[:end]) for end in range(len(whole) + 1))
                yield Asked(kind, most, whole + b"\0")


def test_strings_are_read_as_long_as_they_are_and_no_longer() -> None:
    """A length that is more than what came is refused before anything is read under it."""
    asked = list(strings())
    found = read(asked)
    assert found == [expected(each) for each in asked]
    assert sum(answer != BAD for answer in found) > 4 * len(SIZES)


def test_a_length_that_nothing_could_hold_is_refused() -> None:
    """Of every width, and whatever the reader would have taken."""
    asked = [
        Asked(kind, most, bytes((major | 24 + width,)) + b"\xff" * (1 << width) + b"rest")
        for kind, major in (("b", 0x40), ("t", 0x60))
        for width in range(4)
        for most in (4, 64, 2 ** (8 << width) - 1, MOST)
    ]
    assert read(asked) == [BAD] * len(asked)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.sampled_from("uabt"), st.integers(0, MOST), st.binary(max_size=40)), max_size=200))
def test_no_bytes_make_it_read_beyond_them(given: list[tuple[str, int, bytes]]) -> None:
    """Any bytes as anything: an answer for each, and no more left than there was."""
    asked = [Asked(*each) for each in given]
    answers = read(asked)
    assert len(answers) == len(asked)
    for each, answer in zip(asked, answers, strict=True):
        assert answer == BAD or int(answer.split()[-1]) < len(each.data)
