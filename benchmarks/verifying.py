"""`verify --every-signature`: each block's own signature, on one core and on two.

The two take turns; compared are the shortest of the rounds, because whatever else runs on the machine can only make a
round longer, and two processes meet more of it than one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .growing import grow
from .measure import Line, in_turns, line
from .scale import Scale
from .world import World


def every_signature(place: Path, scale: Scale) -> Iterator[Line]:
    """The rate on two cores over the rate on one."""
    world = World()
    with world.replica(place / "ledger.db") as replica:
        grow(replica, world.author().readings(scale.verified))
        one, two = in_turns(
            (
                lambda: replica.verify(every_signature=True),
                lambda: replica.verify(every_signature=True, processes=2),
            ),
            scale.verify_rounds,
        )
        report = replica.verify(every_signature=True, processes=2)
    yield line(
        "every-signature-2-cores",
        scale.verified / min(two),
        "blocks/s",
        reference=f"the same on one core ({scale.verified / min(one):.0f} blocks/s)",
        ratio=min(one) / min(two),
        bar=1.7,
        at_least=True,
        method=f"shortest of {scale.verify_rounds} rounds over {scale.verified} blocks, taken in turns",
        result=[report.blocks, report.own_signatures, report.size_bytes, report.through_successor],
    )
