"""Live validation: one block as gossip hands it over, against the check of that very block's signature.

Checks of the bare signature and validations take turns. Compared are the fastest rounds, as for all that is short and
can be repeated at will: a round that is slower was disturbed. What the medians give stands in the line's `method`; they
are higher on a busy machine, where Python loses more of its caches than libsodium does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from nacl.bindings import crypto_sign_open

from medledger.block import split_block
from medledger.header import parse_header, signed_message, signing_prefix
from medledger.validation import validate_block

from .measure import Line, in_turns, line
from .scale import Scale
from .world import World

REPEATS = 10


def live_validation(_place: Path, scale: Scale) -> Iterator[Line]:
    """One block at a time, of one entry and of sixteen."""
    for entries, bar in ((1, 1.25), (16, 1.6)):
        world = World()
        author = world.author()
        for _ in author.readings(70, entries):
            pass
        head = author.head
        raw = next(author.readings(1, entries))
        _, payload, signature = parse_header(split_block(raw)[0])
        signed = signature + signed_message(signing_prefix(world.ledger_id), payload)
        feed = world.box.public_key

        def bare(signed: bytes = signed, feed: bytes = feed) -> None:
            for _ in range(REPEATS):
                crypto_sign_open(signed, feed)

        def live(raw: bytes = raw, feed: bytes = feed, world: World = world, head: object = head) -> None:
            for _ in range(REPEATS):
                validate_block(world.ledger_id, feed, head, raw)  # type: ignore[arg-type]

        rounds = in_turns((bare, live), scale.live)
        alone, whole = (min(times) / REPEATS for times in rounds)
        middle = median(rounds[1]) / median(rounds[0])
        yield line(
            f"live-validation-{entries}",
            whole * 1e6,
            "us/block",
            reference="crypto_sign_open of the block's own message",
            ratio=whole / alone,
            bar=bar,
            method=f"fastest of {scale.live} rounds of {REPEATS}, taken in turns (by medians: {middle:.3f})",
            result=[validate_block(world.ledger_id, feed, head, raw)],
        )
