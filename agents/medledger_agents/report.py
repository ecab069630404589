"""What an agent says of itself on the ledger: that it is on, under which software and configuration, and that it goes.

- On each start, as soon as it may write, and after a reload that changed something: a `device.status` with state `on`,
  the version of medledger as `firmware`, and the hash of the configuration. On an orderly stop: `off`. The device is
  the box's label in its enrolment, else its key's fingerprint.
- The hash is SHA-256 over the canonical JSON of every key in force, so that two boxes set up alike have the same one.
  File names are taken relative to the configuration; accounts at brokers are left out, as `username` and in addresses.
- Calibrations, where any are configured: on each start and when one changes, a `device.status` about the device, with
  state `on` (it is in service, so the configuration says) and the day, as its first moment in UTC.
- A promise (`cadence`), where one is configured: an entry of this box at least so often. When nothing was logged for
  three quarters of that time, `on` is said again, which keeps the promise: so an auditor tells a box that is on and
  idle from one that is silent, which the findings name. A box without a promise does not repeat `on`: nobody could
  say when it was due.
- `status = false` in [cadence] says nothing but what a promise asks for.
- A role that may not write these types writes none of them, which is logged once. What the disk, or a ledger that has
  to recover, did not take is said a minute later. No failure here stops a reading.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from medledger.devices import Cadence
from medledger.errors import MedledgerError, StoreError
from medledger.importing import Advance
from medledger.keys import fingerprint
from medledger.ledger import Ledger
from medledger.records import DeviceStatus
from medledger.registry import Record

from . import logs
from .config import AgentConfig

MAX_DEVICE: Final = 64
KEEP: Final = 0.75
AGAIN_SECONDS: Final = 60.0
ACCOUNT: Final = ("gossip", "username")


def firmware() -> str:
    """What this software calls itself."""
    try:
        return f"medledger {version('medledger')}"[:64]
    except PackageNotFoundError:
        return "medledger"


def config_hash(config: AgentConfig, base: Path) -> bytes:
    """SHA-256 of what is configured, without secrets; `base` is where file names start from."""

    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            return value.relative_to(base).as_posix() if value.is_relative_to(base) else value.as_posix()
        if isinstance(value, tuple):
            return [plain(each) for each in value]
        if isinstance(value, dict):
            return {str(name): plain(each) for name, each in value.items()}
        if is_dataclass(value):
            return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
        if isinstance(value, date):
            return value.isoformat()
        if isinstance(value, str) and "://" in value:
            scheme, _, rest = value.partition("://")
            return f"{scheme}://{rest.rpartition('@')[2]}"
        return value

    sections = ((each.name, getattr(config, each.name)) for each in fields(config))  # type: ignore[arg-type]  # one
    document = {
        name: {key.name: plain(getattr(held, key.name)) for key in fields(held) if (name, key.name) != ACCOUNT}
        for name, held in sections
    }
    return sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).digest()


def _calibration(device: str, day: date) -> DeviceStatus:
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return DeviceStatus(device=device, state="on", calibrated=int(at.timestamp() * 1000))


class Report:
    """The part."""

    name = "report"
    essential = False

    def __init__(self, ledger: Ledger, config: AgentConfig, base: Path) -> None:
        self._ledger = ledger
        self._base = base
        self._config = config
        self._ready = asyncio.Event()
        self._changed = asyncio.Event()
        self._on = False
        self._hash: bytes | None = None
        self._again = False
        self._promised = 0
        self._calibrated: dict[str, date] = {}
        self._logged = time.monotonic()
        self._unwatch: Callable[[], None] | None = None

    def ready(self) -> None:
        """This box may write."""
        self._ready.set()

    def reload(self, config: AgentConfig) -> None:
        """Something else is configured."""
        self._config = config
        self._changed.set()

    async def start(self) -> None:
        """Watch what this box logs."""
        me = self._ledger.me

        def came(advance: Advance) -> None:
            if advance.feed == me:
                self._logged = time.monotonic()

        self._unwatch = self._ledger.watch(came)

    async def run(self) -> None:
        """Say what there is to say, for ever."""
        await self._ready.wait()
        self._promised = await asyncio.to_thread(self._in_force)
        while True:
            self._changed.clear()
            await asyncio.to_thread(self._say)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), AGAIN_SECONDS if self._again else self._due())

    async def stop(self) -> None:
        """Say that it goes."""
        if self._unwatch is not None:
            self._unwatch()
        if self._on:
            await asyncio.to_thread(self._append, self._status("off"))

    def _due(self) -> float | None:
        """In how many seconds the promise must be kept by saying something."""
        if not self._promised:
            return None
        return max(0.0, self._logged + self._promised / 1000 * KEEP - time.monotonic())

    def _say(self) -> None:
        """What has changed; or that it is still on, where the promise asks for it."""
        now = config_hash(self._config, self._base)
        due = self._due()
        self._again = False
        if (self._config.cadence.status and now != self._hash) or (due is not None and due <= 0):
            self._on = self._append(self._status("on", now)) or self._on
        self._hash = None if self._again else now
        for device, day in sorted((self._config.calibration.devices or {}).items()):
            if self._calibrated.get(device) != day and self._append(_calibration(device, day)):
                self._calibrated[device] = day
        interval = self._config.cadence.minutes * 60_000
        if interval != self._promised and self._append(Cadence(interval=interval or None)):
            self._promised = interval
        if not self._again:
            self._logged = time.monotonic()  # also where the role does not let it: until it is due again

    def _in_force(self) -> int:
        """What the last run promised, in milliseconds; 0 where it promised nothing."""
        promises = self._ledger.entries("cadence", author=self._ledger.me, newest_first=True)
        return next((each.content.get("interval", 0) for each in promises if "device" not in each.content), 0)

    def _status(self, state: str, config: bytes | None = None) -> DeviceStatus:
        me = self._ledger.me
        assert me is not None  # an agent opens its ledger with a key
        member = self._ledger.membership.members.get(me)
        label = fingerprint(me) if member is None or not member.label else member.label[:MAX_DEVICE]
        return DeviceStatus(device=label, state=state, firmware=firmware(), config=config or self._hash)

    def _append(self, record: Record) -> bool:
        try:
            self._ledger.append(record)
        except MedledgerError as error:
            self._again |= isinstance(error, StoreError)
            logs.warning("not said on the ledger", type=record.TYPE, reason=type(error).__name__)
            return False
        return True
