"""What there is to see of a ledger's gossip: where the picture comes from, how old it is, and what it comes to.

Rules:

- Whoever gossips for a ledger holds it locked and keeps a status file beside it: the picture comes from there. Where
  nobody does, this program may gossip itself for a while and take its own.
- The health of it is one of four, and the exit code that monitoring asks for. What is worst decides: not running, an
  alarm, behind, in sync. An alarm counts for 15 minutes: what still holds is raised again before.
- Who hears members that only hail, and whose questions nobody answers, holds a transport key that is not in use any
  more, and is told no other: it was revoked, or lacks its copy. That is never in sync, whatever the peers show.
- A file that its process cannot keep any more says nothing of now: whatever it shows, gossip is not running.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from medledger import statusfile
from medledger.limits import PATIENCE_FAILURES, PEER_SECONDS
from medledger.statusfile import Life

from .exits import Exit
from .output import count_text, duration_text, number_text, printable

if TYPE_CHECKING:
    from medledger.ledger import Ledger
    from medledger.transport import Gossip

UNANSWERED: Final = (
    "others speak under another transport key, and none answers under the one held here: this key may have been revoked"
)
UNANSWERED_HINT: Final = (
    "Ask a governor (medledger member list). Where it was revoked, go on under a new key; where it was not, a bundle "
    "or a new reply brings the transport key."
)
ALARM_SECONDS: Final = 900.0
"""How long an alarm counts: an unconfirmed block's comes again after ten minutes, others after five."""


class Health(Enum):
    """What a picture comes to, in a word."""

    IN_SYNC = "in sync"
    BEHIND = "behind"
    ALARM = "alarm"
    NOT_RUNNING = "not running"

    @property
    def exit(self) -> Exit:
        """The exit code of `net status`."""
        return _EXITS[self]


_EXITS: Final = {
    Health.IN_SYNC: Exit.OK,
    Health.BEHIND: Exit.BEHIND,
    Health.ALARM: Exit.ALARM,
    Health.NOT_RUNNING: Exit.NOT_RUNNING,
}


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture. `life` is of the process whose file it is, None where we gossip ourselves."""

    status: dict[str, Any]
    labels: dict[str, str]
    name: str
    ledger_id: str
    seconds: float  # how old it is
    life: Life | None
    pid: int | None

    def label(self, feed: str) -> str:
        """What people call a feed; the start of its key where it has no label."""
        return printable(self.labels.get(feed, "")) or feed[:8]

    def since(self, seconds: float | None) -> float | None:
        """So many seconds before the picture was taken, as seconds before now."""
        return None if seconds is None else seconds + self.seconds

    @property
    def running(self) -> bool:
        """Whether this is how things are now."""
        return self.life in (None, Life.RUNNING, Life.FAILED)

    @property
    def alarms(self) -> list[dict[str, Any]]:
        """The alarms that count, the newest first."""
        return [alarm for alarm in self.status["alarms"] if alarm["seconds"] + self.seconds <= ALARM_SECONDS]

    @property
    def health(self) -> Health:
        """What is worst."""
        status = self.status
        if not self.running:
            return Health.NOT_RUNNING
        if self.life is Life.FAILED or status["failure"] is not None or self.alarms:
            return Health.ALARM
        return Health.BEHIND if self._lack() else Health.IN_SYNC

    @property
    def settled(self) -> bool:
        """Whether nothing is lacking here, and all that is written here is held elsewhere."""
        return self._lack() is None and self.status["own_blocks_unconfirmed"] == 0

    @property
    def why(self) -> str:
        """The reason, in a sentence without its full stop."""
        if self.life is not None and not self.running:
            return ended(self.life, self.pid, self.seconds)
        return self._trouble() or self._lack() or f"all that {self._peers} shown is here"

    def _trouble(self) -> str | None:
        if self.status["failure"] is not None:
            return f"gossip has stopped on a fault of its own: {printable(self.status['failure'])}"
        if not self.alarms:
            return None
        return UNANSWERED if unanswered(self.status) else f"{count_text(len(self.alarms), 'alarm')} in the last 15 min"

    def _lack(self) -> str | None:
        status = self.status
        if not status["connected"]:
            return f"no broker: trying {printable(status['broker'])}"
        if not status["peers"]:
            return "no other replica was heard"
        if not status["key_held"]:
            return "the ledger's transport key was changed, and the new one has not arrived here"
        if unanswered(status):
            return UNANSWERED
        if status["state"] != "ready":
            return "it does not know yet whether its key has signed more than it holds"
        if status["in_sync"]:
            return None
        blocks = f", {count_text(status['blocks_behind'], 'block')}" if status["blocks_behind"] else ""
        if status["feeds_behind"] or blocks:
            return f"behind in {count_text(status['feeds_behind'], 'feed')}{blocks}"
        return "finding out what its peers hold"

    @property
    def _peers(self) -> str:
        peers = self.status["peers"]
        return "its one peer has" if peers == 1 else f"its {number_text(peers)} peers have"


def unanswered(status: Mapping[str, Any]) -> bool:
    """Whether members are heard that show nothing (docs/gossip.md, hails), and none of them answers."""
    heard = [
        row
        for row in status["peer_list"]
        if not row["gone"] and not row["stranger"] and row["heard_seconds"] <= PEER_SECONDS
    ]
    return bool(heard) and all(row["feeds"] == 0 and row["failures"] >= PATIENCE_FAILURES for row in heard)


def ended(life: Life, pid: int | None, seconds: float) -> str:
    """What became of a process that gossiped, `seconds` after its last word."""
    ago = ago_text(seconds)
    if life is Life.CLOSED:
        return f"gossip was closed {ago} ago"
    if life is Life.GONE:
        return f"process {pid} has ended without closing; its last word is {ago} old"
    return f"process {pid} is there, and has not shown anything for {ago}: it hangs, or was stopped"


def from_file(ledger: Path) -> Picture | None:
    """The picture in the status file, None where there is none. Raises `StoreError` for one that cannot be read."""
    found = statusfile.read(statusfile.place(ledger))
    if found is None:
        return None
    content = found.document
    return Picture(
        status=content["status"],
        labels=content["labels"],
        name=content["ledger"]["name"],
        ledger_id=content["ledger"]["id"],
        seconds=found.seconds + content["status"]["taken_seconds"],
        life=found.life,
        pid=found.pid,
    )


def own(ledger: Ledger, gossip: Gossip) -> Picture:
    """The picture of our own gossip."""
    status = gossip.status()
    labels = statusfile.labels(status, ledger.membership.members)
    return Picture(status, labels, ledger.name, ledger.id.hex(), status["taken_seconds"], None, None)


def for_programs(picture: Picture) -> dict[str, Any]:
    """The picture as JSON: each row with its label."""
    status = dict(picture.status)
    for rows in ("peer_list", "lagging_feeds"):
        status[rows] = [{"label": picture.labels.get(row["feed"], ""), **row} for row in status[rows]]
    health = picture.health
    return {
        "health": health.value,
        "exit_code": int(health.exit),
        "why": picture.why,
        "running": picture.running,
        "process": None if picture.life is None else {"pid": picture.pid, "state": picture.life.value},
        "age_seconds": round(picture.seconds, 3),
        "ledger": {"id": picture.ledger_id, "name": picture.name},
        "status": status,
        "time": int(time.time() * 1000),
    }


def nothing(why: str) -> dict[str, Any]:
    """The same where there is no picture at all."""
    health = Health.NOT_RUNNING
    return {
        "health": health.value,
        "exit_code": int(health.exit),
        "why": why,
        "running": False,
        "process": None,
        "age_seconds": None,
        "ledger": None,
        "status": None,
        "time": int(time.time() * 1000),
    }


def ago_text(seconds: float) -> str:
    """A length of time: tenths of a second below a minute, else the two largest units."""
    return f"{seconds:.1f} s" if seconds < 60 else duration_text(int(seconds * 1000))
