"""Transport keys as a governor sees to them: a new one when it must be, and copies for members that lack it.

Rules:

- A new key goes to every member that is not revoked, sealed to the key that its enrolment names. It takes as many
  entries and blocks as it takes, all in one transaction.
- Whenever this replica's governor decides anything, what follows from it is written with it (`upkeep`): where a revoked
  key holds the key in use, a new one; else copies for the members that lack it. So a revocation brings its new key, an
  enrolment its copy, and what two governors did apart without knowing of each other is mended by the next act of one.
- Who is about to be revoked, as far as a proposal here tells, gets no copy.
- A key should be replaced at least monthly, whoever left: what was once copied from a box can be read for so long only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from .acts import GovRevoke, GovTransport
from .block import Block
from .errors import MedledgerError, MembershipError
from .keys import MemberKey, Randomness, seal_to
from .limits import MAX_SEALED_PER_ENTRY, TRANSPORT_KEY_DAYS
from .membership import Membership
from .registry import Record
from .rotations import Rotation
from .transport_key import KEY_BYTES, TransportKey
from .writer import Writer

DAY_MS = 24 * 3600 * 1000


class Keyed(Protocol):
    """The ledger whose transport keys are seen to."""

    @property
    def membership(self) -> Membership: ...
    @property
    def identity(self) -> MemberKey | None: ...
    @property
    def me(self) -> bytes | None: ...
    @property
    def transport_keys(self) -> tuple[TransportKey, ...]: ...
    @property
    def key_problems(self) -> tuple[str, ...]: ...
    @property
    def randomness(self) -> Randomness: ...
    @property
    def writer(self) -> Writer: ...
    def block(self, feed: bytes, seq: int) -> Block | None: ...


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """What there is to know about the transport key in use, without the key itself."""

    generation: int
    id: bytes | None  # as it stands in front of frames; None where generation 0 is not ours to know
    held: bool  # by this member
    by: bytes | None  # the governor that handed it out; None in generation 0
    since: int | None  # UTC milliseconds, by that governor's clock
    lacking: tuple[bytes, ...]  # members to whom no copy was sent
    leaked: tuple[bytes, ...]  # revoked keys that hold it
    problems: tuple[str, ...]

    def overdue(self, now: int) -> bool:
        """Whether it should have been replaced for its age."""
        return self.since is not None and now - self.since > TRANSPORT_KEY_DAYS * DAY_MS


def status(ledger: Keyed) -> KeyStatus:
    """See `Ledger.key_status`."""
    membership = ledger.membership
    current = membership.transport.current
    keys = ledger.transport_keys
    if current is None:
        founder = membership.genesis.founder
        first = ledger.block(founder, 0)
        key = keys[-1] if keys else None
        return KeyStatus(
            generation=0,
            id=key.id if key else None,
            held=key is not None,
            by=None,
            since=first.header.time if first else None,
            lacking=(),
            leaked=membership.transport.leaked,
            problems=ledger.key_problems,
        )
    place = min((handing.place for handing in current.handings), key=lambda place: (place.seq, place.feed))
    block = ledger.block(place.feed, place.seq)
    return KeyStatus(
        generation=current.generation,
        id=TransportKey.id_of(current.key),
        held=any(key.name == current.key for key in keys),
        by=place.feed,
        since=block.header.time if block is not None and block.id == place.id else None,
        lacking=tuple(feed for feed in _recipients(membership) if not current.reaches(feed)),
        leaked=current.leaked,
        problems=ledger.key_problems,
    )


def rotate(ledger: Keyed) -> Block:
    """See `Ledger.rotate_transport_key`."""
    _check_governor(ledger)
    if ledger.membership.transport.next_generation is None:
        raise MembershipError(
            "the numbers for transport keys are used up", hint="Revoke the governor that used them up."
        )
    return _write(ledger, _rotation(ledger))


def share(ledger: Keyed) -> tuple[bytes, ...]:
    """See `Ledger.share_transport_key`."""
    _check_governor(ledger)
    lacking = status(ledger).lacking
    blocks = list(_sharing(ledger))
    if lacking and not blocks:
        raise MembershipError(
            "this replica lacks the transport key in use itself, or who lacks it is about to be revoked",
            hint="Make a new one for everybody: `medledger key rotate`.",
        )
    if not blocks:
        return ()
    _write(ledger, iter(blocks))
    return tuple(feed for feed in lacking if feed not in status(ledger).lacking)


def upkeep(ledger: Keyed) -> Iterator[list[Record]]:
    """The records of the blocks that keep the transport key in order, after an act of ours; none where it is."""
    membership = ledger.membership
    if ledger.me not in membership.governors or ledger.me in membership.cuts:
        return iter(())
    if membership.transport.leaked and membership.transport.next_generation is not None:
        return _rotation(ledger)
    return _sharing(ledger)


def _write(ledger: Keyed, blocks: Iterator[list[Record]]) -> Block:
    return ledger.writer.append(next(blocks), lambda: blocks)


def _rotation(ledger: Keyed) -> Iterator[list[Record]]:
    """A new key for everybody."""
    membership = ledger.membership
    generation = membership.transport.next_generation
    assert generation is not None  # asked before
    key = TransportKey(ledger.randomness(KEY_BYTES))
    return _handings(ledger, generation, key, _recipients(membership))


def _sharing(ledger: Keyed) -> Iterator[list[Record]]:
    """Copies of the key in use for those who lack it, as far as we hold it."""
    membership = ledger.membership
    current = membership.transport.current
    key = next((key for key in ledger.transport_keys if current is not None and key.name == current.key), None)
    if current is None or key is None:
        return iter(())
    return _handings(ledger, current.generation, key, _lacking(membership, current))


def _lacking(membership: Membership, current: Rotation) -> dict[bytes, bytes]:
    leaving = {
        act.content["feed"]
        for act in membership.pending
        if act.type == GovRevoke.TYPE and isinstance(act.content, dict)
    }
    everybody = _recipients(membership).items()
    return {feed: kem for feed, kem in everybody if not current.reaches(feed) and feed not in leaving}


def _recipients(membership: Membership) -> dict[bytes, bytes]:
    """Everybody who should hold the key in use, with the key that it is sealed to."""
    return {
        feed: member.kem[1]
        for feed, member in sorted(membership.members.items())
        if member.kem is not None and not member.revoked
    }


def _handings(
    ledger: Keyed, generation: int, key: TransportKey, recipients: Mapping[bytes, bytes]
) -> Iterator[list[Record]]:
    boxes = []
    for feed, kem in recipients.items():
        try:
            boxes.append((feed, seal_to(kem, key.key, randomness=ledger.randomness)))
        except MedledgerError:
            continue  # no usable key: it stays among those who lack the key in use
    epoch = ledger.membership.epoch.number
    for at in range(0, len(boxes), MAX_SEALED_PER_ENTRY):
        part = boxes[at : at + MAX_SEALED_PER_ENTRY]
        yield [GovTransport(epoch=epoch, generation=generation, key=key.name, boxes=part)]


def _check_governor(ledger: Keyed) -> None:
    if ledger.me not in ledger.membership.governors:
        raise MembershipError("only a governor hands out transport keys", hint="Ask one of the governors.")
