"""The kinds of faults that a run counts, each where it strikes and not where it is planned.

A fault that had nothing to do counts for nothing: a disk that was mended before its planted error came up, a kill of a
program that does not run, an enemy's act while the broker is down. A kind that no run of many has hit is missing from
their sum: `rarest` says so.
"""

from __future__ import annotations

from collections.abc import Mapping

NETWORK = frozenset(
    {
        "censored frame",
        "damage",
        "delay",
        "duplication",
        "forgery",
        "last will",
        "loss",
        "lying retained message",
        "misrouting",
        "partitioned frame",
        "reordering",
        "replay",
    }
)

MACHINES = frozenset(
    {
        "I/O error",
        "cloned node",
        "connection lost",
        "disk full",
        "flush that loses what it was to save",
        "killed amid effects",
        "power cut, reordered",
        "power cut, torn at 512 B",
        "power cut, unsynced dropped",
        "process killed",
        "restored backup",
        "wall clock: 1970",
        "wall clock: frozen",
        "wall clock: ten years ahead",
        "wall clock: ten years back",
        "wall clock: two weeks back",
    }
)

PEOPLE = frozenset(
    {
        "broker restart",
        "censorship",
        "key rotation",
        "new epoch",
        "newcomer",
        "partition",
        "revocation",
    }
)

ENEMIES = frozenset(
    {
        "bad body",
        "beacon of a stranger",
        "block in another's name",
        "byzantine block",
        "byzantine fork",
        "byzantine gap",
        "changed block",
        "claim that does not deliver",
        "false beacon",
        "false envelope",
        "false leaves",
        "false proof",
        "false will",
        "frame in another's name",
        "probe of everybody",
        "query for everything",
        "rubbish for data",
        "unasked answer",
        "unsigned block",
        "want for branches",
        "want for everything",
    }
)

KINDS = NETWORK | MACHINES | PEOPLE | ENEMIES


def rarest(counts: Mapping[str, int]) -> tuple[str, int]:
    """The kind that struck least often, and how often: 0 where one did not strike at all."""
    unknown = counts.keys() - KINDS
    if unknown:
        raise ValueError(f"faults that no list names: {', '.join(sorted(unknown))}")
    return min(((name, counts.get(name, 0)) for name in KINDS), key=lambda item: (item[1], item[0]))
