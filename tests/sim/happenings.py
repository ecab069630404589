"""What happens to machines, people and the broker in a run: one function for each kind, counted by its name.

Each is called at random moments, and does nothing where it cannot happen just then. True is returned where it did
happen. What is only prepared here is counted where it strikes.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from random import Random

from medledger.governing import approve, change_epoch
from medledger.limits import MAX_HELD_KEYS

from .disk import Disk, Mode
from .machine import DATABASE, Machine
from .world import World

POINTS = 60  # persist points within which a power cut strikes
CLONES = 2  # of one run


class Happenings:
    """The misfortunes of one world."""

    def __init__(self, world: World, rng: Random) -> None:
        self._world = world
        self._rng = rng
        self._images: dict[int, tuple[Disk, int]] = {}  # by machine: its disk at an earlier moment
        self._clones = 0
        self._names = 0

    def happen(self, name: str) -> None:
        """Let one thing of this kind happen, and count it if it did."""
        if _KINDS[name](self):
            self._world.faults[name] += 1

    def _somebody(self, *, running: bool = True) -> Machine | None:
        """One of the honest machines."""
        found = [each for each in self._world.honest() if each.running or not running]
        return self._rng.choice(found) if found else None

    def _later(self, low: float, high: float, act: Callable[[], object]) -> None:
        self._world.schedule.after(self._rng.uniform(low, high), act)

    # --- processes and power ------------------------------------------------------------------------------------

    def _kill(self) -> bool:
        machine = self._somebody()
        if machine is not None:
            machine.crash()
        return machine is not None

    def _kill_amid_effects(self) -> bool:
        machine = self._somebody()
        if machine is not None:
            machine.die_amid_effects()
        return False  # the machine counts it

    def _cut_power(self) -> bool:
        """At one of the next persist points, whatever the machine does then."""
        machine = self._somebody()
        if machine is not None:
            machine.disk.crash_at = machine.disk.points + self._rng.randrange(1, POINTS)
        return False  # the machine counts it

    def _jump_clock(self) -> bool:
        machine = self._somebody(running=False)
        kind = None if machine is None else machine.clock.jump()
        if kind not in (None, "right again"):
            self._world.faults[f"wall clock: {kind}"] += 1
        return False  # it is counted by its kind

    # --- disks --------------------------------------------------------------------------------------------------

    def _restore(self) -> bool:
        """Put back an image of the database that was taken earlier; or take one, for another time."""
        machine = self._somebody()
        if machine is None:
            return False
        image = self._images.pop(machine.number, None)
        if image is None:
            copy = machine.disk.copy(f"image of {machine.number}")
            self._images[machine.number] = (copy, len(machine.acknowledged))
            return False
        lonely = not self._spare(machine) and self._rng.random() < 0.9
        if lonely or machine.disk.points == image[0].points:
            self._images[machine.number] = image
            return False  # what only it holds would be gone; or nothing would
        machine.halt()
        _replace_database(machine.disk, image[0], self._rng)
        self._world.checks.forget(machine, image[1])
        self._later(1, 20, machine.boot)
        return True

    def _spare(self, machine: Machine) -> bool:
        """Whether others hold all that it does: else authors may wait for their blocks for ever, and all be silent."""
        others = [each.ledger for each in self._world.honest() if each is not machine and each.ledger is not None]
        assert machine.ledger is not None  # it runs
        lengths = {feed.author: feed.length for feed in machine.ledger.store.feeds.values()}
        held = [{feed.author: feed.length for feed in other.store.feeds.values()} for other in others]
        return all(any(each.get(author, 0) >= length for each in held) for author, length in lengths.items())

    def _clone(self) -> bool:
        """Copy a card, key and all, and put the copy in another box: both go on."""
        machine = self._somebody()
        if machine is None or self._clones >= CLONES or machine.me in self._world.truth.guilty:
            return False
        self._clones += 1
        twin = self._world.clone(machine)
        self._later(0, 5, machine.boot)
        self._later(0, 5, twin.boot)
        self._world.start_writing(twin)
        return True

    def _fill(self) -> bool:
        machine = self._somebody()
        if machine is None or machine.disk.capacity is not None:
            return False
        disk = machine.disk
        disk.capacity = disk.used + self._rng.randrange(20_000)

        def empty() -> None:
            disk.capacity = None

        self._later(5, 60, empty)
        return False  # the disk tells when it is full

    def _fail(self) -> bool:
        """A write, a flush or another call fails, once; a flush may take the data with it."""
        machine = self._somebody()
        if machine is None:
            return False
        kind = self._rng.choice(["write", "sync", "sync", "truncate", "open", "rename", "dirsync", "any"])
        lose = kind in ("sync", "dirsync") and self._rng.random() < 0.5
        error = self._rng.choice([errno.EIO, errno.ENOSPC])
        machine.disk.fail(kind, nth=self._rng.randrange(1, 30), error=error, lose=lose)
        return False  # the disk tells when it fails

    # --- the network --------------------------------------------------------------------------------------------

    def _part(self) -> bool:
        """Sites lose each other, for a while."""
        machines = [each for each in self._world.machines if not each.dead]
        for machine in machines:
            machine.group = self._rng.randrange(2)
        if len({machine.group for machine in machines if machine.running}) < 2:
            machines[0].group = 1 - machines[0].group

        def meet() -> None:
            for machine in self._world.machines:
                machine.group = 0

        self._later(5, 150, meet)
        return True

    def _disconnect(self) -> bool:
        machine = self._somebody()
        seconds = self._rng.choice([0.1, 5.0, 60.0]) * (0.5 + self._rng.random())
        return machine is not None and machine.cut_off(seconds)

    def _restart_broker(self) -> bool:
        broker = self._world.broker
        if not broker.up:
            return False
        seconds = self._rng.choice([0.5, 5.0, 40.0])
        for client in broker.die():
            if isinstance(client, Machine):
                client.cut_off(seconds + self._rng.random())

        def come_back() -> None:
            broker.up = True

        self._later(seconds * 0.9, seconds, come_back)
        return True

    def _censor(self) -> bool:
        """One feed's live blocks are not passed on, or nothing that one machine says is."""
        machine = self._somebody()
        if machine is None or machine.node is None:
            return False
        broker = self._world.broker
        if self._rng.random() < 0.5:
            broker.silenced.add(machine.number)
            self._later(5, 200, lambda: broker.silenced.discard(machine.number))
        else:
            topic = self._world.live_topic(machine.me)
            broker.censored.add(topic)
            self._later(5, 200, lambda: broker.censored.discard(topic))
        return True

    # --- people -------------------------------------------------------------------------------------------------

    def _revoke(self) -> bool:
        """A governor cuts the feed of a member, who may have written more by then."""
        governor = self._governor()
        keys = list(dict.fromkeys(each.me for each in self._world.honest() if each not in self._world.governors))
        if governor is None or governor.ledger is None or len(keys) < 2:
            return False
        if not self._may_rotate():
            return False
        keys += [enemy.pen.public_key for enemy in self._world.enemies if not enemy.outcast]
        ledger, key = governor.ledger, self._rng.choice(keys)
        if not governor.attempt(lambda: ledger.revoke(key)):
            return False
        self._world.see_revocations()
        self._approve_soon()
        return True

    def _rotate(self) -> bool:
        """A new transport key, though nobody was revoked."""
        governor = self._governor()
        ledger = None if governor is None else governor.ledger
        if governor is None or ledger is None or not self._may_rotate():
            return False
        return governor.attempt(ledger.rotate_transport_key)

    def _may_rotate(self) -> bool:
        """Who misses as many rotations as keys are kept is not heard any more, and is no fault: two groups may rotate
        apart.
        """
        ledgers = [each.ledger for each in self._world.honest() if each.ledger is not None]
        return all(len(ledger.transport_keys) < MAX_HELD_KEYS // 2 for ledger in ledgers)

    def _enrol(self) -> bool:
        governor = self._governor()
        if governor is None:
            return False
        self._names += 1
        newcomer = self._world.join(governor, f"new{self._names}", "bedside")
        if newcomer is not None:
            self._world.start_writing(newcomer)
            self._approve_soon()
        return newcomer is not None

    def _new_epoch(self) -> bool:
        governor = self._governor()
        if governor is None or governor.ledger is None:
            return False
        ledger = governor.ledger
        done = governor.attempt(lambda: change_epoch(ledger))
        self._approve_soon()
        return done

    def _governor(self) -> Machine | None:
        found = [each for each in self._world.governors if each.running]
        return self._rng.choice(found) if found else None

    def _approve_soon(self) -> None:
        approve_soon(self._world, self._rng)


def approve_soon(world: World, rng: Random) -> None:
    """Governors look at what is pending, each in its own time."""
    for governor in world.governors:
        world.schedule.after(rng.uniform(0.5, 20), _approve_all, world, governor)


def _approve_all(world: World, governor: Machine) -> None:
    ledger = governor.ledger
    if ledger is None:
        return
    for act in ledger.membership.pending:
        if governor.ledger is ledger and governor.me not in act.approved:
            governor.attempt(lambda act=act: approve(ledger, act.id))
    world.see_revocations()


def _replace_database(disk: Disk, image: Disk, rng: Random) -> None:
    """What an operator does who restores a backup: the database's files, and not the key's and the witness's."""
    image.crash(Mode.KILLED, rng)
    disk.mend()
    disk.crash_at = None
    names = {name for name in (*disk.names(), *image.names()) if name.startswith(DATABASE)}
    for name in sorted(names):
        if disk.find(name) is not None:
            disk.unlink(name)
        if image.find(name) is not None:
            data = bytes(image.open(name).data)
            file = disk.open(name, create=True)
            disk.write(file, name, 0, data)
            disk.sync(file, name)
    disk.sync_directory()


_KINDS: dict[str, Callable[[Happenings], bool]] = {
    "process killed": Happenings._kill,
    "killed amid effects": Happenings._kill_amid_effects,
    "power cut": Happenings._cut_power,
    "wall clock jump": Happenings._jump_clock,
    "partition": Happenings._part,
    "connection lost": Happenings._disconnect,
    "broker restart": Happenings._restart_broker,
    "censorship": Happenings._censor,
    "restored backup": Happenings._restore,
    "cloned node": Happenings._clone,
    "disk full": Happenings._fill,
    "I/O error": Happenings._fail,
    "revocation": Happenings._revoke,
    "key rotation": Happenings._rotate,
    "newcomer": Happenings._enrol,
    "new epoch": Happenings._new_epoch,
}
