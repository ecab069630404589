"""What can be set for a pharmacy agent, beside what any agent has (../config.py)."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from medledger.errors import ConfigurationError

from ..config import (
    CadenceSection,
    CalibrationSection,
    GossipSection,
    InboxSection,
    LedgerSection,
    LogSection,
    MetricsSection,
    SpoolSection,
    SubjectsSection,
)
from ..settings import FileName, Flag, Key, Seconds, Whole, Words, load


@dataclass(frozen=True, slots=True)
class ScannerSection:
    """Where the counter's software sends scans, one a line."""

    host: Annotated[str, Key(Words(), "Address to listen on: one of this box, for it takes anybody's word.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Key(Whole(0, 65535), "TCP port; 0 takes a free one and logs it.")] = 2576
    max_connections: Annotated[int, Key(Whole(1, 64), "Programs connected at the same time.")] = 8
    stall_seconds: Annotated[
        float,
        Key(
            Seconds(1, 3600),
            "A program that does not end its line, or does not read its reply, for so long is disconnected.",
        ),
    ] = 30.0
    sends_separators: Annotated[
        bool,
        Key(Flag(), "Whether the scanner was seen to send the group separator (0x1D): fewer scans are ambiguous then."),
    ] = False
    test_record: Annotated[
        Path | None,
        Key(
            FileName(),
            "The record of the scanner's self-test (`medledger agent scanner-test`). Where it is named, scans are read "
            "as the test found the scanner set, and none is taken without a test that was passed.",
            "scanner-test.json",
        ),
    ] = None
    test_days: Annotated[int, Key(Whole(1, 3660), "How many days a self-test counts.")] = 90


@dataclass(frozen=True, slots=True)
class DispensingSection:
    """What the pharmacy supplies."""

    unit: Annotated[str, Key(Words(), "The UCUM unit of a quantity where a request names none.", live=True)] = "{pack}"
    quantity: Annotated[str, Key(Words(), "The quantity where a request names none.", live=True)] = "1"
    allow_expired: Annotated[
        bool,
        Key(Flag(), "Whether expired stock may be supplied when a reason is given, which is then logged.", live=True),
    ] = False
    allow_recalled: Annotated[
        bool,
        Key(Flag(), "Whether recalled stock may be supplied when a reason is given, which is then logged.", live=True),
    ] = False
    only_received: Annotated[
        bool,
        Key(
            Flag(),
            "Whether only stock that was received through this box may be supplied. Then a serial number that never "
            "came in is refused as falsified.",
            live=True,
        ),
    ] = False
    witness_supply: Annotated[
        bool,
        Key(Flag(), "Whether supplying a controlled drug takes a witness, too. Wasting one always does.", live=True),
    ] = False
    undo_days: Annotated[
        int, Key(Whole(1, 31), "For how many days a supply that never left the counter can be undone.", live=True)
    ] = 10


@dataclass(frozen=True, slots=True)
class PharmacyMetricsSection(MetricsSection):
    """Figures for Prometheus on /metrics, and whether all is well on /health. They never hold patients' data."""

    port: Annotated[int, Key(Whole(0, 65535), "TCP port; 0 takes a free one and logs it.")] = 9576


@dataclass(frozen=True, slots=True)
class PharmacyConfig:
    """A pharmacy agent: takes scans of packs, refuses what must not be supplied, and logs what is."""

    ledger: LedgerSection = field(default_factory=LedgerSection)
    gossip: GossipSection = field(default_factory=GossipSection)
    scanner: ScannerSection = field(default_factory=ScannerSection)
    dispensing: DispensingSection = field(default_factory=DispensingSection)
    subjects: SubjectsSection = field(default_factory=SubjectsSection)
    inbox: InboxSection = field(default_factory=InboxSection)
    spool: SpoolSection = field(default_factory=SpoolSection)
    calibration: CalibrationSection = field(default_factory=CalibrationSection)
    cadence: CadenceSection = field(default_factory=CadenceSection)
    metrics: PharmacyMetricsSection = field(default_factory=PharmacyMetricsSection)
    log: LogSection = field(default_factory=LogSection)

    @classmethod
    def load(cls, path: Path) -> PharmacyConfig:
        """The configuration in a file. Raises `ConfigurationError`."""
        config = load(path, cls)
        try:
            local = ip_address(config.scanner.host).is_loopback
        except ValueError:
            local = config.scanner.host == "localhost"
        if not local:
            raise ConfigurationError(
                f"{path}: host in [scanner] must be an address of this box alone, such as 127.0.0.1",
                hint="Run the counter's software on this box, or tunnel to it: whoever reaches this port can dispense.",
            )
        return config
