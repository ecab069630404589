"""What a check of the doctor finds, what it is given, and what its verdicts mean.

| verdict | means                                                                | exit code |
|---------|----------------------------------------------------------------------|-----------|
| ok      | looked at, and well                                                  | 0         |
| skipped | could not be looked at, or does not apply here; says why             | 0         |
| warning | works now, and will not for long, or not as well as it should        | 1         |
| fault   | does not work, or loses what it should keep                          | 2         |

The worst decides. A finding is one sentence; for a warning or a fault it also says what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import cast

from medledger.keys import Identity
from medledger.statusfile import Found, Life

from ..config import AgentConfig, ReplicaConfig
from .copies import Copies
from .home import Kind


class Verdict(Enum):
    """How it is."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    FAULT = "fault"

    @property
    def exit(self) -> int:
        """The exit code that it makes for by itself."""
        return {Verdict.WARNING: 1, Verdict.FAULT: 2}.get(self, 0)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    verdict: Verdict
    text: str
    advice: str = ""


def ok(check: str, text: str) -> Finding:
    """Well."""
    return Finding(check, Verdict.OK, text)


def skipped(check: str, text: str) -> Finding:
    """Not looked at, and why."""
    return Finding(check, Verdict.SKIPPED, text)


def warning(check: str, text: str, advice: str) -> Finding:
    """Somebody should look at it this week."""
    return Finding(check, Verdict.WARNING, text, advice)


def fault(check: str, text: str, advice: str) -> Finding:
    """Somebody should look at it now."""
    return Finding(check, Verdict.FAULT, text, advice)


@dataclass(frozen=True, slots=True)
class Case:
    """The box that is looked at, as far as could be read: a configuration that is right, and what was found with it."""

    path: Path  # the configuration's
    config: ReplicaConfig
    kind: Kind
    clock: Callable[[], int]  # UTC milliseconds
    mounts: Path  # as /proc/self/mountinfo
    status: Found | None  # what gossip shows of itself
    identity: Identity | None  # where the key opens
    copies: Copies

    @property
    def agent(self) -> AgentConfig | None:
        """The configuration of a box that takes something in; None of one that holds a replica only."""
        return None if self.kind.entry_type is None else cast("AgentConfig", self.config)

    @property
    def runs(self) -> bool:
        """Whether the agent, or another program that gossips, has the ledger open."""
        return self.status is not None and self.status.life in (Life.RUNNING, Life.SILENT, Life.FAILED)
