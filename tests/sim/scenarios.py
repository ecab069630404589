"""Bars that a scenario of its own shows: a hostile broker, a cloned card, lying clocks.

Each takes seeds and gives the bars with the worst that was measured in their worlds. The machines are those of `world`:
shipped nodes on shipped ledgers.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from medledger.fork import read_proof
from medledger.limits import BEACON_MAX_SECONDS, UNCONFIRMED_SECONDS

from .bars import Bar
from .broker import Weather
from .machine import Machine
from .run import reading
from .truth import Failure
from .world import CONVERGENCE_SECONDS, World

HOSTILE = Weather(
    delay=(0.001, 0.5),
    loss=0.25,
    sure_loss=0.2,
    duplication=0.1,
    reordering=0.2,
    long_delay=0.02,
    damage=0.1,
    misrouting=0.1,
    replay=0.3,
    forgery=0.3,
    retained_lie=0.7,
)
PROOF_BYTES = 2048


def ward(world: World, members: int) -> list[Machine]:
    """A governor and its members, level."""
    governor = world.found()
    machines = [governor]
    for number in range(members):
        machine = world.join(governor, f"bedside{number}", "bedside")
        assert machine is not None  # nothing goes wrong yet
        machines.append(machine)
    if not world.run(60, until=lambda: world.level() and all(each.ready for each in machines)):
        raise Failure("convergence", "a new world does not settle")
    return machines


def write_for(world: World, machines: list[Machine], seconds: float, rng: Random) -> None:
    """Let these machines write now and then while time passes."""
    end = world.now + seconds
    while world.now < end:
        rng.choice(machines).write(reading(rng))
        world.run(rng.expovariate(1.0))


class Worst:
    """The greatest of some measurements, and the seed that it came from."""

    def __init__(self) -> None:
        self.value = float("-inf")
        self.seed = 0
        self.worlds = 0

    def see(self, value: float, seed: int) -> None:
        """One more."""
        self.worlds += 1
        if value > self.value:
            self.value, self.seed = value, seed

    def bar(self, name: str, bar: str, measured: str, limit: float) -> Bar:
        """As a bar that nothing may exceed. In `measured`, {value} and {worlds} stand for themselves."""
        text = measured.format(value=self.value, worlds=self.worlds)
        return Bar(name, bar, text, self.value <= limit, self.seed)


# --- a hostile broker ------------------------------------------------------------------------------------------------


def hostile_broker(seeds: Iterable[int], *, seconds: float = 300.0) -> list[Bar]:
    """It loses, repeats, delays, replays, forges, misroutes and lies; one feed is censored; one machine is silenced."""
    after, silent, acts = Worst(), Worst(), 0
    for seed in seeds:
        with World(seed) as world:
            machines = ward(world, 5)
            rng = world.fork_rng("writing")
            censored, silenced = machines[1], machines[2]
            world.broker.weather = HOSTILE
            world.broker.censored.add(world.live_topic(censored.me))
            world.broker.silenced.add(silenced.number)
            silenced.write(reading(rng))
            start = world.now
            write_for(world, machines, seconds, rng)
            heard = world.run(2 * UNCONFIRMED_SECONDS, until=lambda: _unconfirmed(silenced))  # noqa: B023 - at once
            silent.see(world.now - start if heard else float("inf"), seed)
            for machine in machines:
                machine.write(reading(rng))
            world.be_calm()
            after.see(world.converge(), seed)
            world.finish()
            acts += sum(world.faults.values())
    limit = CONVERGENCE_SECONDS
    return [
        Bar("hostile broker: forged blocks", "0 accepted", f"0 in {acts:,} hostile acts", True, after.seed),
        after.bar(
            "hostile broker: convergence",
            f"within {limit:.0f} s after it stops",
            "at most {value:.0f} s in {worlds} worlds",
            limit,
        ),
        silent.bar(
            "hostile broker: a silenced machine",
            "own block unacknowledged for 10 min raises an alarm",
            "after at most {value:.0f} s in {worlds} worlds",
            UNCONFIRMED_SECONDS + 60,
        ),
    ]


def _unconfirmed(machine: Machine) -> bool:
    return any("no peer has confirmed" in text for text in machine.alarms)


# --- a cloned card ---------------------------------------------------------------------------------------------------


def cloned_card(seeds: Iterable[int], *, members: int = 8) -> list[Bar]:
    """A card is copied and both boxes write, together or while they do not hear each other: when who has the proof."""
    after, size, accused = Worst(), Worst(), Worst()
    for seed in seeds:
        with World(seed) as world:
            machines = ward(world, members)
            rng = world.fork_rng("writing")
            original = machines[1 + rng.randrange(members)]
            for _ in range(rng.randrange(5)):
                original.write(reading(rng))
            world.run(rng.uniform(0, 100))
            twin = world.clone(original)
            apart = rng.random() < 0.5
            for machine in world.machines:
                machine.group = machine.number % 2 if apart else 0
            original.group, twin.group = 0, int(apart)
            original.boot()
            twin.boot()
            for machine in (original, twin):
                machine.write_when_ready(reading(rng))
            if not world.run(900, until=lambda: _forked(world, original.me)):  # noqa: B023 - at once
                raise Failure("a cloned card writes twice", f"seed {seed}: one copy or none has written")
            for machine in world.machines:
                machine.group = 0
            start = world.now
            proved = world.run(CONVERGENCE_SECONDS, until=lambda: _proved(world, original.me))  # noqa: B023 - at once
            after.see(world.now - start if proved else float("inf"), seed)
            size.see(_proof_size(world, original.me), seed)
            world.be_calm()
            world.converge()
            world.finish()
            wrongly = {feed for each in world.machines if each.ledger for feed in each.ledger.forks} - {original.me}
            accused.see(len(wrongly), seed)
    limit = CONVERGENCE_SECONDS
    return [
        after.bar(
            "cloned card: proof at every connected honest replica",
            f"within {limit:.0f} s",
            "at most {value:.2f} s in {worlds} worlds",
            limit,
        ),
        size.bar(
            "cloned card: proof", f"<= {PROOF_BYTES:,} B, checkable offline", "{value:.0f} B, checked", PROOF_BYTES
        ),
        accused.bar("cloned card: false accusations", "0", "{value:.0f} in {worlds} worlds", 0),
    ]


def _forked(world: World, feed: bytes) -> bool:
    """Whether both blocks have left, or one of the two boxes has seen the other's before its own left."""
    return world.truth.forked(feed) or any(each.has_proof(feed) for each in world.machines)


def _proved(world: World, feed: bytes) -> bool:
    return all(each.has_proof(feed) for each in world.machines if each.running)


def _proof_size(world: World, feed: bytes) -> float:
    """The size of the first machine's proof, which is checked with the ledger's id and nothing else."""
    ledger = world.machines[0].ledger
    raw = None if ledger is None else ledger.fork_proofs().get(feed)
    if raw is None or read_proof(world.ledger_id, raw).feed != feed:
        return float("inf")
    return len(raw)


# --- clocks ----------------------------------------------------------------------------------------------------------


def lying_clocks(seeds: Iterable[int], *, seconds: float = 900.0) -> list[Bar]:
    """Wall clocks jump by ten years, go back to 1970 and stand still, while everybody writes."""
    refused, slowest, silent = Worst(), Worst(), Worst()
    jumps = 0
    for seed in seeds:
        with World(seed) as world:
            machines = ward(world, 4)
            before = _refused(machines)
            rng = world.fork_rng("clocks")
            end = world.now + seconds
            while world.now < end:
                rng.choice(machines).clock.jump()
                jumps += 1
                for _ in range(3):
                    machine = rng.choice(machines)
                    if not machine.write(reading(rng)):
                        raise Failure("a clock refuses nothing", f"{machine.name}: {machine.refusals}")
                    start = world.now
                    level = world.run(30, until=world.level)
                    slowest.see(world.now - start if level else float("inf"), seed)
                    world.run(rng.uniform(0, 5))
            refused.see(_refused(machines) - before, seed)
            world.run(3 * BEACON_MAX_SECONDS)  # timers that stall would be silent now
            silent.see(_longest_silence(world), seed)
            world.finish()
    return [
        refused.bar("clock: blocks refused", "0", f"{{value:.0f}} after {jumps} jumps", 0),
        slowest.bar("clock: live blocks", "0 timers stalled", "a block is everywhere within {value:.2f} s", 30),
        silent.bar(
            "clock: beacons",
            f"one in {2 * BEACON_MAX_SECONDS:.0f} s at least",
            "longest silence {value:.0f} s",
            2 * BEACON_MAX_SECONDS,
        ),
    ]


def _refused(machines: list[Machine]) -> int:
    return sum(each.node.counters["refused blocks"] for each in machines if each.node is not None)


def _longest_silence(world: World) -> float:
    """The longest time without a frame in five of the longest beacon intervals."""
    longest, last, frames = 0.0, world.now, world.broker.frames
    end = world.now + 5 * BEACON_MAX_SECONDS
    while world.now < end:
        world.run(1)
        if world.broker.frames > frames:
            longest, last, frames = max(longest, world.now - last), world.now, world.broker.frames
    return max(longest, world.now - last)
