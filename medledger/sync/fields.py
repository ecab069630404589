"""The fields of frames, read strictly: each of its type and within its limits, else a `FrameError`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from medledger.errors import FrameError


def fields(items: Sequence[Any], count: int) -> Sequence[Any]:
    """The fields of a message, which has so many."""
    if len(items) != count:
        raise FrameError("a frame has more or fewer fields than its kind")
    return items


def octets(value: Any, least: int, most: int | None = None) -> bytes:
    """`value`, which is `least` bytes long, or `least` to `most`."""
    if type(value) is not bytes or not least <= len(value) <= (least if most is None else most):
        raise FrameError("a field of a frame is not a byte string of its length")
    return value


def uint(value: Any, most: int, *, least: int = 0) -> int:
    """`value`, which is `least` to `most`."""
    if type(value) is not int or not least <= value <= most:
        raise FrameError("a field of a frame is not an integer of its range")
    return value


def flag(value: Any) -> bool:
    """`value`, which is true or false."""
    if type(value) is not bool:
        raise FrameError("a field of a frame is neither true nor false")
    return value


def listed(value: Any, least: int, most: int, read: Callable[[Any], Any]) -> tuple[Any, ...]:
    """The items of a list of `least` to `most`, each as `read` reads it."""
    if type(value) is not list or not least <= len(value) <= most:
        raise FrameError("a field of a frame is not a list within its limits")
    return tuple([read(item) for item in value])
