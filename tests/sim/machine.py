"""A simulated machine: the shipped ledger and gossip node on a disk, with a clock and a connection of its own.

Its program is what an agent is: it opens the ledger, connects, hands the node every event with the time, carries out
the effects in order, writes readings, and is started again when it has died or its disk has failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from medledger import Ledger
from medledger.errors import ForkedError, MedledgerError, MembershipError, RecoveringError, StoreError
from medledger.importing import Advance
from medledger.ledger import Released
from medledger.limits import MAX_DATA_BYTES
from medledger.registry import Record
from medledger.sync import (
    Advanced,
    Alarm,
    Connected,
    Disconnected,
    Effect,
    Event,
    Node,
    Publish,
    Received,
    Subscribe,
    Tick,
    WakeAt,
)
from medledger.witness import Witness

from .broker import Broker, Session
from .clocks import MachineClock
from .disk import Disk, Mode, PowerCut
from .schedule import Schedule
from .trace import Trace
from .truth import Failure, Pen, Truth

RESTART_SECONDS = (1.0, 20.0)
DATABASE = "ledger.db"


def channel_of(topic: str) -> str:
    """The letter that tells what is published on a topic."""
    return topic.split("/", 4)[3] if topic.count("/") >= 3 else "?"


class WatchedLedger(Ledger):
    """The shipped ledger, with an ear at its way out."""

    truth: Truth

    def release(self, feed: bytes, start: int, stop: int, max_bytes: int = MAX_DATA_BYTES) -> list[Released]:
        """Let blocks out, and enter in the record what left of our own feed."""
        found = super().release(feed, start, stop, max_bytes)
        if feed == self.me:
            self.truth.leave(feed, start, found)
        return found


class Machine:
    """One machine of a world. `number` is its place there, `name` what people call it."""

    def __init__(
        self,
        number: int,
        name: str,
        *,
        disk: Disk,
        seed: bytes,
        schedule: Schedule,
        broker: Broker,
        truth: Truth,
        trace: Trace,
        faults: Counter[str],
        rng: Random,
    ) -> None:
        self.number = number
        self.name = name
        self.disk = disk
        self.seed = seed
        self.pen = Pen(seed, truth, disk.path("key"))
        self.rng = rng
        self.clock = MachineClock(schedule.clock, rng)
        self.group = 0
        self.honest = True
        self.dead = False  # for good: it is part of no final comparison
        self.ledger: WatchedLedger | None = None
        self.node: Node | None = None
        self.alarms: Counter[str] = Counter()
        self.told: set[str] = set()  # alarms of this life
        self.refusals: Counter[str] = Counter()
        self.acknowledged: list[tuple[int, bytes]] = []  # own blocks that `append` returned: seq and id
        self.on_life: Callable[[Machine], None] = lambda _: None
        self.on_advance: Callable[[Machine, Advance], None] = lambda *_: None
        self.on_event: Callable[[Machine], None] = lambda _: None
        self.disk_failed = False  # ever: then a store may say that something is wrong with it
        self.life = 0
        self._schedule = schedule
        self._broker = broker
        self._truth = truth
        self._trace = trace
        self._faults = faults
        self._session: Session | None = None
        self._wake = 0
        self._stop_in_effects = False
        disk.on_fault = self._disk_failed

    # --- life ---------------------------------------------------------------------------------------------------

    @property
    def me(self) -> bytes:
        return self.pen.public_key

    @property
    def options(self) -> dict[str, Any]:
        """What a ledger of this machine is opened with, besides its path and key."""
        return {"clock": self.clock.read, "randomness": self.rng.randbytes}

    @property
    def running(self) -> bool:
        """Whether the program runs."""
        return self.node is not None

    @property
    def ready(self) -> bool:
        """Whether the program runs and may write."""
        return self.ledger is not None and self.ledger.state == "ready"

    @property
    def waits_in_vain(self) -> bool:
        """Whether it does not sign for want of blocks of its own, and has all that it ever let out."""
        ledger = self.ledger
        if ledger is None or ledger.state != "recovering":
            return False
        head, witnessed = ledger.head(self.me), Witness.for_identity(self.pen, ledger.id).seq
        return witnessed is None or (head is not None and head.seq >= witnessed)

    def has_proof(self, feed: bytes) -> bool:
        """Whether it runs and holds the proof that this feed has forked."""
        return self.ledger is not None and feed in self.ledger.forks

    def adopt(self, ledger: Ledger) -> None:
        """Run on this ledger, which was just made or opened here."""
        assert isinstance(ledger, WatchedLedger)
        ledger.truth = self._truth
        self.ledger = ledger
        self.pen.guard = self._guard
        ledger.watch(self._advanced)
        self.life += 1
        node_rng = Random(self.rng.randbytes(16))
        self.told.clear()
        self.node = Node(ledger, rng=node_rng, boot_id=self.rng.randbytes(8), now=self.clock.monotonic)
        self.on_life(self)
        self._schedule.after(0.2 * self.rng.random(), self._connect, self.life)

    def boot(self) -> None:
        """Start the program, should it not run; try again later where the disk does not let it."""
        if self.running or self.dead:
            return
        self._trace.note(self._schedule.now, self.name, "boot")
        ledger = None
        try:
            ledger = WatchedLedger.open(self.disk.path(DATABASE), self.pen, **self.options)
            self.adopt(ledger)
        except PowerCut:
            self.lose_power()
        except StoreError as error:
            self._disk_refused("boot: ", error)
            self.halt()
            self._restart_later()

    def halt(self, mode: Mode = Mode.KILLED) -> None:
        """The program ends, however it stands: nothing is flushed, nothing said. `mode` is what becomes of its disk."""
        self._trace.note(self._schedule.now, self.name, "halt", self.disk.points.to_bytes(8, "big"))
        self._broker.disconnect(self)
        self._session = None
        self.node = None
        self.life += 1
        self._wake += 1
        self.ledger = None
        self.disk.crash(mode, self.rng)

    def lose_power(self) -> None:
        """The machine goes dark: what the disk was not made to flush may be gone."""
        mode = self.rng.choice([Mode.DROPPED, Mode.TORN, Mode.REORDERED])
        self._faults[f"power cut, {mode.value}"] += 1
        self.halt(mode)
        self.clock.boot(self._schedule.now)
        self._restart_later()

    def crash(self) -> None:
        """Kill the program, and start it again a little later."""
        self.halt()
        self._restart_later()

    def _restart_later(self) -> None:
        self._schedule.after(self.rng.uniform(*RESTART_SECONDS), self.boot)

    # --- connection ---------------------------------------------------------------------------------------------

    def _connect(self, life: int) -> None:
        if life != self.life or self.node is None:
            return
        will = self.node.will()
        self._session = self._broker.connect(self, (will.topic, will.payload))
        if self._session is None:
            self._schedule.after(1 + 4 * self.rng.random(), self._connect, life)
            return
        self._trace.note(self._schedule.now, self.name, "connected")
        self.handle(Connected())

    def cut_off(self, seconds: float) -> bool:
        """Lose the connection, should there be one, and get it back after a while; whether there was one."""
        if self._session is None or self.node is None:
            return False
        self._broker.disconnect(self)
        self._session = None
        self._trace.note(self._schedule.now, self.name, "disconnected")
        life = self.life
        self.handle(Disconnected())
        self._schedule.after(seconds, self._connect, life)
        return True

    def receive(self, session: int, topic: str, payload: bytes) -> None:
        """A frame has come; one of an earlier connection comes to nobody."""
        if self._session is None or self._session.number != session:
            return
        self._trace.note(self._schedule.now, self.name, channel_of(topic), payload[-16:])
        self.handle(Received(topic, payload))

    # --- the node -----------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        """Hand an event to the node and carry out what it answers."""
        node = self.node
        assert node is not None  # a halted machine hands nothing in
        try:
            effects = node.handle(event, self.clock.monotonic)
        except PowerCut:
            self.lose_power()
            return
        except Failure:
            raise
        except Exception as error:
            raise Failure("no escaping exception", f"{self.name}: {error!r}") from error
        self._carry_out(effects)
        self.on_event(self)

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        life = self.life
        if self._stop_in_effects and effects:
            self._stop_in_effects = False
            self._faults["killed amid effects"] += 1
            effects = effects[: self.rng.randrange(len(effects))]
            self._schedule.after(0, self._end, life)
        for effect in effects:
            if type(effect) is Publish:
                if self._session is not None:
                    self._broker.publish(self, effect.topic, effect.payload, effect.qos, retain=effect.retain)
            elif type(effect) is WakeAt:
                self._wake += 1
                self._schedule.at(self.clock.moment(effect.time), self._tick, self._wake)
            elif type(effect) is Subscribe:
                if self._session is not None:
                    self._broker.subscribe(self._session, effect.filters)
            elif type(effect) is Alarm:
                self._alarmed(effect.text)

    def _end(self, life: int) -> None:
        if life == self.life:
            self.crash()

    def die_amid_effects(self) -> None:
        """Kill the program when it has carried out only a part of what its node told it next."""
        self._stop_in_effects = True

    def be_spared(self) -> None:
        """Whatever was going to happen to it does not."""
        self.disk.mend()
        self.disk.crash_at = None
        self._stop_in_effects = False

    def _disk_failed(self, fault: str) -> None:
        self.disk_failed = True
        self._faults[fault] += 1

    def _tick(self, wake: int) -> None:
        if wake == self._wake and self.node is not None:
            self._trace.note(self._schedule.now, self.name, "tick")
            self.handle(Tick())

    def _alarmed(self, text: str) -> None:
        self.alarms[text] += 1
        self.told.add(text)
        if "cannot be" in text:  # the disk: a supervisor starts the program again
            life = self.life
            self._schedule.after(self.rng.uniform(*RESTART_SECONDS), self._end, life)

    def _advanced(self, advance: Advance) -> None:
        """The ledger has grown, by whatever hand."""
        self.on_advance(self, advance)
        self._schedule.after(0, self._tell, self.life, advance)

    def _tell(self, life: int, advance: Advance) -> None:
        if life == self.life and self.node is not None:
            self._trace.note(self._schedule.now, self.name, "advanced", advance.feed[:4])
            self.handle(Advanced(advance.feed, advance.first, advance.last))

    # --- the program --------------------------------------------------------------------------------------------

    def _guard(self) -> None:
        state = "not open" if self.ledger is None else self.ledger.state
        if state != "ready":
            raise Failure("no signing unless ready", f"{self.name} signs while {state}")

    def write(self, *records: Record) -> bool:
        """Append these records as one block; whether that was done."""
        ledger = self.ledger
        if ledger is None:
            return False
        return self.attempt(lambda: self._acknowledge(ledger, records))

    def write_when_ready(self, *records: Record) -> None:
        """Append these records, now or as soon as that is allowed."""
        if not self.ready or not self.write(*records):
            self._schedule.after(1.0, self.write_when_ready, *records)

    def _acknowledge(self, ledger: Ledger, records: Sequence[Record]) -> None:
        block = ledger.append(*records)
        self.acknowledged.append((block.header.seq, block.id))
        self._trace.note(self._schedule.now, self.name, "wrote", block.id)

    def _disk_refused(self, when: str, error: Exception) -> None:
        """Something failed as if the disk had: only one that ever did fail is an excuse."""
        self.refusals[f"{when}{type(error).__name__}"] += 1
        if not self.disk_failed:
            raise Failure("no error without a cause", f"{self.name}: {when}{error!r}") from error

    def attempt(self, act: Callable[[], object]) -> bool:
        """Do something to the ledger that may be refused, or cut short; whether it was done."""
        try:
            act()
        except PowerCut:
            self.lose_power()
        except (RecoveringError, ForkedError, MembershipError) as error:
            self.refusals[type(error).__name__] += 1
        except StoreError as error:
            self._disk_refused("", error)
            self._schedule.after(self.rng.uniform(*RESTART_SECONDS), self._end, self.life)
        except MedledgerError as error:
            raise Failure("no escaping exception", f"{self.name}: {error!r}") from error
        else:
            return True
        return False
