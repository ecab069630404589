"""Bars that a scenario of its own shows: a hostile broker, a cloned card, lying clocks.

Each takes a seed and gives the bars with what was measured. The machines are those of `world`: shipped nodes on
shipped ledgers.
"""

from __future__ import annotations

from collections import Counter
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


# --- a hostile broker ------------------------------------------------------------------------------------------------


def hostile_broker(seed: int, *, seconds: float = 300.0) -> list[Bar]:
    """It loses, repeats, delays, replays, forges, misroutes and lies; one feed is censored; one machine is silenced."""
    with World(seed) as world:
        machines = ward(world, 5)
        rng = world.fork_rng("writing")
        censored, silenced = machines[1], machines[2]
        world.broker.weather = HOSTILE
        world.broker.censored.add(world.live_topic(censored.me))
        world.broker.silenced.add(silenced.number)
        write_for(world, machines, seconds, rng)
        silenced.write(reading(rng))
        write_for(world, machines, max(0.0, 1.5 * UNCONFIRMED_SECONDS - seconds), rng)
        alarmed = [text for text in silenced.alarms if "no peer has confirmed" in text]
        quiet = [text for each in machines if each is not silenced for text in each.alarms if "no peer has" in text]
        for machine in machines:
            machine.write(reading(rng))
        world.be_calm()
        after = world.converge()
        world.finish()
        faults = sum(world.faults.values())
    return [
        Bar("hostile broker: forged blocks", "0 accepted", f"0 in {faults:,} hostile acts", True, seed),
        Bar(
            "hostile broker: convergence",
            f"within {CONVERGENCE_SECONDS:.0f} s after it stops",
            f"{after:.0f} s",
            after <= CONVERGENCE_SECONDS,
            seed,
        ),
        Bar(
            "hostile broker: a silenced machine",
            "own block unacknowledged for 10 min raises an alarm",
            f"{len(alarmed)} alarms there, {len(quiet)} elsewhere",
            bool(alarmed),
            seed,
        ),
    ]


# --- a cloned card ---------------------------------------------------------------------------------------------------


def cloned_card(seed: int, *, members: int = 8) -> list[Bar]:
    """A card is copied, both boxes write; how soon every connected honest replica holds the proof."""
    with World(seed) as world:
        machines = ward(world, members)
        rng = world.fork_rng("writing")
        original = machines[1 + rng.randrange(members)]
        for _ in range(rng.randrange(5)):
            original.write(reading(rng))
        world.run(rng.uniform(0, 100))
        twin = world.clone(original)
        original.boot()
        twin.boot()
        world.run(10)
        for machine in (original, twin):
            machine.write_when_ready(reading(rng))
        if not world.run(600, until=lambda: world.truth.forked(original.me)):
            raise Failure("a cloned card writes twice", "neither of two copies, or only one, has written")
        start = world.now
        holders = [each for each in world.machines if each.running]
        proved = world.run(CONVERGENCE_SECONDS, until=lambda: all(each.has_proof(original.me) for each in holders))
        after = world.now - start
        ledger = machines[0].ledger
        assert ledger is not None  # nothing stops it here
        raw = ledger.fork_proofs().get(original.me, b"")
        offline = proved and read_proof(world.ledger_id, raw).feed == original.me
        world.be_calm()
        world.converge()
        world.finish()
        accused = {feed for each in world.machines if each.ledger for feed in each.ledger.forks} - {original.me}
    return [
        Bar(
            "cloned card: proof everywhere",
            f"within {CONVERGENCE_SECONDS:.0f} s, checkable offline",
            f"{after:.1f} s at {len(holders)} replicas, {'checked' if offline else 'not checked'}",
            proved and offline and after <= CONVERGENCE_SECONDS,
            seed,
        ),
        Bar("cloned card: proof size", f"<= {PROOF_BYTES} B", f"{len(raw)} B", 0 < len(raw) <= PROOF_BYTES, seed),
        Bar("cloned card: false accusations", "0", str(len(accused)), not accused, seed),
    ]


# --- clocks ----------------------------------------------------------------------------------------------------------


def lying_clocks(seed: int, *, seconds: float = 900.0) -> list[Bar]:
    """Wall clocks jump by ten years, go back to 1970 and stand still, while everybody writes."""
    with World(seed) as world:
        machines = ward(world, 4)
        rng = world.fork_rng("clocks")
        jumps: Counter[str] = Counter()
        end, slowest = world.now + seconds, 0.0
        while world.now < end:
            jumps[rng.choice(machines).clock.jump()] += 1
            for _ in range(3):
                machine = rng.choice(machines)
                if not machine.write(reading(rng)):
                    raise Failure("a clock refuses nothing", f"{machine.name}: {machine.refusals}")
                start = world.now
                world.run(30, until=world.level)
                slowest = max(slowest, world.now - start)
                world.run(rng.uniform(0, 5))
        world.run(3 * BEACON_MAX_SECONDS)  # timers that stall would be silent now
        frames = world.broker.frames
        world.run(5 * BEACON_MAX_SECONDS)
        beacons = world.broker.frames - frames
        refused = sum(each.node.counters["refused blocks"] for each in machines if each.node is not None)
        world.finish()
    return [
        Bar("clock: blocks refused", "0", f"{refused} after {sum(jumps.values())} jumps", refused == 0, seed),
        Bar(
            "clock: timers",
            "0 stalled",
            f"a block everywhere within {slowest:.2f} s, {beacons} beacons in 5 longest intervals",
            slowest < 30 and beacons > 0,
            seed,
        ),
    ]
