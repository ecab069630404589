"""What a box goes through on its disk, and what it has promised whenever the power may be cut.

- `Life` is one box: the shipped ledger on a simulated disk, with the outside world that it meets (members that write,
  fork and are revoked; a bundle on a stick; a peer that gives back what it was given).
- `Promises` is what the outside has been told: what was acknowledged, what has left. It is noted after each call
  returns, so that at any point of the disk it holds what that moment owes.
- A life can be lived on from any state of the disk (`go_on`): what is not there yet is done again by the calls that
  made it the first time.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forge import Chain, small_entry
from medledger import Identity, Ledger, Reading, make_request
from medledger.block import parse_block
from medledger.clock import Clock
from medledger.fork import make_proof
from medledger.header import Sync
from sim.disk import Disk
from sim.mounting import mounted

DATABASE, KEY = "box.db", "box.key"
_feeds: dict[tuple[bytes, str], Chain] = {}


@dataclass
class Promises:
    """What the box has told the outside."""

    keyed: bool = False  # the key was said to be stored
    created: bool = False  # the ledger was said to exist
    held: set[bytes] = field(default_factory=set)  # ids of blocks that a call said are durable
    forks: set[bytes] = field(default_factory=set)  # feeds whose fork is said to be known
    released: dict[int, bytes] = field(default_factory=dict)  # own blocks that have left: seq to id
    raws: dict[int, bytes] = field(default_factory=dict)  # the same, as a peer would give them back

    def copy(self) -> Promises:
        """As of now."""
        return Promises(self.keyed, self.created, set(self.held), set(self.forks), dict(self.released), dict(self.raws))


def key(name: str) -> Identity:
    """The same key in each run."""
    return Identity.from_seed(hashlib.sha256(name.encode()).digest())


@dataclass(frozen=True)
class Joined:
    """A ledger that boxes join: the reply to their request, and all of it on a stick."""

    reply: str
    bundle: Path


MEMBERS = ("member", "forker 0", "forker 1", "forker 2", "accused", "guest 1", "guest 2")


@dataclass
class Life:
    """One box and what it does, chosen by `rng`; `promises` says what it owes at each moment."""

    disk: Disk
    rng: random.Random
    joins: Joined | None = None  # None where it founds a ledger itself
    promises: Promises = field(default_factory=Promises)
    ticks: int = 1_700_000_000_000

    # --- starting -----------------------------------------------------------------------------------------------

    def clock(self) -> tuple[int, Clock]:
        """A clock that goes on by a millisecond a look."""
        self.ticks += 1
        return self.ticks, Clock(self.ticks % 10**9, b"bootboot", Sync.NTP)

    def identity(self) -> Identity:
        """The key of the box, stored if it was not."""
        path = self.disk.path(KEY)
        if self.disk.find(KEY) is None:
            key("box").save(path)
        found = Identity.load(path)
        assert found.public_key == key("box").public_key
        self.promises.keyed = True
        return found

    def start(self) -> Ledger:
        """The ledger of the box, founded or joined where it is not there yet."""
        path, me = self.disk.path(DATABASE), self.identity()
        options: dict[str, Any] = {"clock": self.clock, "randomness": self.rng.randbytes}
        if self.disk.find(DATABASE) is not None:
            ledger = Ledger.open(path, me, **options)
        elif self.joins is None:
            ledger = Ledger.create(path, me, name="Ward", label="box", roles=["hospital"], **options)
        else:
            ledger = Ledger.join(path, me, self.joins.reply, bytes(16), **options)
        self.promises.created = True
        self.note(ledger)
        return ledger

    def note(self, ledger: Ledger) -> None:
        """A call has returned: all that the store shows now was said to be durable."""
        self.promises.held |= ids_in(ledger)
        self.promises.forks |= set(ledger.forks)

    # --- doing --------------------------------------------------------------------------------------------------

    def append(self, ledger: Ledger) -> None:
        """One block, of one reading or a few."""
        self.promises.held.add(ledger.append(*(self.reading() for _ in range(self.rng.choice([1, 1, 1, 3])))).id)

    def append_large(self, ledger: Ledger) -> None:
        """A block of many pages."""
        readings = [
            Reading(device="MON-7", samples=[("8867-4", str(100 * n + at), "/min") for at in range(60)])
            for n in range(8)
        ]
        self.promises.held.add(ledger.append(*readings).id)

    def append_together(self, ledger: Ledger) -> None:
        """Three threads append at once and share a commit."""
        blocks: list[Any] = []
        errors: list[BaseException] = []

        def append(record: Reading) -> None:
            try:
                blocks.append(ledger.append(record))
            except BaseException as error:  # noqa: BLE001 - handed on below
                errors.append(error)

        threads = [threading.Thread(target=append, args=(self.reading(),)) for _ in range(3)]
        with ledger.writer._turn:  # until all of them stand in line
            for waiting, thread in enumerate(threads, 1):
                thread.start()
                while len(ledger.writer._queue) < waiting and thread.is_alive():
                    thread.join(0.0001)
        for thread in threads:
            thread.join()
        self.promises.held.update(block.id for block in blocks)
        if errors:
            raise errors[0]

    def release(self, ledger: Ledger) -> None:
        """What others have not seen leaves."""
        assert ledger.me is not None
        start = max(self.promises.released, default=-1) + 1
        for raw in ledger.release(ledger.me, start, start + self.rng.choice([1, 5, 100])):
            block = parse_block(raw)
            self.promises.released[block.seq] = block.id
            self.promises.raws[block.seq] = raw

    def import_some(self, ledger: Ledger) -> None:
        """What a member wrote: some of it new, some not, in one transaction."""
        feed = self.chain(ledger, "member", 0)
        head = ledger.head(feed.author.public_key)
        start = 0 if head is None else head.seq + 1
        stop = start + self.rng.randrange(1, 40)
        ledger.import_blocks(self.chain(ledger, "member", stop).raws[max(0, start - 2) : stop])
        self.note(ledger)

    def import_fork(self, ledger: Ledger) -> None:
        """Both branches of a member that forks."""
        name = f"forker {self.rng.randrange(3)}"
        one = self.chain(ledger, name, 5)
        other = one.branch(3)
        other.add([small_entry(1000)])
        other.add()
        ledger.import_blocks(one.raws)
        ledger.import_blocks(other.raws)
        self.note(ledger)

    def import_proof(self, ledger: Ledger) -> None:
        """A fork proof arrives before any block of its feed."""
        if not ledger.knows(key("accused").public_key):
            return
        one = self.chain(ledger, "accused", 3)
        other = one.branch(2)
        other.add([small_entry(1000)])
        headers = [[parse_block(chain.raws[2]).header_bytes] for chain in (one, other)]
        ledger.import_fork_proof(make_proof(ledger.id, *headers).raw)
        self.note(ledger)

    def import_bundle(self, ledger: Ledger) -> None:
        """A whole replica from a stick."""
        if self.joins is not None:
            ledger.import_bundle(self.joins.bundle)
            self.note(ledger)

    def enrol(self, ledger: Ledger) -> None:
        """A governor takes a member in."""
        name = self.rng.choice(MEMBERS)
        if self.joins is None and not ledger.knows(key(name).public_key):
            ledger.enrol(make_request(key(name), secret=bytes(16), label=name, roles=["hospital"]))
            self.note(ledger)

    def revoke(self, ledger: Ledger) -> None:
        """A governor cuts a guest's feed, and takes away what lies beyond."""
        guest = key("guest 1").public_key
        if self.joins is None and ledger.knows(guest) and guest not in ledger.membership.cuts:
            ledger.import_blocks(self.chain(ledger, "guest 1", 6).raws)
            ledger.revoke(guest, after=2)
            self.note(ledger)

    def read(self, ledger: Ledger) -> None:
        """The indexes catch up."""
        ledger.index(self.rng.choice([5, None]))

    def reindex(self, ledger: Ledger) -> None:
        """The indexes are made again."""
        ledger.reindex()

    def listen(self, ledger: Ledger) -> None:
        """A peer says how much of our feed it holds, and gives it back where we lack it."""
        listen(ledger, self.promises)
        self.note(ledger)

    def backup(self, ledger: Ledger) -> None:
        """A copy for other programs."""
        if self.disk.find("copy.db") is None:
            ledger.backup(self.disk.path("copy.db"))

    def chain(self, ledger: Ledger, name: str, length: int) -> Chain:
        """A member's feed, at least so long. It is the same feed for other lives in the same ledger."""
        feed = _feeds.setdefault((ledger.id, name), Chain(key(name), ledger.id))
        return feed.grow(max(0, length - len(feed.raws)))

    def reading(self) -> Reading:
        """A heart rate."""
        return Reading(device="MON-7", samples=[("8867-4", str(self.rng.randrange(40, 180)), "/min")])

    # --- a life -------------------------------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        """Begin, and do so many things; start the program again now and then, in good order."""
        with mounted(self.disk):
            ledger = self.start()
            self.import_bundle(ledger)
            for _ in range(steps):
                self.step(ledger)
                if self.rng.random() < 0.05:
                    ledger.close()
                    ledger = self.start()
            ledger.close()

    def step(self, ledger: Ledger) -> None:
        """One thing that a box does."""
        actions: list[tuple[int, Callable[[Ledger], None]]] = [
            (30, self.append),
            (2, self.append_large),
            (8, self.append_together),
            (20, self.release),
            (15, self.import_some),
            (3, self.import_fork),
            (2, self.import_proof),
            (2, self.import_bundle),
            (6, self.enrol),
            (3, self.revoke),
            (4, self.read),
            (1, self.reindex),
            (2, self.listen),
            (1, self.backup),
        ]
        weights, choices = zip(*actions, strict=True)
        self.rng.choices(choices, weights)[0](ledger)


def ledger_to_join(stick: Path) -> Joined:
    """Found a ledger, the same each time, enrol the box and the others, and write all of it to a stick."""
    disk = Disk("founder")
    life = Life(disk, random.Random(0))
    options: dict[str, Any] = {"clock": life.clock, "randomness": life.rng.randbytes, "roles": ["hospital"]}
    with mounted(disk), Ledger.create(disk.path("f.db"), key("founder"), name="Ward", **options) as founder:
        reply = founder.enrol(make_request(key("box"), secret=bytes(16), label="box", roles=["bedside"]))
        for name in MEMBERS:
            founder.enrol(make_request(key(name), secret=bytes(16), label=name, roles=["hospital"]))
        founder.import_blocks(Chain(key("member"), founder.id).grow(60).raws)
        founder.export_bundle(stick)
    return Joined(reply, stick)


def ids_in(ledger: Ledger) -> set[bytes]:
    """Every block that a replica holds, standing or disputed, by its id."""
    store = ledger.store
    standing = {hashlib.sha256(row.header).digest() for feed in list(store.feeds.values()) for row in store.rows(feed)}
    return standing | {block.id for block in ledger.disputed()}


def listen(ledger: Ledger, promises: Promises) -> None:
    """An honest peer gives back all that has left this box, and says that it has no more."""
    ledger.import_blocks(raw for _, raw in sorted(promises.raws.items()))
    ledger.peer_has_no_more(len(promises.raws))
