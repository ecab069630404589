"""Clocks, references and the form of a result line.

- The reference is libsodium's `crypto_sign_open` of a 200-byte message, called as the library calls it.
- Work that comes in batches is measured in rounds of several batches, with the reference sampled before each batch for
  about half as long as the batch takes, so that both meet as much of whatever else runs on the machine. A round's ratio
  is of its total to the mean of its own samples; the line is the median round. A checkpoint, which is in some rounds
  and not in others, adds 0.01 to the ratio of an import or an interpretation when it is spread over all of them.
- What is short and can be repeated at will takes turns with its reference; each module says what is compared.
- A line holds when `ratio` is within `bar`: at most, or at least where `at_least` says so. A line without a bar states
  a figure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from statistics import mean, median
from time import perf_counter

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair

REFERENCE = "crypto_sign_open of 200 bytes"
MESSAGE_BYTES = 200
CHECKS_PER_SAMPLE = 100


@dataclass(frozen=True, slots=True)
class Line:
    """One result. `result` is a hash of what was computed, equal in every run with the same parameters."""

    name: str
    value: float
    unit: str
    reference: str
    ratio: float | None
    bar: float | None
    holds: bool | None
    method: str
    result: str

    def as_json(self) -> str:
        """The line for programs."""
        return json.dumps(asdict(self))

    def as_text(self) -> str:
        """The line for people."""
        verdict = {True: "holds", False: "FAILS", None: ""}[self.holds]
        ratio = "" if self.ratio is None else f"{self.ratio:.3f}"
        bar = "" if self.bar is None else f"bar {self.bar:g}"
        return f"{self.name:34} {self.value:12.3f} {self.unit:22} {ratio:>8} {bar:10} {verdict}"


def line(
    name: str,
    value: float,
    unit: str,
    *,
    method: str,
    result: Iterable[object],
    reference: str = REFERENCE,
    ratio: float | None = None,
    bar: float | None = None,
    at_least: bool = False,
) -> Line:
    """A line whose verdict follows from its ratio and bar."""
    holds = None
    if bar is not None and ratio is not None:
        holds = ratio >= bar if at_least else ratio <= bar
    digest = sha256(repr(list(result)).encode()).hexdigest()[:16]
    shown = None if ratio is None else round(ratio, 4)
    return Line(name, round(float(value), 4), unit, reference, shown, bar, holds, method, digest)


class SignatureCheck:
    """The reference: one check of a valid signature over `message`, 200 bytes unless something else is given."""

    def __init__(self, message: bytes = b"m" * MESSAGE_BYTES) -> None:
        self._public, secret = crypto_sign_seed_keypair(b"r" * 32)
        self._signed = crypto_sign(message, secret)
        self.samples: list[float] = []

    def sample(self, checks: int = CHECKS_PER_SAMPLE) -> None:
        """Measure once more."""
        signed, public = self._signed, self._public
        started = perf_counter()
        for _ in range(checks):
            crypto_sign_open(signed, public)
        self.samples.append((perf_counter() - started) / checks)


class Rounds:
    """Batches of work, gathered into rounds of `size` units, each with its own reference."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._check = SignatureCheck()
        self._units = 0
        self._seconds = 0.0
        self._rounds: list[tuple[float, float]] = []

    def measure(self, units: int, work: Callable[[], object]) -> None:
        """One batch of so many units."""
        self._check.sample()
        self._seconds += seconds(work)
        self._units += units
        if self._units >= self._size:
            each = self._seconds / self._units
            self._rounds.append((each, each / mean(self._check.samples)))
            self._units, self._seconds = 0, 0.0
            self._check.samples.clear()

    @property
    def each(self) -> float:
        """Seconds of one unit, in the median round."""
        return median(each for each, _ in self._rounds)

    @property
    def ratio(self) -> float:
        """One unit to one signature check, in the median round."""
        return median(ratio for _, ratio in self._rounds)

    @property
    def method(self) -> str:
        """What was done, in words."""
        ratios = [ratio for _, ratio in self._rounds]
        return f"median of {len(ratios)} rounds of {self._size} (lowest {min(ratios):.3f}, highest {max(ratios):.3f})"


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    started = perf_counter()
    work()
    return perf_counter() - started


def in_turns(subjects: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """The seconds of each subject in each of `rounds` rounds; the subjects take turns within a round."""
    times: list[list[float]] = [[] for _ in subjects]
    for number in range(rounds):
        for at in range(len(subjects)):  # each round starts with another one
            which = (at + number) % len(subjects)
            times[which].append(seconds(subjects[which]))
    return times
