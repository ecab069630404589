"""The doctor's look at the machine: Python, SQLite, the clock, ports, and the service."""

from __future__ import annotations

import ctypes
import platform
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Final

from medledger.cli.output import time_text
from medledger.clock import RELEASED

from .ending import unit_of
from .findings import Case, Finding, fault, ok, skipped, warning

SQLITE_STRICT: Final = (3, 37, 0)
SQLITE_WAL_RESET: Final = (3, 51, 3)
TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised
TIMEX_BYTES: Final = 256  # more than any platform's struct timex
SYSTEMD: Final = Path("/run/systemd/system")


def python(_case: Case) -> Iterator[Finding]:
    """The interpreter."""
    text = f"Python {platform.python_version()} on {platform.machine()}"
    if sys.maxsize < 2**32:
        yield warning("python", f"{text}, of 32 bits", "Use a 64-bit system: it is what medledger is tried on.")
    else:
        yield ok("python", f"{text}.")


def sqlite(_case: Case) -> Iterator[Finding]:
    """The database engine."""
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < SQLITE_STRICT:
        yield fault("sqlite", f"SQLite {version} knows no STRICT tables.", "Use a Python with SQLite 3.37 or newer.")
    elif sqlite3.sqlite_version_info < SQLITE_WAL_RESET:
        yield ok(
            "sqlite", f"SQLite {version}; before 3.51.3 several writers can harm a database: medledger uses one alone."
        )
    else:
        yield ok("sqlite", f"SQLite {version}.")


def clock(case: Case) -> Iterator[Finding]:
    """Whether the time can be right, and whether anything keeps it so."""
    now = case.clock()
    if now < RELEASED:
        yield fault(
            "clock",
            f"The clock says {time_text(now)}, before this software was made.",
            "Set it, and let it be synchronised: timedatectl set-ntp true. Without a battery it starts in the past.",
        )
    else:
        yield ok("clock", f"The clock says {time_text(now)}.")
    disciplined = _synchronised()
    if disciplined is None:
        yield skipped("synchronisation", "This system does not say whether its clock is synchronised.")
    elif disciplined:
        yield ok("synchronisation", "The clock is synchronised.")
    else:
        yield warning(
            "synchronisation",
            "Nothing keeps the clock right: it will drift by seconds a week, and every entry says that it may.",
            "Run chrony or systemd-timesyncd (timedatectl set-ntp true), with a time server of the hospital.",
        )


def _synchronised() -> bool | None:
    """What the kernel says; None where it cannot be asked."""
    try:
        answer = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if answer < 0 else answer != TIME_ERROR


def ports(case: Case) -> Iterator[Finding]:
    """Whether what the configuration says to listen on can be listened on."""
    for declared in fields(case.config):  # type: ignore[arg-type]  # every configuration is a dataclass
        section = getattr(case.config, declared.name)
        host, port = getattr(section, "host", None), getattr(section, "port", None)
        if host is None or port is None or getattr(section, "enabled", True) is False:
            continue
        check = f"port {declared.name}"
        if case.runs:
            yield skipped(check, f"{host}:{port} is the running agent's to listen on.")
        elif problem := _cannot_listen(host, port):
            yield fault(
                check,
                f"Nothing can listen on {host}:{port}: {problem}.",
                f"Choose another in [{declared.name}], or end what has it: ss -ltnp.",
            )
        else:
            yield ok(check, f"{host}:{port} can be listened on.")


def _cannot_listen(host: str, port: int) -> str | None:
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, number) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
            tried.listen(1)
    except OSError as error:
        return error.strerror or str(error)
    return None


def service(case: Case) -> Iterator[Finding]:
    """Whether systemd runs the agent."""
    if not SYSTEMD.is_dir() or shutil.which("systemctl") is None:
        yield skipped("service", "systemd does not run this machine.")
        return
    unit = unit_of(case.kind, case.path)
    if unit is None:
        yield skipped("service", f"No unit medledger-{case.kind.name}.service runs a box with this configuration.")
        return
    told = subprocess.run(
        ["systemctl", "show", unit, "--property=ActiveState,SubState,UnitFileState,NRestarts"],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    ).stdout
    state = dict(line.partition("=")[::2] for line in told.splitlines())
    active = state.get("ActiveState", "unknown")
    if active == "failed":
        yield fault("service", f"{unit} has failed.", f"Read why: journalctl -u {unit} -e")
    elif state.get("SubState") == "auto-restart":
        yield fault("service", f"{unit} ends again and again.", f"Read why: journalctl -u {unit} -e")
    elif active != "active":
        yield warning("service", f"{unit} is {active}.", f"Start it: sudo systemctl enable --now {unit}")
    elif state.get("UnitFileState") != "enabled":
        yield warning("service", f"{unit} runs, and will not after a restart.", f"sudo systemctl enable {unit}")
    elif int(state.get("NRestarts") or 0) > 0:
        yield warning(
            "service", f"{unit} was restarted {state['NRestarts']} times.", f"Read why: journalctl -u {unit} -e"
        )
    else:
        yield ok("service", f"{unit} runs, and will after a restart.")
