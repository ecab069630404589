"""What can be set for a bedside agent, beside what any agent has (../config.py)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from medledger.limits import MAX_ENTRIES_PER_BLOCK

from ..config import (
    CadenceSection,
    GossipSection,
    InboxSection,
    LedgerSection,
    LogSection,
    MetricsSection,
    SpoolSection,
    SubjectsSection,
)
from ..settings import Key, Seconds, Whole, Words, load


@dataclass(frozen=True, slots=True)
class MllpSection:
    """Where monitors send HL7 v2 messages (MLLP)."""

    host: Annotated[str, Key(Words(), "Address to listen on; 0.0.0.0 is every interface of this box.")] = "127.0.0.1"
    port: Annotated[int, Key(Whole(0, 65535), "TCP port; 0 takes a free one and logs it.")] = 2575
    max_connections: Annotated[
        int, Key(Whole(1, 256), "Monitors connected at the same time; more are turned away at once.", live=True)
    ] = 16
    max_message_bytes: Annotated[
        int, Key(Whole(1024, 1024 * 1024), "The longest message that is taken.", live=True)
    ] = 256 * 1024
    stall_seconds: Annotated[
        float, Key(Seconds(1, 3600), "A sender that stops in the middle of a message for so long is disconnected.")
    ] = 30.0


@dataclass(frozen=True, slots=True)
class BatchSection:
    """How readings are gathered into blocks. A message is acknowledged when its block is on the disk."""

    window_seconds: Annotated[
        float,
        Key(
            Seconds(0, 60),
            "How long to gather readings for one block; 0 makes a block at once. Alarms never wait.",
            live=True,
        ),
    ] = 2.0
    max_entries: Annotated[
        int,
        Key(
            Whole(1, MAX_ENTRIES_PER_BLOCK),
            "As many readings make a block at once, without waiting any longer.",
            live=True,
        ),
    ] = 256


@dataclass(frozen=True, slots=True)
class BedsideConfig:
    """A bedside agent: takes HL7 v2 messages from monitors and logs the readings in them."""

    ledger: LedgerSection = field(default_factory=LedgerSection)
    gossip: GossipSection = field(default_factory=GossipSection)
    mllp: MllpSection = field(default_factory=MllpSection)
    batch: BatchSection = field(default_factory=BatchSection)
    subjects: SubjectsSection = field(default_factory=SubjectsSection)
    inbox: InboxSection = field(default_factory=InboxSection)
    spool: SpoolSection = field(default_factory=SpoolSection)
    cadence: CadenceSection = field(default_factory=CadenceSection)
    metrics: MetricsSection = field(default_factory=MetricsSection)
    log: LogSection = field(default_factory=LogSection)

    @classmethod
    def load(cls, path: Path) -> BedsideConfig:
        """The configuration in a file. Raises `ConfigurationError`."""
        return load(path, cls)
