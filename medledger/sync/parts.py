"""The parts of a node, put together, and what there is to see of them. What they do is `node`'s."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, Final

from medledger.errors import UsageError
from medledger.limits import (
    BEACON_MAX_SECONDS,
    BEACON_MIN_SECONDS,
    BEACON_REDUNDANCY,
    PATIENCE_FAILURES,
    PEER_SECONDS,
)

from .alarms import Alarms
from .branches import BranchDesk
from .forks import ForkDesk
from .frontier import Frontier
from .gate import Gate
from .holes import HoleDesk
from .intake import Intake
from .keyring import Keyring
from .leaks import LeakWatch
from .messages import BOOT_BYTES
from .own import OwnFeed
from .peers import PeerId, Peers
from .picture import Subject, picture
from .probing import Prober
from .pulling import Puller
from .pulls import Desk
from .repair import Repair
from .replica import Replica
from .roster import Roster
from .serving import Server
from .stragglers import Stragglers
from .traffic import Traffic
from .trickle import Trickle
from .voice import Voice


class Parts:
    """What one node is made of. `changed` is called with whether the membership has changed, and the time."""

    def __init__(
        self, replica: Replica, rng: Random, boot_id: bytes, now: float, changed: Callable[[bool, float], None]
    ) -> None:
        if replica.identity is None:
            raise UsageError("gossip needs the identity of a member", hint="Give the identity when opening the ledger.")
        if len(boot_id) != BOOT_BYTES:
            raise UsageError(f"a boot id is {BOOT_BYTES} random bytes")
        self._replica = replica
        self.id: Final = PeerId(replica.identity.public_key, boot_id)
        self.frontier: Final = Frontier()
        self.peers: Final = Peers(now)
        roster = self._roster = Roster(replica.membership)
        self._prober = Prober(self.frontier, self.peers, roster, rng)
        self._puller = Puller(self.frontier, self.peers, roster, rng, self.id.key)
        self._branches = BranchDesk(replica, self.frontier, self.peers, roster, rng)
        self._holes = HoleDesk(replica, self.peers, rng, now)
        self._desks: Final[tuple[Desk, ...]] = (self._puller, self._branches, self._holes)
        self._server = Server(replica, self.frontier, self.peers)
        self._forks = ForkDesk(replica, roster, rng)
        keyring = self._keyring = Keyring(replica.id, self.id.key, replica.transport_keys, rng)
        self._stragglers = Stragglers(replica, keyring, self.frontier, self.peers, self._server, rng, now)
        self._gate = Gate(self.id, keyring, self.peers, self._stragglers.peers, roster, replica.identity.unseal)
        self._traffic = Traffic()
        self._voice = Voice(
            self.id,
            replica.identity,
            keyring,
            self._gate,
            peers=self.peers,
            traffic=self._traffic,
            randomness=rng.randbytes,
        )
        self._trickle = Trickle(
            now, rng, minimum=BEACON_MIN_SECONDS, maximum=BEACON_MAX_SECONDS, redundancy=BEACON_REDUNDANCY
        )
        self._repair = Repair(replica, self.frontier, roster, self._puller, rng, self.id, now)
        self._alarms = Alarms()
        self._own = OwnFeed(replica, self.frontier, self.peers, self._alarms, now)
        self._leaks = LeakWatch(replica, self._alarms)
        self.connected = False
        self._alone = True  # nobody was heard since we connected
        self.counters: Counter[str] = Counter()
        self._intake = Intake(replica, roster, self.frontier, self._forks, self._alarms, self.counters, changed)
        self._subject = Subject(
            me=self.id,
            replica=replica,
            frontier=self.frontier,
            peers=self.peers,
            prober=self._prober,
            puller=self._puller,
            holes=self._holes,
            desks=self._desks,
            delivery=self._own.delivery,
            trickle=self._trickle,
            alarms=self._alarms,
            traffic=self._traffic,
        )

    # --- what there is to see -----------------------------------------------------------------------------------

    def in_sync(self, now: float) -> bool:
        """Whether we hold all that every peer heard lately has shown, and one of them has shown it since we connected.

        Who does not answer is not waited for; where nobody answers, nothing is known.
        """
        if self._alone or not (self._puller.idle and self._branches.idle and self._prober.idle and self._repair.idle):
            return False
        level = False
        for peer in self.peers:
            if peer.beacon is None or peer.gone or now - peer.heard_at > PEER_SECONDS:
                continue
            level |= peer.level
            if not peer.level and peer.failures < PATIENCE_FAILURES:
                return False
        return level

    def status(self, now: float) -> dict[str, Any]:
        """A picture for people and programs: plain data, bounded; its fields are in `picture`."""
        return {
            "in_sync": self.connected and self.in_sync(now),
            **picture(self._subject, now),
            "transport_key": self._keyring.current.codec.key_id.hex(),
            "stragglers": sum(now - peer.heard_at <= PEER_SECONDS for peer in self._stragglers.peers),
            "older_keys": len(self._keyring.older),
            "counters": dict(self.counters),
        }
