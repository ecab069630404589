"""Runs: blocks that nobody has vouched for yet, since who may did not fit the credit of the pull that brought them.

An author may leave all blocks of a segment unsigned but the last, and these may take 4 MiB. Rules:

- Of a peer that gave as much as it might, and of one feed nothing but blocks without a signature behind them, the rest
  of that segment is asked for, and nothing else beside it. What came is kept, and judged again together with the rest.
- A run ends with its segment: by then somebody vouches for it, or the peer has given what no author wrote.
- Frames that were lost are asked for again; what came before them stays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from medledger.errors import BlockSignatureError
from medledger.limits import MAX_RUNS, SEGMENT_BLOCKS

from .messages import Range, Want
from .peers import PeerId
from .pulls import Pull
from .replica import ImportReport


def segment_end(seq: int) -> int:
    """Where the segment of a block ends."""
    return seq - seq % SEGMENT_BLOCKS + SEGMENT_BLOCKS


@dataclass(frozen=True, slots=True)
class Run:
    """Blocks of one feed from `start` on, as a peer gave them."""

    peer: PeerId
    start: int
    blocks: tuple[bytes, ...] = ()

    @property
    def next(self) -> int:
        """The first block that is not here."""
        return self.start + len(self.blocks)

    @property
    def end(self) -> int:
        """Where its segment ends."""
        return segment_end(self.start)

    @classmethod
    def begin(cls, pull: Pull, asked: Range, seq: int) -> Run:
        """From a block on that was refused. Where other feeds were asked for too, it is asked for once more."""
        assert isinstance(pull.want, Want)
        start = max(asked.start, seq)
        alone = len(pull.want.ranges) == 1
        return cls(pull.peer, start, tuple(pull.fresh[start - asked.start : pull.run]) if alone else ())

    def after(self, pull: Pull) -> Run:
        """The run with what a further pull has brought, up to the first frame that was lost."""
        return Run(self.peer, self.start, (*self.blocks, *pull.fresh[: pull.run]))


class Runs:
    """The runs of one node, of few feeds at a time."""

    def __init__(self) -> None:
        self._runs: dict[bytes, Run] = {}

    def get(self, feed: bytes) -> Run | None:
        """The run of a feed, if there is one."""
        return self._runs.get(feed)

    def of(self, feed: bytes) -> Run:
        """The run of a feed that has one."""
        return self._runs[feed]

    def current(self, feed: bytes, start: int, sources: Collection[PeerId]) -> Run | None:
        """The run of a feed, where it still begins at the first block that is lacking and its peer may be asked."""
        run = self._runs.get(feed)
        if run is not None and (run.start != start or run.peer not in sources):
            del self._runs[feed]
            return None
        return run

    def took(
        self, pull: Pull, asked: Range, report: ImportReport | None, *, grown: bool, wanted: Callable[[bytes], bool]
    ) -> bool | None:
        """Whether what a pull gave of one feed is kept as a run that goes on: not where there is no room. None where it
        is no such thing, as where our feed has `grown`. Runs of feeds that are not `wanted` any more make room.
        """
        run = self._runs.pop(asked.feed, None)
        if grown:
            return None
        start = _unsigned(asked.feed, report) if pull.cut or (not pull.whole and pull.run) else None
        run = run and run.after(pull)
        if run is not None and run.next >= run.end:
            return None
        if start is None:
            if run is not None and not pull.whole:  # frames were lost: only they are asked for again
                self._runs[asked.feed] = run
            return None
        self._runs = {feed: each for feed, each in self._runs.items() if wanted(feed)}
        if len(self._runs) >= MAX_RUNS:
            return False
        self._runs[asked.feed] = run or Run.begin(pull, asked, start)
        return True


def _unsigned(feed: bytes, report: ImportReport | None) -> int | None:
    """From where on a feed's blocks were refused, where that was for this only: no signature stands behind them."""
    errors = [error for error in report.refused if error.feed == feed] if report is not None else []
    if not all(isinstance(error, BlockSignatureError) for error in errors):
        return None
    return min((error.seq for error in errors if error.seq is not None), default=None)
