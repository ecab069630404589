"""The status file: what gossip shows of itself beside a ledger that others cannot open meanwhile.

`<ledger>.status.json` is one JSON object:

    schema      1; another number means another form
    written     UTC milliseconds, by the wall clock
    process     pid; monotonic_ms when it was written; machine (its boot) and namespace (of process numbers), or ""
    ledger      id and name
    labels      what members are called that the status names: {feed: label}
    ended       null while gossip goes on, `closed` after an orderly end, `failed` after a fault of its own
    status      what `Gossip.status()` gave

Rules:

- It is for its owner only, like the ledger, and replaced as a whole. It is not flushed: it shows what is, and records
  nothing.
- Its age is told by the monotonic clock, which all processes of one boot share, so that a wall clock that jumps makes
  no file old or new.
- Who is killed cannot say that it has ended. That shows by the process that is gone, by another boot of the machine,
  or, at the latest, by the age.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, Protocol

from . import files
from .errors import LimitError, StoreError
from .limits import MAX_STATUS_BYTES, STATUS_SILENT_SECONDS

SCHEMA: Final = 1


class Life(Enum):
    """What became of the process that wrote a status file."""

    RUNNING = "running"
    SILENT = "silent"  # it may be there, and has not written for too long
    GONE = "gone"  # it ended without saying so
    CLOSED = "closed"
    FAILED = "failed"  # its process is there, and gossips no more


@dataclass(frozen=True, slots=True)
class Found:
    """A status file, read: what it says, how old that is, and what became of its writer."""

    document: dict[str, Any]
    seconds: float
    life: Life

    @property
    def pid(self) -> int:
        """The number of the process that wrote it."""
        pid: int = self.document["process"]["pid"]
        return pid


def place(ledger: Path) -> Path:
    """Where the status file of a ledger lies."""
    return ledger.with_name(f"{ledger.name}.status.json")


class Labelled(Protocol):
    """A member, as far as it matters here."""

    @property
    def label(self) -> str: ...


def labels(status: dict[str, Any], members: Mapping[bytes, Labelled]) -> dict[str, str]:
    """What the members that a status names are called."""
    feeds = {status["feed"], *(row["feed"] for rows in ("peer_list", "lagging_feeds") for row in status[rows])}
    known = ((feed, members.get(bytes.fromhex(feed))) for feed in sorted(feeds))
    return {feed: member.label for feed, member in known if member is not None and member.label}


def document(
    status: dict[str, Any],
    *,
    ledger_id: bytes,
    name: str,
    members: Mapping[bytes, Labelled],
    ended: str | None,
) -> dict[str, Any]:
    """What this process writes now."""
    return {
        "schema": SCHEMA,
        "written": time.time_ns() // 1_000_000,
        "process": {
            "pid": os.getpid(),
            "monotonic_ms": time.monotonic_ns() // 1_000_000,
            "machine": _machine(),
            "namespace": _namespace(),
        },
        "ledger": {"id": ledger_id.hex(), "name": name},
        "labels": labels(status, members),
        "ended": ended,
        "status": status,
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Replace the file. Raises `OSError`."""
    temporary = path.with_name(f"{path.name}.tmp")
    with suppress(FileNotFoundError):
        os.unlink(temporary)  # of a process that was killed between the two steps
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False, separators=(",", ":"))
    os.replace(temporary, path)


def read(path: Path) -> Found | None:
    """The file, None where there is none. Raises `StoreError` for one that cannot be read as what it should be."""
    try:
        content = json.loads(files.read(path, MAX_STATUS_BYTES).data)
        schema = content["schema"]
        if schema == SCHEMA:
            return _found(content)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error
    except (LimitError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        raise StoreError(
            f"{path} is not a status file", hint="Remove it: gossip writes it anew, every few seconds while it runs."
        ) from error
    raise StoreError(
        f"{path} was written by another version of medledger (schema {schema!r:.20})",
        hint="Use the same version as the program that gossips.",
    )


def _found(content: dict[str, Any]) -> Found:
    process = content["process"]
    if type(process["pid"]) is not int or not 0 < process["pid"] < 2**31:
        raise ValueError("no number of a process")
    if not all(isinstance(content[name], dict) for name in ("status", "labels", "ledger")):
        raise TypeError("no objects where some should be")
    here = process["machine"] == _machine()
    wall = time.time() - content["written"] / 1000
    # Where machines have no number for their boot, either clock may tell that the file is old.
    age = time.monotonic() - process["monotonic_ms"] / 1000 if here else wall
    seconds = max(0.0, age if process["machine"] else max(age, wall))
    return Found(content, seconds, _life(content["ended"], process, seconds, here=here))


def _life(ended: str | None, process: dict[str, Any], seconds: float, *, here: bool) -> Life:
    if ended == "closed":
        return Life.CLOSED
    if not here or (process["namespace"] == _namespace() and not _is_there(process["pid"])):
        return Life.GONE
    if ended is not None:
        return Life.FAILED
    return Life.RUNNING if seconds <= STATUS_SILENT_SECONDS else Life.SILENT


def _is_there(pid: int) -> bool:
    """Whether a process has this number: perhaps another one's by now, whose age then tells."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


def _machine() -> str:
    """This boot of this machine, where it has a number for that."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _namespace() -> str:
    """In which process numbers mean what they mean here: not in a container's, seen from outside."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
