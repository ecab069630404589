"""One party of the demo in a process of its own: `python -m medledger_agents.demo.party ROLE DIRECTORY LABEL [BROKER]`.

It makes its key and its replica in its directory and speaks with the demo in JSON lines: events on standard output,
orders on standard input. When its input ends, so does it, whatever became of the demo.

- `hospital` founds the ledger, answers requests to join, enters the keys of instruments, and gossips.
- `auditor` asks to join, gossips, verifies every signature when told to, and reports what the ledger says.
- `oximeter` is an instrument that signs its readings: the simulator of the reference device, on a pseudo-terminal.
- `bedside` and `pharmacy` ask to join and then become the agent itself, as `medledger agent ...` starts it on a box.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any, Final

from medledger import DeviceEnrol, Identity, Ledger, make_request
from medledger.findings import find
from medledger.header import BlockClass
from medledger.keys import fingerprint
from medledger.transport import Gossip

LEDGER_NAME: Final = "Riverside demo"
STATUS_SECONDS: Final = 0.1
AGENT_CONFIG: Final = """\
[ledger]
path = "ledger.db"
key = "box.key"

[{listener}]
port = 0
{more}
[cadence]
status = false  # who ends last would hold what nobody else can hear any more

[metrics]
enabled = false

[log]
format = "json"
level = "debug"
"""
_SAYING: Final = threading.Lock()
LISTENERS: Final = {"bedside": "mllp", "pharmacy": "scanner"}
OXIMETER: Final = "PO-1"
LINE: Final = "../oximeter/line"  # as the box sees it
MORE: Final = {
    "bedside": f"""
[batch]
window_seconds = 0.5

[instruments]
devices = {{ "{OXIMETER}" = {{ driver = "signed", port = "{LINE}" }} }}
""",
    "pharmacy": "",
}
SIGNED_BATCHES: Final = 4
READINGS_EACH: Final = 5
READING_MS: Final = 250


def say(event: str, **fields: Any) -> None:
    """Tell the demo."""
    line = json.dumps({"event": event, **fields}) + "\n"
    with _SAYING:  # several threads speak
        sys.stdout.write(line)
        sys.stdout.flush()


def orders() -> Any:
    """What the demo wants, until it wants no more."""
    while line := sys.stdin.readline():
        yield json.loads(line)


def apply(identity: Identity, path: Path, role: str, label: str) -> Ledger:
    """Ask to join, and join."""
    secret = os.urandom(16)
    say("request", text=make_request(identity, secret=secret, label=label, organisation=label, roles=[role]))
    reply = next(orders())["reply"]
    return Ledger.join(path, identity, reply, secret)


def become_agent(directory: Path, role: str, label: str) -> None:
    """Join, then be the agent."""
    identity = Identity.load_or_create(directory / "box.key")
    apply(identity, directory / "ledger.db", role, label).close()
    config = directory / f"{role}.toml"
    config.write_text(AGENT_CONFIG.format(listener=LISTENERS[role], more=MORE[role]))
    say("joined", feed=identity.fingerprint)
    arguments = ["-m", "medledger", "agent", role, "--config", str(config), "--until-input-ends"]
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - our own program, with our own arguments


def be_hospital(directory: Path, label: str, broker: str) -> None:
    """Found the ledger and let the others in."""
    identity = Identity.load_or_create(directory / "hospital.key")
    found = Ledger.create(
        directory / "ledger.db", identity, name=LEDGER_NAME, label=label, organisation=label, roles=["hospital"]
    )
    with found as ledger, Gossip(ledger, broker), Status(ledger):
        say("joined", feed=identity.fingerprint, ledger=ledger.id.hex())
        for order in orders():
            if "device" in order:
                ledger.append(DeviceEnrol(device=order["device"], key=bytes.fromhex(order["key"])))
                say("device enrolled")
                continue
            say("reply", text=ledger.enrol(order["enrol"], broker=broker), to=order["for"])


def be_oximeter(directory: Path) -> None:
    """Measure and sign; tell when the box has acknowledged all."""
    from medledger_bridge import simulator

    options = {
        "--state": directory / "memory",
        "--device": OXIMETER,
        "--pty": directory / Path(LINE).name,
        "--interval": READING_MS,
        "--readings": READINGS_EACH,
        "--count": SIGNED_BATCHES * READINGS_EACH,
    }

    def measure() -> None:
        simulator.main(["--once", *(str(each) for pair in options.items() for each in pair)])
        say("measured", batches=SIGNED_BATCHES)

    threading.Thread(target=measure, name="oximeter", daemon=True).start()  # ends with us, whatever it does
    for _ in orders():
        pass


def be_auditor(directory: Path, label: str, broker: str) -> None:
    """Pull a replica, verify it, report."""
    identity = Identity.load_or_create(directory / "auditor.key")
    with (
        apply(identity, directory / "ledger.db", "auditor", label) as ledger,
        Gossip(ledger, broker),
        Status(ledger),
    ):
        say("joined", feed=identity.fingerprint)
        for order in orders():
            if order.get("verify"):
                verify(ledger)


def verify(ledger: Ledger) -> None:
    """Check every byte and every signature, then say what the ledger says."""
    report = ledger.verify(every_signature=True, progress=lambda done: say("verifying", done=done))
    say(
        "report",
        blocks=report.blocks,
        entries=report.entries,
        signatures=report.own_signatures,
        forks=len(report.forks),
        digest=ledger.digest().hex(),
        findings=[finding.sentence for finding in find(ledger)],
        authors=authors(ledger),
    )


def authors(ledger: Ledger) -> list[dict[str, Any]]:
    """What each member has logged."""
    found = []
    for feed, head in ledger.frontier().items():
        member = ledger.membership.members.get(feed)
        entries = list(ledger.entries(author=feed, void=True))
        samples = [sample for each in entries if each.type == "reading" for sample in each.content["samples"]]
        found.append(
            {
                "label": fingerprint(feed) if member is None else member.label,
                "feed": fingerprint(feed),
                "roles": [] if member is None else sorted(member.roles),
                "blocks": head.seq + 1,
                "entries": Counter(each.type for each in entries if each.void is None),
                "void": sum(each.void is not None for each in entries),
                "samples": len(samples),
                "flagged": sum("flag" in sample[3] for sample in samples if len(sample) > 3),
                "signed": sum(len(each.content["readings"]) for each in entries if each.type == "device.batch"),
                "alarms": sum("alarm" in each.content for each in entries if each.type == "reading"),
                "patients": len({each.subject for each in entries if each.subject is not None}),
                "unassigned": sum(each.subject is None for each in entries if each.type == "reading"),
                "governance": sum(
                    block.header.block_class == BlockClass.CONTROL for block in ledger.blocks(feed, 0, head.seq + 1)
                ),
            }
        )
    return found


class Status:
    """Tells the demo how far this replica has come, whenever that changes."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._changed = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._tell, name="status", daemon=True)

    def __enter__(self) -> None:
        self._undo = self._ledger.watch(lambda _: self._changed.set())
        self._changed.set()
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._undo()
        self._over = True
        self._changed.set()
        self._thread.join()

    def _tell(self) -> None:
        while self._changed.wait() and not self._over:
            self._changed.clear()
            heads = {fingerprint(feed): head.seq for feed, head in self._ledger.frontier().items()}
            say("status", heads=heads, members=len(self._ledger.membership.members))
            threading.Event().wait(STATUS_SECONDS)


def main() -> None:
    """Entry point of the process."""
    role, directory, label, *broker = sys.argv[1:]
    if role == "hospital":
        be_hospital(Path(directory), label, *broker)
    elif role == "auditor":
        be_auditor(Path(directory), label, *broker)
    elif role == "oximeter":
        be_oximeter(Path(directory))
    else:
        become_agent(Path(directory), role, label)


if __name__ == "__main__":
    main()
