"""What can be set for a bedside agent, beside what any agent has (../config.py)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from medledger.errors import ConfigurationError, SchemaError
from medledger.limits import MAX_ENTRIES_PER_BLOCK
from medledger.records import Association

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
from ..instruments.config import InstrumentsSection
from ..settings import FileName, Key, Seconds, Whole, Words, load
from .adt import Location


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
    tls_certificate_file: Annotated[
        Path | None,
        Key(
            FileName(),
            "This box's certificate (PEM, with those that lead to its authority). With it the port takes TLS only, 1.2 "
            "or newer. The files are read again on reload.",
            "mllp.crt",
        ),
    ] = None
    tls_key_file: Annotated[
        Path | None, Key(FileName(), "The private key of that certificate (PEM, without a passphrase).", "mllp.pem")
    ] = None
    tls_client_ca_file: Annotated[
        Path | None,
        Key(
            FileName(),
            "Authorities (PEM): only senders with a certificate of one of them are let in.",
            "monitors-ca.pem",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class Places:
    """A table from devices to beds."""

    allowed: str = 'a table from devices to beds, such as { "MON-7" = "ICU^12^A" }'

    def read(self, value: Any, base: Path) -> dict[str, Location] | None:  # noqa: ARG002 - the protocol's
        if type(value) is not dict:
            return None
        found = {}
        for device, text in value.items():
            place = Location.parse(text) if type(text) is str else None
            if place is None:
                return None
            try:
                Association(device=device, action="begin", location=str(place))  # as it will stand on the ledger
            except SchemaError:
                return None
            found[device] = place
        return found


@dataclass(frozen=True, slots=True)
class Zone:
    """The name of a time zone."""

    allowed: str = 'the name of a time zone, such as "Europe/Berlin" or "UTC"'

    def read(self, value: Any, base: Path) -> str | None:  # noqa: ARG002 - the protocol's
        try:
            return str(ZoneInfo(value)) if type(value) is str else None
        except (ValueError, OSError, KeyError):  # KeyError: there is no such zone
            return None


@dataclass(frozen=True, slots=True)
class BedsSection:
    """Whose a reading is (docs/bedside.md)."""

    association: Annotated[
        str,
        Key(
            Words(("message", "adt")),
            '"message": the patient whom the message itself names (PID-3). "adt": who lies in the device\'s bed, as '
            "admissions, transfers and discharges (ADT) and people on this box say; PID-3 is a check, and what cannot "
            "be given to anybody is kept in quarantine.",
        ),
    ] = "message"
    devices: Annotated[
        dict[str, Location] | None,
        Key(
            Places(),
            "Which device, as its readings name it, stands at which bed, as PV1-3 names it: ward, room, bed.",
            {"MON-7": "ICU^12^A"},
        ),
    ] = None
    zone: Annotated[
        str | None,
        Key(
            Zone(),
            "The time zone of times that come without one. Left out, such times count for nothing: ADT with them is "
            "refused, and readings are in quarantine.",
            "Europe/Berlin",
        ),
    ] = None
    issuer: Annotated[
        str | None, Key(Words(), "Who issued a patient's number, where a message does not say (PID-3.4).", "HOSP")
    ] = None
    clock_seconds: Annotated[
        float, Key(Seconds(0, 3600), "How far a device's clock may be off when it says that it is synchronised.")
    ] = 5.0
    delay_seconds: Annotated[
        float,
        Key(
            Seconds(0, 86_400),
            "How old a reading of any other device may be when it comes in. With 0 such devices' readings are given to "
            "nobody.",
        ),
    ] = 60.0


@dataclass(frozen=True, slots=True)
class SignalsSection:
    """When a silent device is stale, and when lost."""

    stale_seconds: Annotated[
        int | None,
        Key(
            Whole(1, 86_400),
            "A device that says nothing for so long is stale; twice the interval at which it sends is a good choice. "
            "Left out, devices are not watched.",
            60,
        ),
    ] = None
    lost_seconds: Annotated[
        int,
        Key(
            Whole(2, 7 * 86_400),
            "And for so long, lost. The box promises on the ledger to say something about a watched device at least "
            "this often.",
        ),
    ] = 300


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
    beds: BedsSection = field(default_factory=BedsSection)
    signals: SignalsSection = field(default_factory=SignalsSection)
    instruments: InstrumentsSection = field(default_factory=InstrumentsSection)
    subjects: SubjectsSection = field(default_factory=SubjectsSection)
    inbox: InboxSection = field(default_factory=InboxSection)
    spool: SpoolSection = field(default_factory=SpoolSection)
    calibration: CalibrationSection = field(default_factory=CalibrationSection)
    cadence: CadenceSection = field(default_factory=CadenceSection)
    metrics: MetricsSection = field(default_factory=MetricsSection)
    log: LogSection = field(default_factory=LogSection)

    @classmethod
    def load(cls, path: Path) -> BedsideConfig:
        """The configuration in a file. Raises `ConfigurationError`."""
        config = load(path, cls)
        if config.beds.devices and config.beds.association == "message":
            raise ConfigurationError(
                f"{path}: devices in [beds] says who is where, and association takes it from the messages",
                hint='Set association = "adt" in [beds], or leave devices out.',
            )
        signals = config.signals
        if signals.stale_seconds is not None and signals.stale_seconds >= signals.lost_seconds:
            raise ConfigurationError(
                f"{path}: stale_seconds in [signals] must be less than lost_seconds", hint="Stale comes before lost."
            )
        return config
