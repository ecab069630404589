"""What is measured of an agent when somebody asks for its metrics. What is counted all the time stands in meters.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from medledger.clock import system_clock
from medledger.header import Sync
from medledger.ledger import FORKED, READ_ONLY, READY, RECOVERING, REVOKED, Ledger

from .exposition import Figure
from .inbox import Inbox
from .report import firmware
from .spool import Spool

STATES: Final = (READY, RECOVERING, FORKED, REVOKED, READ_ONLY)


class Sources(NamedTuple):
    """What is measured. `gossip` is as `Gossip.status` gives it, None where there is no gossip."""

    ledger: Ledger
    inbox: Inbox
    spool: Spool
    gossip: Mapping[str, Any] | None
    faults: Mapping[str, str]


def figures(sources: Sources) -> Iterator[Figure]:
    """Everything, each under its name. Asks the databases. Raises `StoreError`."""
    yield Figure("info", "The software.", 1, ("version", firmware()))
    yield Figure("healthy", "Whether there is no fault: 1 or 0.", not sources.faults)
    yield Figure("faults", "Faults, as /health names them.", len(sources.faults))
    state = sources.ledger.state
    for each in STATES:
        yield Figure("ledger_state", "1 for the state that the ledger is in.", state == each, ("state", each))
    yield Figure(
        "clock_synchronised",
        "Whether something disciplines this box's clock, as far as can be seen: 1 or 0.",
        system_clock()[1].sync == Sync.NTP,
    )
    yield from _spool(sources)
    yield from _gossip(sources.gossip)


def _spool(sources: Sources) -> Iterator[Figure]:
    usage = sources.spool.usage
    sizes = {} if usage is None else {"inbox": usage.inbox, "unconfirmed": usage.unconfirmed}
    for kind, size in sizes.items():
        doc = "Bytes of the inbox, and of own blocks that no peer confirmed (about)."
        yield Figure("spool_bytes", doc, size, ("kind", kind))
    free = None if usage is None else usage.free
    yield Figure("disk_free_bytes", "Bytes free on the fuller of the disks of inbox and ledger.", free)
    yield Figure("spool_full", "Whether nothing is acknowledged for want of room: 1 or 0.", "spool" in sources.faults)
    hours = sources.spool.hours_left
    left = None if hours is None else hours * 3600
    yield Figure("spool_left_seconds", "How long the disk lasts at the present rate, where known.", left)
    yield Figure("inbox_open", "Messages that are neither logged nor refused yet.", sources.inbox.open_messages())


def _gossip(status: Mapping[str, Any] | None) -> Iterator[Figure]:
    if status is None:
        return
    yield Figure("broker_connected", "Whether a broker is connected: 1 or 0.", status["connected"])
    yield Figure("peers", "Peers heard within the last minutes.", status["peers"])
    yield Figure("own_blocks", "The length of this box's own feed.", status["own_blocks"])
    yield Figure(
        "own_blocks_unconfirmed", "Own blocks that no peer has shown to hold.", status["own_blocks_unconfirmed"]
    )
    yield Figure(
        "own_blocks_unconfirmed_seconds",
        "How long the oldest of them waits; 0 where none does.",
        status["own_blocks_unconfirmed_seconds"] or 0,
    )
    yield Figure("feeds_behind", "Feeds of which a peer holds more.", status["feeds_behind"])
