"""What can be set for an auditor's replica. It holds what the ledger says and nothing else: no inbox, no ports."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from ..config import GossipSection, LedgerSection, LogSection
from ..settings import Key, Whole, load


@dataclass(frozen=True, slots=True)
class ReplicaSection:
    """What the replica says of itself in the log."""

    report_minutes: Annotated[
        int,
        Key(
            Whole(0, 7 * 24 * 60),
            "How often the log says how it stands, besides each time that this changes; 0 for changes only.",
        ),
    ] = 60


@dataclass(frozen=True, slots=True)
class AuditorConfig:
    """An auditor's replica: holds all that the others hold, and writes nothing."""

    ledger: LedgerSection = field(default_factory=LedgerSection)
    gossip: GossipSection = field(default_factory=GossipSection)
    replica: ReplicaSection = field(default_factory=ReplicaSection)
    log: LogSection = field(default_factory=LogSection)

    @classmethod
    def load(cls, path: Path) -> AuditorConfig:
        """The configuration in a file. Raises `ConfigurationError`."""
        return load(path, cls)
