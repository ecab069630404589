"""One run from one seed: a world is made as the seed's plan has it, goes through its faults, and must come to rest."""

from __future__ import annotations

import ctypes
import gc
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from traceback import format_exception

from medledger import Reading
from medledger.governing import change_epoch

from .disk import PowerCut
from .happenings import Happenings, approve_soon
from .machine import Machine
from .plan import HAPPENINGS, Plan
from .truth import Failure
from .world import World

EVENTS = 20_000
"""Events of a run before it is calm."""

SETTLING_SECONDS = 30.0
ENEMY_SECONDS = 0.5  # between two acts of an enemy, on average


@dataclass
class Result:
    """What a run came to. `failure` is None where every invariant held."""

    seed: int
    plan: str
    events: int = 0
    simulated: float = 0.0
    frames: int = 0
    trace: str = ""
    converged_after: float | None = None  # seconds of calm until one digest
    ready_after: float | None = None  # and until all that can know what they have signed do
    machines: int = 0
    compared: int = 0  # machines whose digests are held against each other in the end
    acknowledged: int = 0  # blocks that `append` returned, and no restored backup took back
    failure: str | None = None
    traceback: str = ""  # of an exception that is behind the failure
    faults: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    alarms: Counter[str] = field(default_factory=Counter)
    largest: dict[str, int] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


def run_seed(seed: int, events: int = EVENTS, plan: Plan | None = None) -> Result:
    """Run a seed to its end or its first failure, as its own plan has it or as this one."""
    try:
        return _run(seed, events, plan)
    finally:
        _give_memory_back()


def _give_memory_back() -> None:
    """A world is one knot of references, all over the heap: without this one would grow on top of the last."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)


def _run(seed: int, events: int, plan: Plan | None) -> Result:
    plan = plan or Plan.draw(Random(f"medledger plan {seed}"))
    result = Result(seed, str(plan))
    with World(seed) as world:
        try:
            populate(world, plan)
            _live_through(world, plan, events)
            world.be_calm()
            result.converged_after = world.converge()
            world.finish()
        except Failure as failure:
            result.failure = str(failure)
            if failure.__cause__ is not None:
                result.traceback = "".join(format_exception(failure))
        except (Exception, PowerCut) as error:  # noqa: BLE001 - whatever escapes is a finding, and this is its seed
            result.failure = f"no escaping exception: {error!r}"
            result.traceback = "".join(format_exception(error))
        _sum_up(world, result)
    return result


def populate(world: World, plan: Plan) -> None:
    """Found the ledger, enrol everybody, and let them meet in good weather."""
    founder = world.found()
    for number in range(1, plan.governors):
        governor = world.join(founder, f"governor{number}", "hospital")
        assert governor is not None  # nothing goes wrong yet
        world.governors.append(governor)
    for number in range(plan.members):
        world.join(founder, f"bedside{number}", "bedside")
    if plan.auditor:
        world.join(founder, "auditor", "auditor")
    enemies = [world.enemy(founder) for _ in range(plan.enemies)]
    if plan.governors > 1:
        ledger = founder.ledger
        assert ledger is not None  # nothing goes wrong yet
        change_epoch(ledger, governors=[each.me for each in world.governors], threshold=plan.governors // 2 + 1)
    if not world.run(SETTLING_SECONDS, until=world.level):
        raise Failure("convergence", "a new world does not settle")
    for enemy in enemies:
        world.every(ENEMY_SECONDS, enemy.act, world.fork_rng(f"acts {enemy.number}"))


def _live_through(world: World, plan: Plan, events: int) -> None:
    """Write, and let the plan's faults happen."""
    world.broker.weather = plan.weather

    def start_writing(machine: Machine) -> None:
        rng = world.fork_rng(f"writes {machine.number}")

        def write() -> None:
            for _ in range(rng.randrange(plan.burst) + 1):
                if not machine.write(reading(rng)):
                    break  # nor would it take the rest

        world.every(plan.write_seconds, write, rng)

    world.start_writing = start_writing
    for machine in world.machines:
        if machine.name != "auditor":
            start_writing(machine)
    happenings = Happenings(world, world.fork_rng("happenings"))
    if plan.happenings:
        weights = [HAPPENINGS[name] for name in plan.happenings]
        rng = world.fork_rng("what happens")
        world.pace(plan.pace, lambda: happenings.happen(rng.choices(plan.happenings, weights)[0]), rng)
    world.run(float("inf"), events=events)
    approve_soon(world, world.fork_rng("last approvals"))


def reading(rng: Random) -> Reading:
    """One reading; rarely a large one."""
    count = 1 if rng.random() < 0.9 else rng.choice([5, 50])
    return Reading(device="MON-7", samples=[("8867-4", str(rng.randrange(40, 180)), "/min") for _ in range(count)])


def _sum_up(world: World, result: Result) -> None:
    result.events = world.trace.events
    result.lines = world.trace.lines()
    result.simulated = world.now
    result.frames = world.broker.frames
    for machine in world.machines:  # what it did to its disk, and what came of it, are part of what repeats
        held = b"" if machine.ledger is None or result.failure is not None else machine.ledger.digest()
        world.trace.note(world.now, machine.name, "end", machine.disk.points.to_bytes(8, "big") + held)
    result.trace = world.trace.digest
    result.faults = world.faults
    result.ready_after = world.ready_after
    result.machines = sum(not each.dead for each in world.machines)
    result.compared = len(world.comparable())
    result.acknowledged = sum(len(each.acknowledged) for each in world.machines)
    result.largest = world.checks.largest
    for machine in world.machines:
        result.refusals += machine.refusals
        result.alarms += Counter({_kind(text): count for text, count in machine.alarms.items()})


def _kind(alarm: str) -> str:
    """An alarm without what differs from one to the next."""
    return " ".join(word for word in alarm.split() if not any(c.isdigit() or c == "-" or c == "/" for c in word))
