"""`verify --every-signature`: each block's own signature, on one core and on two.

The two take turns; compared are the shortest of the rounds, because whatever else runs on the machine can only make a
round longer, and two processes meet more of it than one. How much two cores are worth at the time is measured in the
same turns, by bare checks in two processes that exist already, and stands in the line's `method`: on a shared or
hyperthreaded machine it can be far from two, and nothing can gain more.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from .growing import grow
from .measure import Line, SignatureCheck, in_turns, line
from .scale import Scale
from .world import World

CORES = 2


def every_signature(place: Path, scale: Scale) -> Iterator[Line]:
    """The rate on two cores over the rate on one."""
    world = World()
    with world.replica(place / "ledger.db") as replica, ProcessPoolExecutor(CORES, get_context("spawn")) as pool:
        grow(replica, world.author().readings(scale.verified))
        checks = scale.verified // 10
        list(pool.map(check_signatures, [1] * CORES))  # start them
        one, two, bare_one, bare_two = map(
            min,
            in_turns(
                (
                    lambda: replica.verify(every_signature=True),
                    lambda: replica.verify(every_signature=True, processes=CORES),
                    lambda: list(pool.map(check_signatures, [checks])),
                    lambda: list(pool.map(check_signatures, [checks] * CORES)),
                ),
                scale.verify_rounds,
            ),
        )
        report = replica.verify(every_signature=True, processes=CORES)
    yield line(
        "every-signature-2-cores",
        scale.verified / two,
        "blocks/s",
        reference=f"the same on one core ({scale.verified / one:.0f} blocks/s)",
        ratio=one / two,
        bar=1.7,
        at_least=True,
        method=f"shortest of {scale.verify_rounds} rounds over {scale.verified} blocks, taken in turns; bare checks "
        f"gain {CORES * bare_one / bare_two:.2f} from the second core",
        result=[report.blocks, report.own_signatures, report.size_bytes, report.through_successor],
    )


def check_signatures(count: int) -> None:
    """So many bare checks. Runs in other processes."""
    SignatureCheck().sample(count)
