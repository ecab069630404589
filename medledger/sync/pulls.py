"""Pulls: blocks asked of one peer and on their way, whatever they were asked for.

Rules:

- A pull ends when its frames are complete and it is told done, when the stragglers had their time, or when nothing
  comes any more. What arrived is used either way.
- Each frame gives the next one its time, and a repeated frame none: no peer keeps a pull alive for longer than its
  credit of frames lasts.
- A peer that did not answer, or whose blocks were refused as no author's, is paused, longer each time; so is one of
  whose answer frames were lost where the rest is of no use. Lost frames else only make the next credit smaller.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from medledger.errors import Fault, FrameError
from medledger.limits import (
    ANSWER_SECONDS,
    GAP_PATIENCE_SECONDS,
    PULL_FRAMES_MIN,
)

from .messages import Data, Done, Status, Want, WantBranches
from .peers import Peer, PeerId
from .replica import ImportReport


@dataclass(slots=True)
class Pull:
    """One want under way."""

    peer: PeerId
    want: Want | WantBranches
    deadline: float
    before: tuple[bytes, ...] = ()  # blocks that came in pulls before, and are of use only with those of this one
    frames: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    count: int | None = None  # of frames that are coming, once announced
    status: Status | None = None

    @property
    def whole(self) -> bool:
        """All frames that were announced are here."""
        return self.count is not None and len(self.frames) == self.count

    @property
    def run(self) -> int:
        """The number of blocks up to the first frame that is missing."""
        blocks = 0
        for index in range(len(self.frames)):
            if index not in self.frames:
                break
            blocks += len(self.frames[index])
        return blocks

    @property
    def blocks(self) -> list[bytes]:
        """What has arrived, in the order it was sent in."""
        return [*self.before, *self.fresh]

    @property
    def fresh(self) -> list[bytes]:
        """Of these, what arrived in this pull."""
        return [block for index in sorted(self.frames) for block in self.frames[index]]

    @property
    def answered(self) -> bool:
        """The peer gave something, or said that it has nothing."""
        return bool(self.frames) or self.status is Status.COMPLETE

    @property
    def complete(self) -> bool:
        """All that the peer has of what was asked for is here."""
        return self.whole and self.status is Status.COMPLETE

    def failed(self, report: ImportReport | None) -> bool:
        """Whether the peer was silent or busy, promised and did not give, or gave what no author wrote."""
        bad = report is not None and any(error.fault is Fault.RELAY for error in report.refused)
        useless = not self.whole and (report is None or not report.accepted)
        return bad or useless or not self.answered or self.status is Status.BUSY

    @property
    def cut(self) -> bool:
        """It gave as much as its credit allowed, and there is more."""
        return self.whole and bool(self.frames) and self.status is Status.MORE

    def judge(self, peer: Peer, report: ImportReport | None, now: float, jitter: float) -> None:
        """What it says about the peer. `jitter` is 0 to 1."""
        if self.failed(report):
            peer.failed(now, jitter)
        else:
            self.credit(peer)

    def credit(self, peer: Peer) -> None:
        """What was given is good, as far as it came: more at once next time, or less."""
        if self.whole:
            peer.delivered()
        else:
            peer.credit = max(PULL_FRAMES_MIN, peer.credit // 2)  # frames were lost: fewer at once


class Pulls:
    """The pulls of one kind under way from one node."""

    def __init__(self) -> None:
        self._open: dict[bytes, Pull] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Pull]:
        return iter(self._open.values())

    def __contains__(self, nonce: bytes) -> bool:
        return nonce in self._open

    @property
    def deadline(self) -> float:
        """When one will have `expired`, should nothing arrive before."""
        return min([float("inf"), *(pull.deadline for pull in self._open.values())])

    def begin(self, peer: PeerId, want: Want | WantBranches, now: float, before: Sequence[bytes] = ()) -> None:
        """A want is being sent."""
        self._open[want.nonce] = Pull(peer, want, now + ANSWER_SECONDS, tuple(before))

    def data(self, peer: PeerId, message: Data, now: float) -> Pull | None:
        """A frame of blocks; the pull, where that completes it. Raises `FrameError` for what was not asked for."""
        pull = self._asked(peer, message.nonce)
        if message.count > pull.want.frames or (pull.count is not None and pull.count != message.count):
            raise FrameError("a frame of blocks is not within the credit, or not of the number announced")
        pull.count = message.count
        if message.index in pull.frames:
            return None
        pull.frames[message.index] = message.blocks
        if pull.status is not None:
            return self._open.pop(message.nonce) if pull.whole else None
        pull.deadline = now + (GAP_PATIENCE_SECONDS if pull.whole else ANSWER_SECONDS)
        return None

    def done(self, peer: PeerId, message: Done, now: float) -> Pull | None:
        """The end of an answer; the pull, where that completes it. Raises `FrameError` for what was not asked for."""
        pull = self._asked(peer, message.nonce)
        if pull.status is None:
            pull.deadline = now + GAP_PATIENCE_SECONDS  # frames may come after it
        pull.status = message.status
        if pull.count is None:
            pull.count = min(message.count, pull.want.frames)
        return self._open.pop(message.nonce) if pull.whole else None

    def expired(self, now: float) -> list[Pull]:
        """Pulls of which nothing more is expected."""
        return [self._open.pop(nonce) for nonce, pull in list(self._open.items()) if pull.deadline <= now]

    def hasten(self, peer: PeerId, now: float) -> None:
        """This peer is gone: what it sent may still arrive, and nothing more is waited for."""
        for pull in self._open.values():
            if pull.peer == peer:
                pull.deadline = min(pull.deadline, now + GAP_PATIENCE_SECONDS)

    def clear(self) -> None:
        """Forget all: the connection they would be answered on is gone."""
        self._open.clear()

    def _asked(self, peer: PeerId, nonce: bytes) -> Pull:
        pull = self._open.get(nonce)
        if pull is None or pull.peer != peer:
            raise FrameError("an answer to nothing that was asked")
        return pull


class Desk(Protocol):
    """Who asks for blocks of one kind, and draws the conclusions from what comes."""

    @property
    def pulls(self) -> Pulls: ...

    @property
    def next(self) -> float:
        """When `due` will have something, should nothing arrive before."""
        ...

    def due(self, now: float) -> Sequence[tuple[PeerId, Want | WantBranches]]:
        """The wants to send now."""
        ...

    def settle(self, pull: Pull, report: ImportReport | None, now: float) -> None:
        """Draw the conclusions from an import of a pull's blocks, or from their absence (None)."""
        ...

    def postpone(self, pull: Pull, now: float) -> None:
        """The replica could not take a pull's blocks: nobody's fault out there, and no better at once."""
        ...

    def abandon(self) -> None:
        """Forget the pulls under way: the connection they would be answered on is gone."""
        ...
