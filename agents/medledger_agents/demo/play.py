"""The demo: a hospital, a bedside box, a pharmacy and an auditor share a ledger, each in a process of its own.

Nothing in it is played: the parties join by request and reply, monitors speak MLLP to the bedside agent, a till speaks
to the pharmacy's, replicas converge over an MQTT broker, and the auditor checks every signature of what reached it.

 (1) the broker, embedded or given
 (2) the hospital founds the ledger, lets in the others, who ask to join, and enters the key of an oximeter
 (3) monitors and the till send what is in data/; the oximeter signs what it measures
 (4) all four replicas converge
 (5) the auditor verifies and reports
 (6) everybody ends; the replicas are compared, and searched for patients' data
"""

from __future__ import annotations

import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from medledger.errors import StoreError, TransportError
from medledger.transport.address import BrokerAddress

from ..broker import EmbeddedBroker
from ..subjects import Subjects
from .account import Played, summed_up
from .feed import MONITORS, Scanned, Sent, messages, play_monitor, play_till, scans
from .party import OXIMETER
from .processes import DemoError, Party, stop_all
from .screen import Screen, Summary, choose

LABELS: Final = {
    "hospital": "Riverside Hospital",
    "bedside": "Ward 3 bedside box",
    "pharmacy": "Corner Pharmacy",
    "auditor": "Independent auditor",
}
ROLES: Final = {"hospital": "governor", "bedside": "bedside", "pharmacy": "pharmacy", "auditor": "auditor"}
SCAN_PAUSE_SECONDS: Final = 0.8
MESSAGES: Final = "messages acknowledged"
SCANS: Final = "scans answered"
REPLICA: Final = "blocks at the auditor"
CHECKED: Final = "blocks verified"


def run(*, broker: str | None, directory: Path | None, plain: bool) -> None:
    """Play the demo and print its summary. Raises a `MedledgerError` where something does not work."""
    started = time.monotonic()
    console = Console(highlight=False)
    if broker is not None:
        _check_broker(broker)
    home = _home(directory)
    with _ended_by_sigterm(), choose(console, plain=plain) as screen:
        demo = Demo(home, screen)
        try:
            demo.play(broker)
        finally:
            with _undisturbed():
                orderly = demo.stop()
    if not orderly:
        raise DemoError("a party did not end as it should", hint=f"See {home}.")
    demo.summary(time.monotonic() - started).show(console)


def _check_broker(url: str) -> None:
    """That something listens there, before anybody is started. Raises `TransportError`."""
    address = BrokerAddress.parse(url)
    try:
        socket.create_connection((address.host, address.port), timeout=3).close()
    except OSError as error:
        raise TransportError(
            f"the broker {address} cannot be reached: {error.strerror or error}",
            hint="Start it, correct the URL, or leave --broker out for an embedded one.",
        ) from error


def _home(directory: Path | None) -> Path:
    """A directory for the parties' directories."""
    if directory is None:
        return Path(tempfile.mkdtemp(prefix="medledger-demo-"))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        taken = any(directory.iterdir())
    except OSError as error:
        raise StoreError(f"{directory} cannot be used: {error.strerror}", hint="Choose another directory.") from error
    if taken:
        raise StoreError(f"{directory} is not empty", hint="Choose another directory, or none for a temporary one.")
    return directory


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does, so that nobody is left behind."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """While the parties end, an impatient second Ctrl-C must not leave some of them behind."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Demo:
    """One run."""

    def __init__(self, home: Path, screen: Screen) -> None:
        self._home = home
        self._screen = screen
        self._broker: EmbeddedBroker | None = None
        self._parties: dict[str, Party] = {}
        self._oximeter: Party | None = None
        self._heads: dict[str, dict[str, int]] = {role: {} for role in LABELS}  # what each party holds, by feed
        self._blocks: dict[str, int] = {}  # the block of each message, by the start of its hash
        self._told = threading.Condition()
        self._sent: list[Sent] = []
        self._scanned: list[Scanned] = []
        self._report: dict[str, Any] = {}

    # --- the run ------------------------------------------------------------------------------------------------

    def play(self, url: str | None) -> None:
        """Steps (1) to (5)."""
        url = self._start_broker(url)
        self._gather(url)
        self._feed()
        self._converge()
        self._verify()

    def stop(self) -> bool:
        """Step (6): end whatever runs. Whether every party ended by itself and well."""
        self._screen.happened("demo", "everybody ends", style="quiet")
        try:
            return stop_all([*self._parties.values(), *([self._oximeter] if self._oximeter else [])])
        finally:
            if self._broker is not None:
                self._broker.stop()

    def _start_broker(self, url: str | None) -> str:
        if url is not None:
            self._screen.happened("broker", "a broker of your own", url)
            return url
        self._broker = EmbeddedBroker()
        self._broker.start()
        self._screen.happened("broker", "MQTT, trusted with nothing", self._broker.url)
        return self._broker.url

    def _gather(self, url: str) -> None:
        self._oximeter = Party("oximeter", OXIMETER, self._home / "oximeter", url, lambda *_: None)
        for role, label in LABELS.items():
            party = self._parties[role] = Party(role, label, self._home / role, url, self._heard)
            self._screen.party(label, role=ROLES[role], process=party.process.pid, state="starting")
        hospital = self._parties["hospital"]
        ledger = hospital.wait_for("joined")["ledger"]
        self._screen.happened("hospital", "founds the ledger", ledger[:16], "good")
        for role, party in self._parties.items():
            if party is hospital:
                continue
            request = party.wait_for("request")["text"]
            hospital.order(enrol=request, **{"for": role})
            party.order(reply=hospital.wait_for("reply", to=role)["text"])
            party.wait_for("joined")
            self._screen.happened("hospital", f"lets in: {party.label}", f"key {party.feed}", "good")
        for role in ("bedside", "pharmacy"):
            self._parties[role].wait_for("ready")
        key = self._parties["bedside"].wait_for("instrument is not enrolled")["key"]
        hospital.order(device=OXIMETER, key=key)
        hospital.wait_for("device enrolled")
        self._screen.happened("hospital", f"enters the key of oximeter {OXIMETER}", key[:16], "good")

    def _feed(self) -> None:
        bedside = self._parties["bedside"].wait_for("listening")["port"]
        pharmacy = self._parties["pharmacy"].wait_for("listening")["port"]
        self._screen.progress(MESSAGES, 0, self._expected_messages)
        self._screen.progress(SCANS, 0, len(scans()))
        pool = ThreadPoolExecutor(len(MONITORS) + 2)
        subjects = Subjects.open(self._home / "bedside" / "subjects.key", "month")
        tasks = [pool.submit(play_monitor, monitor, bedside, subjects, self._acknowledged) for monitor in MONITORS]
        tasks.append(pool.submit(play_till, pharmacy, SCAN_PAUSE_SECONDS, self._answered))
        tasks.append(pool.submit(self._measured))
        try:
            for task in tasks:
                task.result()
        except OSError as error:
            raise DemoError(f"an agent does not answer: {error}", hint=f"See {self._home}.") from error
        finally:
            pool.shutdown(wait=False)  # after Ctrl-C the senders end when the agents do

    @property
    def _expected_messages(self) -> int:
        return sum(len(messages(monitor)) for monitor in MONITORS) + 1  # one is sent twice

    def _converge(self) -> None:
        """Until everybody holds what its author holds."""
        wanted = {
            party.feed: heads[party.feed]
            for role, party in self._parties.items()
            if party.feed in (heads := self._heads[role])
        }
        total = sum(seq + 1 for seq in wanted.values())
        for role, party in self._parties.items():

            def there(heads: dict[str, int] = self._heads[role], watched: bool = role == "auditor") -> bool:
                held = {feed: min(heads.get(feed, -1), seq) for feed, seq in wanted.items()}
                if watched:
                    self._screen.progress(REPLICA, sum(seq + 1 for seq in held.values()), total)
                return held == wanted

            party.wait_until(there, "its replica is not complete")
            self._screen.party(party.label, state="in sync", blocks=total)
        self._screen.happened("gossip", "all four hold the same", f"{total} blocks", "good")

    def _verify(self) -> None:
        auditor = self._parties["auditor"]
        auditor.order(verify=True)
        report = self._report = auditor.wait_for("report")
        self._screen.progress(CHECKED, report["blocks"], report["blocks"])
        self._screen.happened(
            "auditor", f"checked {report['blocks']} blocks", f"{report['signatures']} signatures, all right", "good"
        )

    # --- what is heard ------------------------------------------------------------------------------------------

    def _heard(self, party: Party, event: dict[str, Any]) -> None:
        """An event of a party, in that party's thread."""
        heads = self._heads[party.role]
        name = event["event"]
        if name == "status":
            heads.update(event["heads"])
        elif name == "blocks":
            heads[party.feed if event["feed"] == "own" else event["feed"]] = event["last"]
        elif name in ("message logged", "message repeated"):
            with self._told:
                self._blocks[event["message"]] = event["block"]
                self._told.notify_all()
        elif name == "verifying":
            self._screen.progress(CHECKED, event["done"], sum(seq + 1 for seq in heads.values()))
        self._screen.party(party.label, state=_STATES.get(name, ""), blocks=sum(seq + 1 for seq in heads.values()))

    def _acknowledged(self, sent: Sent) -> None:
        with self._told:
            self._told.wait_for(lambda: sent.name in self._blocks, 1)
            block = self._blocks.get(sent.name)
            self._sent.append(sent)
            count = len(self._sent)
        where = "" if block is None else f"block {block}"
        if sent.code != "AA":
            self._screen.happened(sent.monitor, sent.shown, f"{sent.code}: not taken", "bad")
        elif sent.again:
            self._screen.happened(sent.monitor, "the same message again", f"AA, logged once, {where}", "quiet")
        else:
            urgent = sent.shown.startswith("ALARM")
            outcome = f"AA, {where}, at once" if urgent else f"AA, {where}"
            self._screen.happened(sent.monitor, sent.shown, outcome, "alarm" if urgent else "plain")
        self._screen.progress(MESSAGES, count, self._expected_messages)

    def _answered(self, scanned: Scanned) -> None:
        self._scanned.append(scanned)
        reply = scanned.reply
        if reply["result"] == "dispensed":
            self._screen.happened("pharmacy", scanned.what, f"dispensed, block {reply['block']}", "good")
        else:
            self._screen.happened("pharmacy", scanned.what, f"REFUSED: {reply['reason']}", "bad")
        self._screen.progress(SCANS, len(self._scanned), len(scans()))

    def _measured(self) -> None:
        assert self._oximeter is not None
        batches = self._oximeter.wait_for("measured")["batches"]
        self._screen.happened(OXIMETER, f"signed {batches} batches itself", "durable at the box")

    # --- the end ------------------------------------------------------------------------------------------------

    def summary(self, seconds: float) -> Summary:
        """What happened, for somebody who did not watch."""
        return summed_up(Played(self._home, list(LABELS), self._report, self._sent, self._scanned), seconds)


_STATES: Final = {
    "request": "asks to join",
    "joined": "let in",
    "status": "replicating",
    "listening": "listening",
    "message logged": "logging",
    "dispensed": "dispensing",
    "dispensing refused": "refused a pack",
    "verifying": "verifying",
    "report": "verified",
    "stopping": "ending",
    "stopped": "ended",
}
