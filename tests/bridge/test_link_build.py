"""The firmware as its maker sees it: fuzzed, analysed, and asking no more of its platform than its README says."""

from __future__ import annotations

import os
import random
import re
import subprocess
from pathlib import Path

import pytest

from devices_on_lines import FIRMWARE, compiler, has_sanitizers

SECONDS = 600
README = (FIRMWARE / "README.md").read_text()
PORTABLE = ("cbor.c", "frame.c", "device.c", "vitals.c")


def run(command: list[str | Path], *, given: str = "") -> str:
    """What a command prints, which must succeed."""
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make(target: str, place: Path, *settings: str) -> str:
    """What a target of the firmware's Makefile prints, built elsewhere."""
    return run(["make", "-s", "-C", FIRMWARE, f"BUILD={place}", *settings, target])


@pytest.mark.parametrize("steps", [200_000, pytest.param(20_000_000, marks=pytest.mark.slow)])
@pytest.mark.timeout(SECONDS)
def test_no_use_makes_the_machine_break_a_promise(steps: int, tmp_path: Path, rng: random.Random) -> None:
    """A hostile host, a store that fails, losses of power: see host/fuzz.c. As it is, and with a ring of three."""
    if not has_sanitizers():
        pytest.skip("the compiler has no address sanitizer")
    shown = make("fuzz", tmp_path, f"SEED={rng.randrange(1, 2**63)}", f"STEPS={steps}")
    runs = re.findall(r"(\d+) steps, (\d+) times heard, (\d+) frames said, (\d+) batches, (\d+) losses of power", shown)
    assert shown.count("nothing wrong") == len(runs) == 2
    for figures in runs:
        done, heard, said, batches, cuts = map(int, figures)
        assert done == steps
        assert min(heard / 10, said / 10, batches / 100, cuts * 10) > steps / 10_000  # each of them was tried


def test_the_fuzzer_wants_a_seed_and_says_the_same_of_the_same(tmp_path: Path) -> None:
    """A run that failed can be had again from its seed."""
    if not has_sanitizers():
        pytest.skip("the compiler has no address sanitizer")
    first, second, other = (make("fuzz", tmp_path, f"SEED={seed}", "STEPS=5000") for seed in (7, 7, 8))
    assert first == second != other
    assert subprocess.run([tmp_path / "fuzz"], capture_output=True, timeout=SECONDS).returncode == 2


def test_the_strictest_warnings_and_the_analyzer_have_nothing_to_say(tmp_path: Path) -> None:
    """Conversions, shadows, what may be uninitialised or out of bounds."""
    compiler()
    known = subprocess.run(["cc", "-fanalyzer", "-Werror", "-x", "c", "-c", "-", "-o", os.devnull], input=b"")
    if known.returncode:
        pytest.skip("the compiler has no analyzer: GCC 10 or newer has")
    assert make("check", tmp_path) == ""


def test_the_firmware_asks_of_its_platform_what_its_readme_says(tmp_path: Path) -> None:
    """Beside hal.h five functions of the C library: no file, no clock, no memory of a heap."""
    compiler()
    for source in PORTABLE:
        flags = ["-std=c11", "-Os", "-ffreestanding", "-fno-stack-protector", "-U_FORTIFY_SOURCE"]
        run(["cc", *flags, "-c", FIRMWARE / source, "-o", tmp_path / f"{source}.o"])
    objects = [tmp_path / f"{source}.o" for source in PORTABLE]
    run(["ld", "-r", "-o", tmp_path / "whole.o", *objects])
    wanted = {line.split()[-1] for line in run(["nm", "-u", tmp_path / "whole.o"]).splitlines()}
    [sentence] = re.findall(r"Of the C library\s+the files outside `host/` use (.*?)\.", README, re.DOTALL)
    listed = set(re.findall(r"`(\w+)`", sentence))
    assert listed == {"memcpy", "memmove", "memset", "memcmp", "strlen"}
    assert wanted - {"_GLOBAL_OFFSET_TABLE_"} <= listed | {"hal_save", "hal_keys", "hal_sign"}
    assert {"hal_save", "hal_keys", "hal_sign"} <= wanted
    included = {name for source in PORTABLE for name in re.findall(r"#include <(.*)>", (FIRMWARE / source).read_text())}
    assert included == {"string.h"}


def test_the_readme_has_the_machines_sizes(tmp_path: Path) -> None:
    """As it is, and made smaller."""
    compiler()
    program = '#include "device.h"\n#include <stdio.h>\nint main(void) { struct device d;'
    program += 'printf("%zu %zu", sizeof d, sizeof d.ring); return 0; }'
    for options, row in (
        ([], r"\| `struct device`, as it is \| ([\d.]+) KiB, of which the ring ([\d.]+) KiB \|"),
        (["-DRING=8", "-DREADINGS_BYTES=512"], r"\| with `-DRING=8 -DREADINGS_BYTES=512` \| ([\d.]+) KiB()"),
    ):
        run(["cc", *options, f"-I{FIRMWARE}", "-x", "c", "-", "-o", tmp_path / "size"], given=program)
        whole, ring = (f"{int(size) / 1024:.1f}" for size in run([tmp_path / "size"]).split())
        [shown] = re.findall(row, README)
        assert shown in {(whole, ring), (whole, "")}
