"""`medledger agent doctor`: looks a box over, and says in one sentence each what is well, what is not, and what to do.

It changes nothing, and works while the agent runs: the replica is looked at in a copy, a running agent is asked about
its inbox, its ports are left alone, and nothing is published. A check that fails by itself is a finding too, and stops
no other.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from medledger import statusfile
from medledger.clock import system_clock
from medledger.errors import KeyFileError, MedledgerError, StoreError
from medledger.keys import Identity

from ..config import ReplicaConfig
from ..settings import first_line
from . import check_box, check_broker, check_disk, check_gossip, check_inbox, check_ledger, home
from .copies import Copies
from .findings import Case, Finding, Verdict, fault, ok, skipped, warning
from .home import Kind

MOUNTS: Final = Path("/proc/self/mountinfo")
Check = Callable[[Case], Iterator[Finding]]

CHECKS: Final[tuple[Check, ...]] = (
    check_box.python,
    check_box.sqlite,
    check_box.clock,
    check_disk.disk,
    check_ledger.key,
    check_ledger.membership,
    check_inbox.subjects,
    check_inbox.inbox,
    check_broker.broker,
    check_broker.own_certificate,
    check_gossip.gossip,
    check_box.ports,
    check_box.service,
)
NEEDS_THE_KEY: Final = (check_ledger.key, check_ledger.membership)


def now() -> int:
    """UTC milliseconds."""
    return system_clock()[0]


def examine(
    path: Path, *, kind: Kind | None = None, clock: Callable[[], int] = now, mounts: Path = MOUNTS
) -> list[Finding]:
    """Every finding about the box with this configuration. Raises nothing of the box's."""
    try:
        loaded = [(each, each.load(path)) for each in ([kind] if kind else home.kinds_of(path))]
    except MedledgerError as error:
        return [fault("configuration", f"{_capital(str(error))}.", error.hint or "Mend the file.")]
    kind, config = loaded[0]
    findings = list(_configuration(path, config))
    if len(loaded) > 1:
        findings.append(skipped("kind", f"It could be any kind of box; it is looked at as {kind.name} (--kind says)."))
    identity, problem = _open_key(config)
    if problem is not None:
        findings.append(problem)
    status, trouble = _status(config)
    if trouble is not None:
        findings.append(trouble)
    with Copies() as copies:
        case = Case(path, config, kind, clock, mounts, status, identity, copies)
        for check in CHECKS:
            if identity is not None or check not in NEEDS_THE_KEY:
                findings += _carried_out(check, case)
    return findings


def worst(findings: list[Finding]) -> Verdict:
    """The verdict that decides."""
    return max((each.verdict for each in findings), key=lambda verdict: verdict.exit, default=Verdict.OK)


def _carried_out(check: Check, case: Case) -> Iterator[Finding]:
    try:
        yield from check(case)
    except Exception as error:  # noqa: BLE001 - the others must go on
        reason = (
            f"{type(error).__name__}: {error}" if isinstance(error, MedledgerError | OSError) else type(error).__name__
        )
        yield fault(check.__name__, f"The check itself failed ({reason}).", "Please report this.")


def _configuration(path: Path, config: ReplicaConfig) -> Iterator[Finding]:
    yield ok("configuration", f"{path} is right.")
    secrets = [config.gossip.password_file, config.ledger.passphrase_file]
    if any(urlsplit(url).password for url in config.gossip.broker or ()):
        secrets.append(path)
    for each in secrets:
        with suppress(FileNotFoundError):
            if each is not None and stat.S_IMODE(each.stat().st_mode) & 0o077:
                yield warning("secrets", f"{each} holds a secret, and others can read it.", f"Run: chmod 600 {each}")


def _open_key(config: ReplicaConfig) -> tuple[Identity | None, Finding | None]:
    path = config.ledger.key
    try:
        return Identity.load(path, first_line(config.ledger.passphrase_file, "passphrase_file")), None
    except KeyFileError as error:
        missing = not path.exists()
        hint = f"Make one: medledger agent setup --directory {path.parent}" if missing else error.hint
        return None, fault("key", f"{_capital(str(error))}.", hint or "Restore it from a backup.")
    except MedledgerError as error:
        return None, fault("key", f"{_capital(str(error))}.", error.hint or "Mend it.")


def _status(config: ReplicaConfig) -> tuple[statusfile.Found | None, Finding | None]:
    try:
        return statusfile.read(statusfile.place(config.ledger.path)), None
    except StoreError as error:
        return None, skipped("status", f"{error}.")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
