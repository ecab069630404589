"""The device in C, built and run on a pseudo-terminal: byte for byte the simulator's equal, and hard to confuse."""

from __future__ import annotations

import os
import random
import re
import select
import signal
import subprocess
import time
import tty
from collections.abc import Callable
from contextlib import ExitStack, suppress
from itertools import product
from pathlib import Path
from zlib import crc32

import pytest

from devices_on_lines import IN_PYTHON, SANITIZED, in_c, output
from medledger_bridge import simulator
from medledger_bridge.link.batch import SignedBatch
from medledger_bridge.link.host import Duplicate, Event, Link, Missing, Refused
from medledger_bridge.link.messages import Hello
from medledger_bridge.simulated_state import State

SECONDS = 60


class Host:
    """The test's end of a line that outlives its devices: a pseudo-terminal, the link's host, and what it heard."""

    def __init__(self, stack: ExitStack) -> None:
        self.master, side = os.openpty()
        tty.setraw(side)
        self.port = os.ttyname(side)
        stack.callback(os.close, self.master)
        stack.callback(os.close, side)
        self.got: dict[int, SignedBatch] = {}
        self.seen: dict[int, bytes] = {}  # every signature that came under a counter, whether taken or not
        self.missing: set[int] = set()
        self.refused: list[Refused] = []
        self.hellos = 0
        self.start()

    def start(self) -> None:
        """A host that knows what is durable and nothing else."""
        self.link = Link()
        self.link.opened()

    def pump(self, until: Callable[[], bool], *, acknowledge: bool = True, seconds: float = SECONDS) -> bool:
        """Listen and answer until something holds; False where it does not come."""
        deadline = time.monotonic() + seconds
        while not until():
            if time.monotonic() > deadline:
                return False
            if outgoing := self.link.outgoing():
                os.write(self.master, outgoing)
            ready, _, _ = select.select([self.master], [], [], 0.02)
            if ready:
                for event in self.link.feed(os.read(self.master, 65536)):
                    self.take(event)
            if acknowledge and self.got and self.link.accepted:
                self.link.acknowledge(max(self.got))
        os.write(self.master, self.link.outgoing())
        return True

    def take(self, event: Event) -> None:
        """Keep what came; no counter may ever stand for two contents."""
        if isinstance(event, Hello):
            self.hellos += 1
            if not self.link.accepted:
                self.link.accept(max({0, *self.got, *self.missing}))
        elif isinstance(event, Missing):
            self.missing |= set(range(event.first, event.last + 1))
        elif isinstance(event, Refused):
            self.refused.append(event)
        else:
            batch = event.batch if isinstance(event, Duplicate) else event
            assert self.seen.setdefault(batch.counter, batch.signature) == batch.signature
            if isinstance(event, SignedBatch):
                assert batch.counter not in self.got
                self.got[batch.counter] = event


@pytest.fixture
def host(stack: ExitStack) -> Host:
    """A line with a host on it."""
    return Host(stack)


def start(stack: ExitStack, command: list[str], *options: str | Path) -> subprocess.Popen[bytes]:
    """A running device, killed in the end."""
    process = subprocess.Popen([*command, *map(str, options)], stderr=subprocess.PIPE)
    assert process.stderr is not None
    stack.callback(process.stderr.close)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


@pytest.mark.parametrize("options", [[], ["--readings", "1"], ["--readings", "16", "--device", "Monitor 7/bed~2"]])
def test_firmware_and_simulator_say_the_same_bytes(options: list[str], quick: Path, rng: random.Random) -> None:
    """Same seed, boot, counter and measurements: same frames, same state afterwards."""
    settings = ["--seed", rng.randbytes(32).hex(), "--boot", rng.randbytes(8).hex(), *options]
    settings += ["--vitals", str(rng.randrange(2**32)), "--interval", str(rng.randrange(1, 10**6)), "--dump", "100"]
    first = output(in_c(SANITIZED), "--state", quick / "c", *settings)
    second = output(IN_PYTHON, "--state", quick / "python", *settings)
    assert first == second
    assert len(first) > 15_000
    assert (quick / "c").read_bytes() == (quick / "python").read_bytes()
    # Each goes on where the other ended.
    assert output(in_c(), "--state", quick / "python", *settings) == output(
        IN_PYTHON, "--state", quick / "c", *settings
    )


def test_the_firmware_has_the_options_of_the_simulator() -> None:
    """`--help` lists them, and each is known."""
    shown = set(re.findall(r"^  (--[a-z]+)", output(in_c(), "--help").decode(), re.MULTILINE))
    options = {option for action in simulator.parser()._actions for option in action.option_strings}
    assert shown == options - {"-h"}


@pytest.mark.parametrize("command", [pytest.param(SANITIZED, id="c"), pytest.param(None, id="python")])
def test_a_device_on_a_pseudo_terminal_delivers_all_it_measured(
    command: str | None, host: Host, stack: ExitStack, tmp_path: Path
) -> None:
    """From start to an empty ring, and it ends by itself."""
    settings = ["--state", tmp_path / "state", "--port", host.port, "--interval", "2", "--count", "93", "--once"]
    process = start(stack, in_c(command) if command else IN_PYTHON, *settings)
    assert host.pump(lambda: process.poll() is not None)
    assert process.returncode == 0
    assert sorted(host.got) == list(range(1, 11))
    assert [len(host.got[counter].readings) for counter in sorted(host.got)] == [10] * 9 + [3]
    assert host.missing == set()
    assert host.refused == []


def test_a_device_makes_its_own_pseudo_terminal(stack: ExitStack, tmp_path: Path) -> None:
    """Under the name that was asked for; a host that closes and opens it again is greeted again."""
    link = tmp_path / "port"
    for command in (in_c(), IN_PYTHON):
        process = start(stack, command, "--state", tmp_path / "state", "--pty", link, "--interval", "5")
        for _ in range(2):
            deadline = time.monotonic() + SECONDS
            port, data = Link(), b""
            while not (data and any(isinstance(event, Hello) for event in port.feed(data))):
                assert time.monotonic() < deadline
                assert process.poll() is None
                data = b""
                with suppress(FileNotFoundError):
                    side = os.open(link, os.O_RDWR | os.O_NOCTTY)
                    port.opened()
                    os.write(side, port.outgoing())
                    if select.select([side], [], [], 1)[0]:
                        data = os.read(side, 65536)
                    os.close(side)
                time.sleep(0.01)
        process.kill()
        process.wait()
        link.unlink()


@pytest.mark.parametrize("command", [pytest.param(SANITIZED, id="c"), pytest.param(None, id="python")])
def test_a_device_whose_line_is_pulled_ends_and_says_so(command: str | None, tmp_path: Path) -> None:
    """With nothing to send for an hour, it learns from reading that the line is gone, and does not spin until then."""
    with ExitStack() as line, ExitStack() as stack:
        host = Host(line)
        settings = ["--state", tmp_path / "state", "--port", host.port, "--interval", "3600000"]
        process = start(stack, in_c(command) if command else IN_PYTHON, *settings)
        assert host.pump(lambda: host.hellos > 0)
        line.close()
        assert process.wait(SECONDS) == 1
        assert process.stderr is not None
        assert b"the line is lost" in process.stderr.read()


def test_a_host_that_starts_anew_loses_nothing(host: Host, stack: ExitStack, tmp_path: Path) -> None:
    """It knows only what is durable; what it had received and not committed comes again."""
    settings = ["--state", tmp_path / "state", "--port", host.port, "--interval", "2", "--readings", "1"]
    start(stack, in_c(SANITIZED), *settings)
    for _ in range(5):
        reached = len(host.got)
        assert host.pump(lambda reached=reached: len(host.got) >= reached + 5)
        assert host.pump(lambda reached=reached: len(host.got) >= reached + 8, acknowledge=False)
        durable = sorted(host.got)[: reached + 5]
        host.got = {counter: host.got[counter] for counter in durable}
        host.start()
    assert host.pump(lambda: len(host.got) >= 60)
    assert set(host.got) | host.missing >= set(range(1, max(host.got) + 1))
    assert host.refused == []


@pytest.mark.parametrize("kills", [25, pytest.param(400, marks=pytest.mark.slow)])
@pytest.mark.timeout(900)
def test_a_device_that_is_killed_goes_on_with_its_counter(
    kills: int, host: Host, stack: ExitStack, tmp_path: Path, rng: random.Random
) -> None:
    """kill -9 at any moment: no counter is used for two contents, and what was lost with the power is named."""
    settings = ["--state", tmp_path / "state", "--port", host.port, "--interval", "1", "--readings", "1"]

    def boots() -> int:
        return len({batch.boot for batch in host.got.values()})

    for number in range(kills):
        process = start(stack, in_c() if number % 5 else IN_PYTHON, *settings, "--vitals", str(number))
        assert host.pump(lambda number=number: boots() == number + 1)
        time.sleep(rng.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    process = start(stack, in_c(), *settings, "--count", "5", "--once")
    assert host.pump(lambda: process.poll() is not None)
    assert process.returncode == 0
    assert boots() == kills + 1
    assert set(host.got) | host.missing == set(range(1, max(host.got) + 1))
    assert set(host.got).isdisjoint(host.missing)
    assert host.refused == []


def test_a_device_shrugs_off_megabytes_of_garbage(
    host: Host, stack: ExitStack, tmp_path: Path, rng: random.Random
) -> None:
    """Noise, torn and altered frames of the host, under the sanitizers: it lives, forgets nothing, and is heard."""
    process = start(
        stack, in_c(SANITIZED), "--state", tmp_path / "state", "--port", host.port, "--count", "20", "--interval", "1"
    )
    assert host.pump(lambda: len(host.got) >= 1, acknowledge=False)
    link = Link()
    link.opened()
    frames = [link.outgoing()]
    sent = 0
    while sent < 2_000_000:
        kind = rng.randrange(3)
        noise = rng.randbytes(rng.randrange(1, 3000))
        if kind == 1:
            noise = b"\0" + noise.replace(b"\0", b"\x01") + b"\0"
        if kind == 2:
            frame = bytearray(frames[0])
            frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
            noise = bytes(frame) * 20
        while noise:
            _, writable, _ = select.select([], [host.master], [], 5)
            assert writable, "the device no longer reads"
            written = os.write(host.master, noise[:1000])
            noise, sent = noise[written:], sent + written
        while select.select([host.master], [], [], 0)[0]:
            os.read(host.master, 65536)
    assert process.poll() is None
    host.got.clear()
    host.start()
    os.write(host.master, b"\0")
    assert host.pump(lambda: sorted(host.got) == [1, 2])
    assert host.missing == set()


def test_a_device_with_a_wrong_state_or_option_says_so_and_ends(tmp_path: Path) -> None:
    """A counter that is not known must not be guessed."""
    path = tmp_path / "state"
    output(in_c(), "--state", path, "--identify")
    assert output(in_c(), "--state", path, "--identify") == output(IN_PYTHON, "--state", path, "--identify")
    whole = path.read_bytes()
    for command in (in_c(SANITIZED), IN_PYTHON):
        bodies = [whole[: -len(b"0 01234567\n")] + b"%s " % counter for counter in (b"00", b"%d" % 2**53)]
        never_written = [body + b"%08x\n" % crc32(body) for body in bodies]
        cut = (whole[:-1], whole[:50], b"", whole.replace(b"-1 ", b"-2 "), b"\xff" * 4000, whole + b"\n", whole + b"\0")
        for damaged in (*cut, *never_written):
            path.write_bytes(damaged)
            done = subprocess.run([*command, "--state", path, "--identify"], capture_output=True, timeout=SECONDS)
            assert done.returncode == 1
            assert b"damaged" in done.stderr
        assert subprocess.run([*command, "--bogus"], capture_output=True, timeout=SECONDS).returncode == 2
    wrong = [*product(["--dump", "--vitals", "--interval", "--readings", "--count"], ["x", "-1", "", "99999999999"])]
    wrong += [("--interval", "0"), ("--readings", "0"), ("--readings", "17"), ("--device", ""), ("--device", "x" * 65)]
    wrong += [
        ("--boot", "00"),
        ("--boot", "x" * 16),
        ("--seed", "00" * 31),
        ("--device", "bed\n7"),
        ("--device", "bäd"),
    ]
    for options in wrong:
        command = [*in_c(), "--state", str(path), *options]
        assert subprocess.run(command, capture_output=True, timeout=SECONDS).returncode == 2, options
        with pytest.raises(SystemExit) as ended:
            simulator.main(["--state", str(path), *options])
        assert ended.value.code == 2, options


@pytest.mark.parametrize("language", ["c", "python"])
def test_a_power_cut_while_the_state_is_written_leaves_the_old_one(language: str, tmp_path: Path) -> None:
    """However far the new file had come beside it, the device goes on with the counter that it had."""
    path, fresh = tmp_path / "state", tmp_path / "state.new"
    output(in_c(), "--state", path, "--dump", "3")
    whole = path.read_bytes()
    for left in (b"", whole[:1], whole[:40], whole[:-1], whole, 3 * whole):
        path.write_bytes(whole)
        fresh.write_bytes(left)
        if language == "c":
            hello = Link().feed(output(in_c(SANITIZED), "--state", path, "--dump", "1"))[0]
            assert isinstance(hello, Hello)
            assert hello.next == 4
        else:
            with State(path) as state:
                assert state.counter == 3
                state.save(4)
        assert not fresh.exists()
        with State(path) as state:
            assert state.counter == 4


def test_one_state_serves_one_device(stack: ExitStack, host: Host, tmp_path: Path) -> None:
    """Two under one key would use a counter twice: the second is refused, in whichever language."""
    start(stack, in_c(), "--state", tmp_path / "state", "--port", host.port)
    assert host.pump(lambda: host.hellos > 0)
    for command in (in_c(), IN_PYTHON):
        done = subprocess.run([*command, "--state", tmp_path / "state", "--identify"], capture_output=True)
        assert done.returncode == 1
        assert b"another device" in done.stderr
