"""Simulated and real devices for the tests of the serial link, and batches that they signed."""

from __future__ import annotations

import atexit
import ctypes
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import mkdtemp
from threading import Thread
from typing import Any

import pytest
from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from medledger.records import batch_message
from medledger_bridge.link.batch import SignedBatch
from medledger_bridge.link.device import Device
from medledger_bridge.simulator import vitals

ROOT = Path(__file__).resolve().parent.parent
FIRMWARE = ROOT / "firmware_bridge" / "firmware"
SEED = bytes(range(32))
BOOT = b"boot-id1"
KEY = crypto_sign_seed_keypair(SEED)[0]
SECONDS = 120
REQUIRED = "CI" in os.environ or os.environ.get("MEDLEDGER_REQUIRE_FIRMWARE") == "1"


def device(
    *, counter: int = 0, boot: bytes = BOOT, save: Callable[[int], None] | None = None, **options: Any
) -> Device:
    """A device of its first boot, with one reading in a batch unless something else is asked for."""
    keep = save or (lambda _: None)
    settings = {"device": "SIM-1", "readings": 1, **options}
    return Device(settings.pop("seed", SEED), boot=boot, counter=counter, save=keep, **settings)


def measure(of: Device, batches: int, now: int = 0) -> None:
    """Let it seal so many batches."""
    last = of.counter + batches
    for samples in vitals(7):
        if of.counter >= last:
            return
        of.measure(now, samples)


def frames(of: Device, now: int = 0) -> list[bytes]:
    """All that it has to say now."""
    return list(iter(lambda: of.send(now), b""))


@contextmanager
def plugged(instrument: Device, link: Path, *, uptime: int = 0) -> Iterator[Callable[[Device], None]]:
    """The instrument, on since `uptime` ms, on a pseudo-terminal behind a symbolic link, until it is pulled out.

    Gives a function that plugs another one into the same terminal.
    """
    master, side = os.openpty()
    link.symlink_to(os.ttyname(side))
    stop_read, stop_write = os.pipe()
    plugged_in, started = [instrument], time.monotonic()

    def live() -> None:
        while True:
            now = uptime + int((time.monotonic() - started) * 1000)
            while frame := plugged_in[-1].send(now):
                os.write(master, frame)
            ready, _, _ = select.select([master, stop_read], [], [], 0.05)
            if stop_read in ready:
                return
            if ready:
                plugged_in[-1].receive(os.read(master, 4096), now)

    thread = Thread(target=live)
    thread.start()
    try:
        yield plugged_in.append
    finally:
        os.write(stop_write, b"x")
        thread.join()
        link.unlink()
        for descriptor in (master, side, stop_read, stop_write):
            os.close(descriptor)


def signed(counter: int, *, seed: bytes = SEED, boot: bytes = BOOT, name: str = "SIM-1", start: int = 1) -> SignedBatch:
    """A batch of one reading."""
    key, secret = crypto_sign_seed_keypair(seed)
    readings = [[counter, next(islice(vitals(start), 0, None))]]
    fields: dict[str, Any] = {"device": name, "key": key, "boot": boot, "counter": counter, "uptime": counter}
    message = batch_message(**fields, readings=readings)
    return SignedBatch(**fields, readings=readings, signature=crypto_sign(message, secret)[:64])


UNFIT = (("8867-4", (72, 0), "beats a minute"),)
"""Samples that no entry can hold: a unit has no spaces."""


def compiler() -> None:
    """Nothing where the firmware can be built. Without compiler or libsodium the test is skipped.

    In continuous integration, and with MEDLEDGER_REQUIRE_FIRMWARE=1, that is an error.
    """
    missing = [tool for tool in ("cc", "make") if shutil.which(tool) is None]
    if (
        not missing
        and subprocess.run(["cc", "-E", "-"], input=b"#include <sodium.h>\n", capture_output=True).returncode
    ):
        missing = ["libsodium's headers"]
    if missing:
        if REQUIRED:
            pytest.fail(f"the firmware cannot be built: no {missing[0]}")
        pytest.skip(f"needs {missing[0]} (Debian: gcc libc6-dev make libsodium-dev)")


def build_place() -> Path:
    """A directory that is gone when the tests are."""
    place = Path(mkdtemp(prefix="medledger-firmware-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


def has_sanitizers() -> bool:
    """Whether a program with them can be linked."""
    compiler()
    flags = ["-fsanitize=address,undefined", "-x", "c", "-", "-o", os.devnull]
    done = subprocess.run(["cc", *flags], input=b"int main(void) { return 0; }", capture_output=True)
    assert done.returncode == 0 or not REQUIRED, done.stderr
    return done.returncode == 0


@cache
def firmware(target: str = "medledger-device") -> Path:
    """The device in C, built once for all tests of a process."""
    compiler()
    place = build_place()
    goal = "sanitized" if target.endswith("sanitized") else "all"
    done = subprocess.run(
        ["make", "-C", FIRMWARE, f"BUILD={place}", goal], capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return place / target


NORMAL, SANITIZED = "medledger-device", "medledger-device-sanitized"
IN_PYTHON = [sys.executable, "-m", "medledger_bridge.simulator"]


def in_c(target: str = NORMAL) -> list[str]:
    """How to start the device in C; with the sanitizers where the compiler has them."""
    if target == SANITIZED and not has_sanitizers():
        pytest.skip("the compiler has no address sanitizer")
    return [str(firmware(target))]


def output(command: list[str], *options: str | Path) -> bytes:
    """What a device prints."""
    done = subprocess.run([*command, *map(str, options)], capture_output=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def firmware_library() -> ctypes.CDLL:
    """The firmware's machine without its platform, with the undefined-behaviour sanitizer where there is one."""
    compiler()
    library = build_place() / "device.so"
    sources = [ROOT / "tests" / "firmware_shim.c", *(FIRMWARE / name for name in ("cbor.c", "frame.c", "device.c"))]
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "-shared", "-fPIC", f"-I{FIRMWARE}"]
    flags += ["-fsanitize=undefined", "-fno-sanitize-recover=all"] if has_sanitizers() else []
    command = ["cc", *flags, "-o", library, *sources, "-lsodium"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(library))


@cache
def firmware_reader() -> Path:
    """The firmware's CBOR reader as a program, with the address sanitizer; without one the test is skipped."""
    if not has_sanitizers():
        pytest.skip("the compiler has no address sanitizer")
    program = build_place() / "reader"
    sources = [ROOT / "tests" / "firmware_reader.c", FIRMWARE / "cbor.c"]
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "-g", f"-I{FIRMWARE}"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    done = subprocess.run(["cc", *flags, "-o", program, *sources], capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return program
