"""The transport keys that one member holds: the one that founding or a join reply brought, and those handed out since.

Rules:

- Keys come in the order of `rotations`, the best last. The one that a reply brought has the place of the rotation of
  its name, and else that of generation 0: before all that count, after those that do not.
- A copy that does not open, or holds another key than its act names, is passed over and told of: a governor's mistake
  or malice must not stop a member from using the keys that it has.
- A member needs the best keys only. So at most `MAX_HELD_KEYS` are kept, and at most so many copies tried for each.
"""

from __future__ import annotations

from typing import Final

from .errors import MedledgerError
from .keys import MemberKey
from .limits import MAX_HELD_KEYS
from .rotations import Rotation, Rotations
from .transport_key import TransportKey


class Keychain:
    """One member's keys. `problems` are sentences for people."""

    def __init__(self, identity: MemberKey, founding: TransportKey) -> None:
        self._identity: Final = identity
        self._founding: Final = founding
        self._opened: dict[bytes, bytes | None] = {}  # what copies hold; None where they do not open
        self._rotations = Rotations()
        self.keys: tuple[TransportKey, ...] = (founding,)
        self.problems: tuple[str, ...] = ()

    def refresh(self, rotations: Rotations) -> None:
        """Open what was handed to us since the last time."""
        if rotations is self._rotations:
            return
        found: list[TransportKey] = []
        problems: list[str] = []
        for at, rotation in enumerate(reversed(rotations.ranked)):
            if at == 2 * MAX_HELD_KEYS or len(found) == MAX_HELD_KEYS:
                break
            if self._founding not in found and not rotation.counts:
                found.append(self._founding)
            key = self._open(rotation, problems)
            if key is not None and key not in found:
                found.append(key)
        if self._founding not in found:
            found.append(self._founding)
        self.keys = tuple(reversed(found[:MAX_HELD_KEYS]))
        self.problems = tuple(problems)
        self._rotations = rotations

    def _open(self, rotation: Rotation, problems: list[str]) -> TransportKey | None:
        """The key of a rotation, None where no copy gives it to us."""
        if rotation.key == self._founding.name:
            return self._founding
        for tried, box in enumerate(rotation.boxes(self._identity.public_key)):
            if tried == MAX_HELD_KEYS:
                break
            raw = self._unseal(box)
            key = TransportKey(raw) if raw is not None and len(raw) == 32 else None
            if key is not None and key.name == rotation.key:
                return key
            fault = "is not sealed to our key" if raw is None else "holds another key than its act names"
            problems.append(f"a copy of transport key {rotation.generation} {fault}")
        return None

    def _unseal(self, box: bytes) -> bytes | None:
        if box not in self._opened:
            try:
                self._opened[box] = self._identity.unseal(box)
            except MedledgerError:
                self._opened[box] = None
        return self._opened[box]
