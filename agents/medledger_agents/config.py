"""What can be set for any agent. How the file is read and what is refused stands in settings.py.

Each key is documented where it is declared; `medledger agent bedside --sample` prints a file with all of them. What one
kind of agent adds stands beside it: bedside/config.py, pharmacy/config.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Protocol

from .settings import Brokers, Dates, FileName, Flag, Key, Whole, Words


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

    format: Annotated[
        str,
        Key(
            Words(("plain", "json", "journal")),
            "One line of text, or one JSON object, for each event. `journal` is a line with its priority and without "
            "the time, for an agent that systemd runs.",
            live=True,
        ),
    ] = "plain"
    level: Annotated[
        str, Key(Words(("debug", "info", "warning", "error")), "The least important events that are logged.", live=True)
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
            live=True,
        ),
    ] = 24
    keep_days: Annotated[
        int,
        Key(
            Whole(0, 36_500),
            "How long the bytes of a message are kept once it is logged; 0 keeps them for ever. The ledger holds their "
            "hash only: when they are gone, nobody can show any more what a device sent. Ids and hashes stay.",
            live=True,
        ),
    ] = 0
    keep_until_confirmed: Annotated[
        bool,
        Key(
            Flag(), "Whether to keep them longer than that, until a peer has shown to hold what was logged.", live=True
        ),
    ] = True


@dataclass(frozen=True, slots=True)
class SpoolSection:
    """Room on the disk. Without it nothing is acknowledged: senders keep what they have."""

    hours: Annotated[
        int,
        Key(
            Whole(0, 24 * 366),
            "How long the disk must last at the present rate, should the broker stay away. While it would not, that is "
            "an alarm; it refuses nothing. 0 never alarms.",
            live=True,
        ),
    ] = 72
    max_bytes: Annotated[
        int,
        Key(
            Whole(0, 2**50),
            "How much the inbox and this box's own unconfirmed blocks may take together; 0 sets no bound but the disk.",
            live=True,
        ),
    ] = 0
    min_free_bytes: Annotated[
        int, Key(Whole(0, 2**50), "How much stays free on the disks of the inbox and of the ledger.", live=True)
    ] = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CadenceSection:
    """What this box says of itself on the ledger, so that its silence is found."""

    status: Annotated[
        bool,
        Key(
            Flag(),
            "Whether it logs that it is on, with the version of this software and a hash of this file, and that it "
            "goes.",
        ),
    ] = True
    minutes: Annotated[
        int,
        Key(
            Whole(0, 60 * 24 * 366),
            "It logs something at least so often, be it only that it is on. 0 promises nothing.",
            live=True,
        ),
    ] = 0


@dataclass(frozen=True, slots=True)
class CalibrationSection:
    """When the devices of this box were calibrated last."""

    devices: Annotated[
        dict[str, date] | None,
        Key(
            Dates(),
            "Each device's last calibration. It is logged when the agent starts and when it changes, so that a reading "
            "can be judged by it.",
            {"MON-7": "2026-05-01"},
            live=True,
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class MetricsSection:
    """Figures for Prometheus on /metrics, and whether all is well on /health. They never hold patients' data."""

    enabled: Annotated[bool, Key(Flag(), "Whether to offer them.")] = True
    host: Annotated[
        str, Key(Words(), "Address to listen on. Anybody who reaches it can read them: keep it on this box.")
    ] = "127.0.0.1"
    port: Annotated[int, Key(Whole(0, 65535), "TCP port; 0 takes a free one and logs it.")] = 9575


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


class ReplicaConfig(Protocol):
    """What the configuration of every box holds."""

    @property
    def ledger(self) -> LedgerSection: ...
    @property
    def gossip(self) -> GossipSection: ...
    @property
    def log(self) -> LogSection: ...


class AgentConfig(ReplicaConfig, Protocol):
    """What the configuration of every box holds that takes something in and logs it."""

    @property
    def subjects(self) -> SubjectsSection: ...
    @property
    def inbox(self) -> InboxSection: ...
    @property
    def spool(self) -> SpoolSection: ...
    @property
    def calibration(self) -> CalibrationSection: ...
    @property
    def cadence(self) -> CadenceSection: ...
    @property
    def metrics(self) -> MetricsSection: ...
