"""A founder and members with real ledgers, and the simulated network between their nodes."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

from gossip_network import Network, Station
from medledger import Identity, Ledger, make_request
from medledger.limits import BEACON_MAX_SECONDS
from worlds import found, join


class World:
    """A founder and members that join it, with a ledger each."""

    def __init__(self, directory: Path, seed: int, stack: ExitStack) -> None:
        print(f"seed {seed}")
        self.directory = directory
        self.stack = stack
        self.net = Network(seed)
        self.founder = stack.enter_context(found(directory))
        self.stations: dict[str, Station] = {"founder": self.connect("founder", self.founder)}

    def connect(self, name: str, ledger: Ledger) -> Station:
        """Give a ledger a node."""
        station = self.net.add(name, ledger)
        self.stack.callback(ledger.watch(lambda advance: self.net.advanced(station, advance)))
        return station

    def add(self, name: str, role: str = "bedside") -> Ledger:
        """A new member, in sync with the founder, with a node."""
        ledger = self.stack.enter_context(join(self.founder, self.directory, name, role))
        self.stations[name] = self.connect(name, ledger)
        return ledger

    def copy(self, ledger: Ledger, name: str) -> Path:
        """A copy of a closed ledger, its key and its witness, as another card would hold it."""
        ledger.close()
        target = self.directory / name
        target.mkdir()
        for path in self.directory.glob(f"{ledger.path.stem}.*"):
            shutil.copy(path, target / path.name)
        return target

    def restore(self, name: str, backup: Path) -> Ledger:
        """Stop a member, put a backup in its database's place, beside its key and witness, and open that; no node."""
        station = self.stations.pop(name)
        self.net.stop(station)
        station.replica.close()
        for path in self.directory.glob(f"{name}.db*"):
            path.unlink()
        shutil.copy(backup, self.directory / f"{name}.db")
        identity = Identity.load(self.directory / f"{name}.key")
        return self.stack.enter_context(Ledger.open(self.directory / f"{name}.db", identity))

    def settle(self, seconds: float = 3 * BEACON_MAX_SECONDS) -> None:
        """Let the network converge."""
        assert self.net.run(seconds, until=self.net.converged), f"seed {self.net.seed}: not converged"


def fresh_member(world: World, name: str, role: str) -> Ledger:
    """A member that has joined and holds nothing but the genesis."""
    identity = Identity.load_or_create(world.directory / f"{name}.key")
    secret = bytes(16)
    reply = world.founder.enrol(make_request(identity, secret=secret, label=name, roles=[role]))
    ledger = world.stack.enter_context(Ledger.join(world.directory / f"{name}.db", identity, reply, secret))
    world.stations[name] = world.connect(name, ledger)
    return ledger
