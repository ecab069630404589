"""What can be set for an agent. How the file is read and what is refused stands in settings.py.

Each key is documented where it is declared; `medledger agent bedside --sample` prints a file with all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from medledger.errors import ConfigurationError
from medledger.limits import MAX_ENTRIES_PER_BLOCK

from .settings import Brokers, FileName, Flag, Key, Seconds, Whole, Words, load


@dataclass(frozen=True, slots=True)
class LedgerSection:
    """The replica and the key of this box."""

    path: Annotated[Path, Key(FileName(), "The replica: the file that `medledger` made when this box joined.")] = Path(
        "ledger.db"
    )
    key: Annotated[Path, Key(FileName(), "The box's own key. Keep it out of backups of the replica.")] = Path("box.key")
    passphrase_file: Annotated[
        Path | None,
        Key(FileName(), "A file whose first line opens the key, where the key has a passphrase.", "passphrase"),
    ] = None


@dataclass(frozen=True, slots=True)
class GossipSection:
    """The MQTT broker. Without one the box logs all the same and catches up later."""

    broker: Annotated[
        tuple[str, ...] | None,
        Key(
            Brokers(),
            "Address of the broker, or those of several that are tried in turn. Left out, what the join reply named is "
            "used; where it named none either, the box stays alone.",
            "mqtts://broker.example:8883",
        ),
    ] = None
    protocol: Annotated[
        str,
        Key(
            Words(("3.1.1", "5")),
            "The version of MQTT to greet the broker with. 5 brings hints about its limits, where it gives any.",
        ),
    ] = "3.1.1"
    offline: Annotated[bool, Key(Flag(), "Whether to stay away from any broker.")] = False
    username: Annotated[str | None, Key(Words(), "User name at the broker.", "bed-7")] = None
    password_file: Annotated[
        Path | None, Key(FileName(), "A file whose first line is the password at the broker.", "broker-password")
    ] = None
    ca_file: Annotated[
        Path | None,
        Key(
            FileName(),
            "Certificates (PEM) that the broker's is checked against, where the system's do not do.",
            "broker-ca.pem",
        ),
    ] = None
    certificate_file: Annotated[
        Path | None, Key(FileName(), "This box's certificate (PEM), for a broker that asks for one.", "box.crt")
    ] = None
    certificate_key_file: Annotated[
        Path | None, Key(FileName(), "The private key of that certificate (PEM, without a passphrase).", "box.pem")
    ] = None


@dataclass(frozen=True, slots=True)
class LogSection:
    """The log, on standard error. It never holds patients' data."""

    format: Annotated[str, Key(Words(("plain", "json")), "One line of text, or one JSON object, for each event.")] = (
        "plain"
    )
    level: Annotated[
        str, Key(Words(("debug", "info", "warning", "error")), "The least important events that are logged.")
    ] = "info"


@dataclass(frozen=True, slots=True)
class InboxSection:
    """What was received, byte for byte, in a database of this box alone."""

    path: Annotated[
        Path,
        Key(
            FileName(),
            "The database. It holds patients' data: it is readable by its owner only, and so must its backups be.",
        ),
    ] = Path("inbox.db")
    duplicate_hours: Annotated[
        int,
        Key(
            Whole(1, 24 * 366),
            "How long a message id belongs to its message: the same id with other bytes is refused for so "
            "long, and taken for a new message after that (senders count from 1 again).",
        ),
    ] = 24


@dataclass(frozen=True, slots=True)
class SubjectsSection:
    """The pseudonyms under which patients stand on the ledger."""

    secret_file: Annotated[
        Path,
        Key(
            FileName(),
            "32 random bytes, made on first start. Whoever has them can find a patient's entries: boxes that "
            "share the file give a patient the same pseudonym, other organisations must never get it.",
        ),
    ] = Path("subjects.key")
    period: Annotated[
        str,
        Key(
            Words(("day", "month", "year")),
            "How long a pseudonym lasts: entries of one patient in different periods cannot be joined without "
            "the secret.",
        ),
    ] = "month"


@dataclass(frozen=True, slots=True)
class MllpSection:
    """Where monitors send HL7 v2 messages (MLLP)."""

    host: Annotated[str, Key(Words(), "Address to listen on; 0.0.0.0 is every interface of this box.")] = "127.0.0.1"
    port: Annotated[int, Key(Whole(0, 65535), "TCP port; 0 takes a free one and logs it.")] = 2575
    max_connections: Annotated[
        int, Key(Whole(1, 256), "Monitors connected at the same time; more are turned away at once.")
    ] = 16
    max_message_bytes: Annotated[int, Key(Whole(1024, 1024 * 1024), "The longest message that is taken.")] = 256 * 1024
    stall_seconds: Annotated[
        float, Key(Seconds(1, 3600), "A sender that stops in the middle of a message for so long is disconnected.")
    ] = 30.0


@dataclass(frozen=True, slots=True)
class BatchSection:
    """How readings are gathered into blocks. A message is acknowledged when its block is on the disk."""

    window_seconds: Annotated[
        float,
        Key(Seconds(0, 60), "How long to gather readings for one block; 0 makes a block at once. Alarms never wait."),
    ] = 2.0
    max_entries: Annotated[
        int, Key(Whole(1, MAX_ENTRIES_PER_BLOCK), "As many readings make a block at once, without waiting any longer.")
    ] = 256


@dataclass(frozen=True, slots=True)
class ScannerSection:
    """Where the counter's software sends scans, one a line."""

    host: Annotated[str, Key(Words(), "Address to listen on: one of this box, for it takes anybody's word.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Key(Whole(0, 65535), "TCP port; 0 takes a free one and logs it.")] = 2576
    max_connections: Annotated[int, Key(Whole(1, 64), "Programs connected at the same time.")] = 8
    sends_separators: Annotated[
        bool,
        Key(Flag(), "Whether the scanner was seen to send the group separator (0x1D): fewer scans are ambiguous then."),
    ] = False


@dataclass(frozen=True, slots=True)
class DispensingSection:
    """What the pharmacy supplies."""

    unit: Annotated[str, Key(Words(), "The UCUM unit of a quantity where a request names none.")] = "{pack}"
    quantity: Annotated[str, Key(Words(), "The quantity where a request names none.")] = "1"
    allow_expired: Annotated[
        bool, Key(Flag(), "Whether expired stock may be supplied when a reason is given, which is then logged.")
    ] = False


@dataclass(frozen=True, slots=True)
class BedsideConfig:
    """A bedside agent: takes HL7 v2 messages from monitors and logs the readings in them."""

    ledger: LedgerSection = field(default_factory=LedgerSection)
    gossip: GossipSection = field(default_factory=GossipSection)
    mllp: MllpSection = field(default_factory=MllpSection)
    batch: BatchSection = field(default_factory=BatchSection)
    subjects: SubjectsSection = field(default_factory=SubjectsSection)
    inbox: InboxSection = field(default_factory=InboxSection)
    log: LogSection = field(default_factory=LogSection)

    @classmethod
    def load(cls, path: Path) -> BedsideConfig:
        """The configuration in a file. Raises `ConfigurationError`."""
        return load(path, cls)


@dataclass(frozen=True, slots=True)
class PharmacyConfig:
    """A pharmacy agent: takes scans of packs, refuses what must not be supplied, and logs what is."""

    ledger: LedgerSection = field(default_factory=LedgerSection)
    gossip: GossipSection = field(default_factory=GossipSection)
    scanner: ScannerSection = field(default_factory=ScannerSection)
    dispensing: DispensingSection = field(default_factory=DispensingSection)
    subjects: SubjectsSection = field(default_factory=SubjectsSection)
    inbox: InboxSection = field(default_factory=InboxSection)
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


AgentConfig = BedsideConfig | PharmacyConfig
