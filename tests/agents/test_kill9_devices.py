"""kill -9 of a bedside agent that reads a signing device and serves a monitor, again and again.

The device is the reference firmware in C, on a pseudo-terminal: it keeps each batch until the box has acknowledged it.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from boxes import Agent, World, oru
from devices_on_lines import firmware
from medledger import DeviceEnrol
from medledger.findings import find
from waiting import until
from worlds import sync

DEVICE = "PO-1"


def device(directory: Path, stack: ExitStack) -> bytes:
    """Start the device, with a batch every 300 ms: its ring holds ten seconds; its public key."""
    state = ["--state", str(directory / "state"), "--device", DEVICE]
    said = subprocess.run([str(firmware()), *state, "--identify"], capture_output=True, check=True, timeout=30)
    running = ["--pty", str(directory / "line"), "--interval", "300", "--readings", "1"]
    process = stack.enter_context(subprocess.Popen([str(firmware()), *state, *running], stdout=subprocess.DEVNULL))
    stack.callback(process.kill)
    return bytes.fromhex(said.stdout.split()[-1].decode())


def kill_again_and_again(world: World, rng: random.Random, directory: Path, stack: ExitStack, kills: int) -> None:
    """So many kills at random moments; then everything is looked at, at the hospital."""
    world.hospital.append(DeviceEnrol(device=DEVICE, key=device(directory, stack)))
    wired = {"devices": {DEVICE: {"driver": "signed", "port": str(directory / "line")}}}
    box = world.box("bed", "bedside", instruments=wired, gossip={"offline": True})
    acknowledged: set[bytes] = set()
    number, batches = 0, 0
    for _ in range(kills):
        with box.start() as agent:
            until_killed = time.monotonic() + rng.uniform(0.05, 0.8)
            monitor = agent.monitor()
            while time.monotonic() < until_killed:
                assert monitor.ask(oru(number))[0] == "AA"
                acknowledged.add(box.named(oru(number)))
                number += 1
            monitor.send(oru(number))  # and one that is under way
            agent.kill()
            batches += logged(agent)
    with box.start() as agent:
        assert until(lambda: logged(agent) > 10, 60), "the device has its turn"
        dropped = [each["dropped"] for each in agent.log if each["event"] == "instrument greeted"][-1]
        agent.stop()
    with box.ledger() as ledger:
        ledger.fsck()
        sync(ledger, world.hospital)
    assert world.hospital.forks == {}
    found = sorted(entry.content["counter"] for entry in world.hospital.entries("device.batch"))
    assert len(found) == len(set(found)), "each batch once"
    # On a busy machine the box may be off for longer than the device's ring holds: what that pushed out had never been
    # acknowledged to the device, which says how many those were (some of them logged). Nothing else may be missing.
    lost = found[-1] - len(found)
    assert lost <= dropped
    assert len(found) >= batches, "what was acknowledged to the device is there"
    missing = [each for each in find(world.hospital) if each.kind == "missing batches"]
    assert sum(each.facts["count"] for each in missing) == lost
    assert missing == list(find(world.hospital))
    readings = Counter(entry.content["raw"] for entry in world.hospital.entries("reading"))
    assert acknowledged <= readings.keys()
    assert set(readings.values()) == {1}


def logged(agent: Agent) -> int:
    """How many batches the agent says to have logged."""
    return sum(each["event"] == "batch logged" for each in agent.log)


@pytest.mark.timeout(180)
def test_kills_with_a_device_on_the_line(world: World, rng: random.Random, tmp_path: Path, stack: ExitStack) -> None:
    """8 kills: of what was acknowledged to the device and to the monitor nothing is lost, and nothing is doubled."""
    kill_again_and_again(world, rng, tmp_path, stack, 8)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_hundred_kills_with_a_device_on_the_line(
    world: World, rng: random.Random, tmp_path: Path, stack: ExitStack
) -> None:
    """200 kills: the same."""
    kill_again_and_again(world, rng, tmp_path, stack, 200)
