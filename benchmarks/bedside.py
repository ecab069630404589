"""A bedside agent as it is deployed: a process with gossip to a broker, fed over MLLP. How soon it logs, what it costs
when nothing happens, its memory, and its pace.

- An hour's load is a message a second, sent as fast as the agent takes them, in four parts. Growth is what is resident
  after the second half of it, against what was after the first.
- The time until it logs is from the start of the process to the first acknowledgement, of a durable entry. What it
  costs when idle is the processor's time of all its threads, with a broker connected and no message.

The pace is held against the least that anybody could do with the same messages in the same run: python-hl7 parses each,
and a plain SQLite file takes the bytes, one FULL commit for as many as the agent puts into a block. The two take turns,
each as often the first as the second, and of all rounds the one in the middle counts. Where other programs run, the
processor's time that each takes for a message says more than its pace.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import mkdtemp
from time import perf_counter, sleep, thread_time

import hl7

from medledger_agents.broker import EmbeddedBroker

from .box import SENDERS, Agent, enrolled, messages
from .measure import Line, in_turns, line
from .scale import Scale

RESIDENT_BAR_MIB = 60.0
GROWTH_BAR = 1.05
START_BAR_SECONDS = 1.5
IDLE_BAR_PERCENT = 0.5
PACE_BAR = 0.7
HOUR = 4
"""Rounds that make an hour's load."""
ROUNDS = 9
PER_COMMIT = 128
"""Messages in a commit of the reference: about as many as the agent puts into a block under this load."""
REFERENCE = "python-hl7 and a plain SQLite commit of the same messages"


def bedside(place: Path, scale: Scale) -> Iterator[Line]:
    """How soon, how idle, how large, and the pace from socket to durable block."""
    part = max(1, scale.appends // HOUR)
    with EmbeddedBroker() as broker:
        config = enrolled(place, broker.url)
        began = perf_counter()
        agent = Agent(config)
        agent.feed(1)
        yield _start(perf_counter() - began)
        yield _idle(agent, part * HOUR / 60)
        load = Load(agent, place, part)
        yield from _memory(agent, load)
        load.rounds(ROUNDS - HOUR)
        agent.stop()
    yield load.pace()
    yield load.work()


def _start(seconds: float) -> Line:
    return line(
        "agent-start",
        seconds,
        "s to a durable entry",
        reference=f"{START_BAR_SECONDS:g} s",
        ratio=seconds / START_BAR_SECONDS,
        bar=1.0,
        method="from the start of the process to its first acknowledgement, with a broker",
        result=[1],
    )


def _idle(agent: Agent, seconds: float) -> Line:
    """What it costs when nothing comes."""
    before = agent.processor_seconds()
    sleep(seconds)
    cost = 100 * (agent.processor_seconds() - before) / seconds
    return line(
        "agent-idle-cpu",
        cost,
        "% of a core",
        reference=f"{IDLE_BAR_PERCENT:g} %",
        ratio=cost / IDLE_BAR_PERCENT,
        bar=1.0,
        method=f"processor time of all threads in {seconds:.0f} s without a message, right after the start",
        result=[1],
    )


def _memory(agent: Agent, load: Load) -> Iterator[Line]:
    """What is resident at most within an hour's load, and how it grows in the second half of it."""
    count = load.part * HOUR
    load.rounds(HOUR // 2)
    half = agent.resident_bytes()
    load.rounds(HOUR // 2)
    whole = agent.resident_bytes()
    agent.scrape()
    peak = agent.peak_bytes() / 2**20
    yield line(
        "bedside-agent-resident",
        peak,
        "MiB peak resident",
        reference=f"{RESIDENT_BAR_MIB:g} MiB",
        ratio=peak / RESIDENT_BAR_MIB,
        bar=1.0,
        method=f"VmHWM of the agent's process after {count} messages over {SENDERS} connections, gossiping",
        result=[count],
    )
    yield line(
        "bedside-agent-growth",
        whole / 2**20,
        "MiB after an hour's load",
        reference="the same after half of it",
        ratio=whole / half,
        bar=GROWTH_BAR,
        method=f"VmRSS after {count} messages to VmRSS after {count // 2}",
        result=[count],
    )


class Load:
    """Rounds of `part` messages each, which the agent and the reference take in turns."""

    def __init__(self, agent: Agent, place: Path, part: int) -> None:
        self.part = part
        self._agent = agent
        self._place = place
        self._times: list[tuple[float, float]] = []  # seconds of each round: the agent's, the reference's
        self._agent_work: list[float] = []  # seconds of the processor in each
        self._plain_work: list[float] = []

    def rounds(self, count: int) -> None:
        """So many more of them."""
        self._times += zip(*in_turns([self._feed, self._plain], count), strict=True)

    def pace(self) -> Line:
        """Messages a second, of the round in the middle."""
        middle = len(self._times) // 2
        ratio, pace = sorted((plain / took, self.part / took) for took, plain in self._times)[middle]
        return line(
            "bedside-agent-pace",
            pace,
            "messages/s",
            reference=REFERENCE,
            ratio=ratio,
            bar=PACE_BAR,
            at_least=True,
            method="MLLP socket to acknowledged, that is durable, in turns with the reference: median of "
            f"{len(self._times)} rounds",
            result=[self.part * len(self._times)],
        )

    def work(self) -> Line:
        """What a message costs of the processor."""
        return line(
            "bedside-agent-work",
            median(self._agent_work) / self.part * 1e6,
            "us of the processor for a message",
            reference=REFERENCE,
            ratio=median(self._agent_work) / median(self._plain_work),
            method="all threads of the agent, gossiping, against the reference's: medians of "
            f"{len(self._times)} rounds",
            result=[self.part * len(self._times)],
        )

    def _feed(self) -> None:
        before = self._agent.processor_seconds()
        self._agent.feed(self.part)
        self._agent_work.append(self._agent.processor_seconds() - before)

    def _plain(self) -> None:
        before = thread_time()
        _plain(Path(mkdtemp(dir=self._place)) / "plain.db", self.part)
        self._plain_work.append(thread_time() - before)


def _plain(path: Path, count: int) -> None:
    """The least: parse, and commit the bytes."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, raw BLOB NOT NULL) STRICT")
    sent = messages(0, count)
    for start in range(0, count, PER_COMMIT):
        db.execute("BEGIN IMMEDIATE")
        for raw in sent[start : start + PER_COMMIT]:
            hl7.parse(raw.decode())
            db.execute("INSERT INTO messages (raw) VALUES (?)", (raw,))
        db.execute("COMMIT")
    db.close()
