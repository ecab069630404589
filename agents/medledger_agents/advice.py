"""What to do about what is wrong with a box: one place for `agent status`, `agent doctor` and whoever reads /health.

A fault is known by its name (health.py); `standing` besides by its reason, which is a state of the ledger or of the
membership. Each piece of advice is one or two sentences that name a command or a setting.
"""

from __future__ import annotations

from typing import Final

CANNOT_WRITE: Final = "it cannot write: "
"""How the reason of the fault `standing` begins."""

NOT_ENROLLED: Final = "its enrolment has not arrived"
SUCCEED: Final = "Go on under a new key: medledger agent setup --replace, and have a governor approve it."
LET_IT_GOSSIP: Final = (
    "Let it gossip with another replica. Where there is none at all: stop the agent, and run medledger recover."
)
WAIT_FOR_ENROLMENT: Final = (
    "See that another replica is on the broker (medledger net status); other governors may have to approve."
)
GIVE_A_ROLE: Final = (
    "A governor has to give it the role: medledger member list, medledger member enrol, medledger governance show."
)
MAKE_ROOM: Final = (
    "Make room, give it a larger disk, or raise max_bytes in [spool]; it goes on by itself. medledger agent doctor "
    "says what is full."
)
MAY_BE_REVOKED: Final = (
    "Ask a governor (medledger member list). Where it was revoked: medledger agent setup --replace. Where it was not: "
    "a bundle from another replica (medledger bundle) brings it the transport key."
)
STANDING: Final = {
    "revoked": SUCCEED,  # a ledger's states, written out: this is imported for every command, and a ledger is heavy
    "forked": SUCCEED,
    "recovering": LET_IT_GOSSIP,
    NOT_ENROLLED: WAIT_FOR_ENROLMENT,
}
FAULTS: Final = {
    "clock": "Set it, and have it kept right: timedatectl set-ntp true, with a time server of the hospital.",
    "disk": "Look at dmesg: a disk that is dying, or was remounted read-only. Replace it; nothing was acknowledged.",
    "instrument": "Look at its cable, and at its port and driver in [instruments]. One that is not enrolled: the "
    "hospital enters its key (docs/instruments.md).",
    "part": "The log says why (journalctl -u the service). It is tried again by itself; for a port that is taken: "
    "ss -ltnp.",
    "peers": MAY_BE_REVOKED,
    "progress": "Where it comes again, replace the disk: it hangs. systemd restarts the agent meanwhile.",
    "register": "Wait: it goes on by itself. Where it stays as it is, the log says why (journalctl -u the service).",
    "recording": "The log says why: most often a disk that fails, or a role that may not write this.",
    "spool": MAKE_ROOM,
    "ward system": "Compare this box's clock, and the ward system's, with one that you trust, and set the wrong one.",
    "spool hours": "Plan a larger disk, or keep messages for less long: keep_days in [inbox].",
}
"""By the name of the fault, or its first word."""


def on_fault(what: str, why: str) -> str:
    """What to do about a fault of /health. Never empty: the doctor looks at whatever is not known here."""
    if what == "standing":
        return STANDING.get(why.removeprefix(CANNOT_WRITE), GIVE_A_ROLE)
    return FAULTS.get(what) or FAULTS.get(what.partition(" ")[0]) or "Have the box looked over: medledger agent doctor."
