"""A simulated world: machines around one broker, and one seed that everything in it comes from.

A run has two parts. In the first, until its events are used up, people write and things go wrong, as the seed's
`Plan` has it. In the second nothing goes wrong any more, and all honest replicas must come to hold the same within
three of the longest beacon intervals. The invariants (`checks`) hold all the time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from random import Random
from typing import Any

from medledger import make_request
from medledger.keys import fingerprint
from medledger.limits import BEACON_MAX_SECONDS
from medledger.sync.topics import Topics
from medledger.transport_key import TransportKey

from .broker import Broker, Weather
from .checks import Checks
from .disk import Disk, Mode
from .enemies import Enemy
from .machine import DATABASE, Machine, WatchedLedger
from .mounting import mounted
from .schedule import Schedule
from .trace import Trace
from .truth import Failure, Pen, Truth

CONVERGENCE_SECONDS = 3 * BEACON_MAX_SECONDS
LOOK_SECONDS = 2.0
STUCK = 100_000  # events at one moment
ENEMIES = 1000  # the first enemy's number among the broker's clients


class World:
    """Machines, their broker, and what happens to them."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._mounts = ExitStack()
        self.rng = Random(f"medledger simulation {seed}")
        self.schedule = Schedule()
        self.trace = Trace()
        self.truth = Truth()
        self.checks = Checks(self.truth)
        self.faults: Counter[str] = Counter()
        self.broker = Broker(self.schedule, self.fork_rng("broker"), self.faults)
        self.machines: list[Machine] = []
        self.governors: list[Machine] = []
        self.enemies: list[Enemy] = []
        self.ledger_id = b""
        self._key: TransportKey | None = None
        self.start_writing: Callable[[Machine], None] = lambda _: None
        self._next_happening = float("inf")
        self._happen: Callable[[], None] = lambda: None
        self.calm = False
        self.ready_after: float | None = None

    def fork_rng(self, name: str) -> Random:
        """Randomness of one part of the world, so that parts do not shift each other's."""
        return Random(f"medledger simulation {self.seed} {name}")

    @property
    def now(self) -> float:
        return self.schedule.now

    def __enter__(self) -> World:
        return self

    def __exit__(self, kind: object, exception: BaseException | None, where: object) -> None:
        if isinstance(exception, Failure):
            exception.seed = self.seed
        for machine in self.machines:
            machine.disk.crash(Mode.KILLED, machine.rng)  # SQLite would hold every disk for ever
        self._mounts.close()

    def mount(self, disk: Disk) -> Disk:
        """Let the shipped code find a disk, as long as this world lasts."""
        self._mounts.enter_context(mounted(disk))
        return disk

    # --- people -------------------------------------------------------------------------------------------------

    def machine(self, name: str, *, disk: Disk | None = None, seed: bytes | None = None) -> Machine:
        """A machine with a key and an empty disk, or with those given."""
        rng = self.fork_rng(f"machine {len(self.machines)} {name}")
        own_seed = rng.randbytes(32)
        disk = self.mount(disk or Disk(f"{len(self.machines)}-{name}"))
        machine = Machine(
            len(self.machines),
            name,
            disk=disk,
            seed=seed or own_seed,
            schedule=self.schedule,
            broker=self.broker,
            truth=self.truth,
            trace=self.trace,
            faults=self.faults,
            rng=rng,
        )
        self.machines.append(machine)
        self.checks.watch(machine)
        return machine

    def found(self, name: str = "governor", **options: Any) -> Machine:
        """The machine that founds the ledger."""
        machine = self.machine(name)
        path = machine.disk.path(DATABASE)
        made = WatchedLedger.create(
            path, machine.pen, name="A simulated ward", label=name, roles=["hospital"], **options, **machine.options
        )
        machine.adopt(made)
        self.governors.append(machine)
        self.ledger_id = made.id
        return machine

    def join(self, governor: Machine, name: str, role: str) -> Machine | None:
        """A newcomer that the governor enrols, with nothing but the reply; None where the governor cannot."""
        ledger = governor.ledger
        if ledger is None:
            return None
        machine = self.machine(name)
        secret = machine.rng.randbytes(16)
        request = make_request(machine.pen, secret=secret, label=name, roles=[role])
        replies: list[str] = []
        if not governor.attempt(lambda: replies.append(ledger.enrol(request))):
            machine.dead = True
            return None
        path = machine.disk.path(DATABASE)
        joined = WatchedLedger.join(path, machine.pen, replies[0], secret, **machine.options)
        machine.adopt(joined)
        return machine

    def clone(self, machine: Machine) -> Machine:
        """A copy of a machine's card, key and all, in another box. Neither program runs yet."""
        machine.halt()
        self.truth.guilty.add(machine.me)
        disk = machine.disk.copy(f"{len(self.machines)}-clone")
        twin = self.machine(f"{machine.name}'", disk=disk, seed=machine.seed)
        twin.acknowledged = list(machine.acknowledged)
        twin.disk_failed = machine.disk_failed
        return twin

    def enemy(self, governor: Machine) -> Enemy:
        """A byzantine member, enrolled like any other."""
        ledger = governor.ledger
        assert ledger is not None  # it runs
        rng = self.fork_rng(f"enemy {len(self.enemies)}")
        pen = Pen(rng.randbytes(32), self.truth)
        self.truth.guilty.add(pen.public_key)
        ledger.enrol(make_request(pen, secret=rng.randbytes(16), label="enemy", roles=["bedside"]))
        enemy = Enemy(
            ENEMIES + len(self.enemies),
            pen,
            ledger.id,
            self.transport_key,
            broker=self.broker,
            truth=self.truth,
            faults=self.faults,
            rng=rng,
        )
        self.enemies.append(enemy)
        return enemy

    def see_revocations(self) -> None:
        """Whom the governors have cut, as far as any honest machine knows, gets no new keys and is not compared.

        One that was proposed, and may never be approved, changes nothing.
        """
        cuts: set[bytes] = set()
        for each in self.honest():
            if each.ledger is not None:
                cuts.update(each.ledger.membership.cuts)
        for enemy in self.enemies:
            enemy.outcast |= enemy.pen.public_key in cuts
        for machine in self.machines:
            machine.honest = machine.honest and machine.me not in cuts

    def transport_key(self) -> TransportKey:
        """The key that honest members hold now, as far as the first of them knows that runs."""
        key = next((each.ledger.transport_key for each in self.honest() if each.ledger is not None), None)
        self._key = key or self._key
        assert self._key is not None  # a world begins with a machine that runs
        return self._key

    def live_topic(self, feed: bytes) -> str:
        """Where the live blocks of a feed are published."""
        return Topics(self.ledger_id, self.transport_key().key).live(feed)

    def honest(self) -> list[Machine]:
        """The machines that are to hold the same in the end."""
        return [machine for machine in self.machines if machine.honest and not machine.dead]

    def comparable(self) -> list[Machine]:
        """The honest machines that others know as members: an enrolment may have gone with a governor's disk."""
        honest = self.honest()
        known = [each.ledger.membership.known for each in honest if each.ledger is not None]
        return [each for each in honest if sum(each.me in keys for keys in known) > 1]

    # --- time ---------------------------------------------------------------------------------------------------

    def run(self, seconds: float, *, events: int | None = None, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass, or events: true as soon as `until` holds."""
        end = self.now + seconds
        last, stuck = self.now, 0
        step, trace = self.schedule.step, self.trace
        while events is None or trace.events < events:
            if not step(end):
                break
            if trace.events >= self._next_happening and not self.calm:
                self._happen()
            if self.now > last:
                last, stuck = self.now, 0
            else:
                stuck += 1
                if stuck > STUCK:
                    raise Failure("time goes on", f"{STUCK} events at {self.now}")
            if until is not None and until():
                return True
        return until is not None and until()

    def pace(self, events: float, act: Callable[[], object], rng: Random) -> None:
        """Do this again and again, at random, so many events apart on average, until the world is calm."""

        def happen() -> None:
            self._next_happening = self.trace.events + 1 + rng.expovariate(1 / events)
            act()

        self._happen = happen
        self._next_happening = self.trace.events + rng.expovariate(1 / events)

    def every(self, seconds: float, act: Callable[[], object], rng: Random) -> None:
        """Do this again and again, at random, so often on average, until the world is calm."""

        def again() -> None:
            if not self.calm:
                act()
                self.schedule.after(rng.expovariate(1 / seconds), again)

        self.schedule.after(rng.expovariate(1 / seconds), again)

    def be_calm(self) -> None:
        """From now on nothing goes wrong."""
        self.calm = True
        self.broker.weather = Weather()
        self.broker.censored.clear()
        self.broker.silenced.clear()
        self.broker.up = True
        for machine in self.machines:
            machine.group = 0
            machine.be_spared()
            if machine.honest:
                machine.boot()

    def level(self) -> bool:
        """Whether all honest replicas export the same digest: two at least, since one alone says nothing."""
        digests = set()
        self.see_revocations()
        compared = self.comparable()
        for machine in compared:
            if machine.ledger is None:
                return False
            digests.add(machine.ledger.digest())
        return len(digests) == 1 and len(compared) > 1

    def converge(self) -> float:
        """After the faults have stopped: how long it takes until all honest replicas hold the same.

        It returns when they also may sign, as far as what they wait for is here: `ready_after` says when that was.
        """
        start, level_after = self.now, None
        waiting: list[str] = []
        while self.now - start < CONVERGENCE_SECONDS:
            self.run(LOOK_SECONDS)
            if self.level():
                level_after = self.now - start if level_after is None else level_after
                waiting = [m.name for m in self.comparable() if m.waits_in_vain and not self._excused(m)]
                if not waiting:
                    self.ready_after = self.now - start
                    return level_after
        if self.level():
            raise Failure("recovery ends", f"after {CONVERGENCE_SECONDS:.0f} s: {', '.join(waiting)}")
        holders = Counter((m.ledger.digest().hex()[:8] if m.ledger else "down") for m in self.comparable())
        raise Failure("convergence", f"after {CONVERGENCE_SECONDS:.0f} s: {dict(holders)}")

    def _excused(self, machine: Machine) -> bool:
        """Whether a machine rightly does not sign: its card was cloned, or an enemy claims to hold more of its feed.

        A member's word keeps others from signing as long as it is heard, and they say whose word it is.
        """
        liars = [f"member {fingerprint(enemy.pen.public_key)} says" for enemy in self.enemies]
        lied = any(text.startswith(liar) for text in machine.told for liar in liars)
        return lied or machine.me in self.truth.guilty

    def finish(self) -> None:
        """The last checks, of everything that every machine holds: those that are not compared lose nothing either."""
        for machine in self.machines:
            if machine.ledger is not None:
                self.checks.in_the_end(machine)
