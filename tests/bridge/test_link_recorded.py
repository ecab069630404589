"""Recordings that a device plays: firmware and simulator read the same of them, and say where one is damaged."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from devices_on_lines import BOOT, IN_PYTHON, SANITIZED, SECONDS, SEED, in_c, output
from medledger_bridge import simulator
from medledger_bridge.errors import SeriesError
from medledger_bridge.link.batch import SignedBatch
from medledger_bridge.link.host import Link


def test_firmware_and_simulator_play_the_same_recording(shared_data: Callable[[str], Path], quick: Path) -> None:
    """Every minute of a recorded series, in both, with its gaps and its probes that were off."""
    path = shared_data("08-vitals/csv/mimic2-s00001-numerics-1min.csv")
    settings = ["--seed", SEED.hex(), "--boot", BOOT.hex(), "--csv", path, "--dump", "1000", "--interval", "60000"]
    first = output(in_c(SANITIZED), "--state", quick / "c", *settings)
    assert first == output(IN_PYTHON, "--state", quick / "python", *settings)
    link = Link()
    link.feed(first[:200])
    link.accept(0)
    batches = [event for event in link.feed(first) if isinstance(event, SignedBatch)]
    assert sum(len(batch.readings) for batch in batches) == 1930  # of 1,936 minutes; the last batch is not full
    samples = [sample for batch in batches for _, row in batch.readings for sample in row]
    assert {len(sample) for sample in samples} == {3, 4}
    assert {sample[0] for sample in samples} == {"8867-4", "9279-1", "59408-5", "8480-6", "8462-4", "8478-0"}


HEAD = b"t_seconds,HR [bpm],note\n"
ROW = b"1,72,"
DAMAGED = {
    "a row that is too long": (HEAD + b"0,70,\n" + ROW + b"x" * (1024 - len(ROW)) + b",60\n", 3),
    "one whose end would be a row": (HEAD + ROW + b"x" * 1018 + b"9,99,\n", 2),
    "one without an end": (HEAD + ROW + b"x" * 5000, 2),
    "names that are too long": (HEAD[:-1] + b"x" * 1024 + b"\n0,70,\n", 1),
    "a cell that is no figure": (HEAD + b"0,70,\n\n2,seventy,\n3,70,\n", 4),
    "a cell of two lines": (HEAD + b"0,7\r0,\n", 2),
    "a row that holds a null": (HEAD + b"0,70,\n1,\x0071,\n", 3),
    "bytes that are no text": (HEAD + b"0,\xff,\n", 2),
}


@pytest.mark.parametrize("command", [pytest.param(SANITIZED, id="c"), pytest.param(None, id="python")])
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_recording_ends_with_an_error_that_names_the_line(
    command: str | None, damage: str, tmp_path: Path
) -> None:
    """No reading is made up of what is behind the damage, and nobody takes the end for the end of the recording."""
    recording, line = DAMAGED[damage]
    (tmp_path / "recording.csv").write_bytes(recording)
    options = ["--state", tmp_path / "state", "--csv", tmp_path / "recording.csv", "--readings", "1"]
    for mode in (["--dump", "9"], ["--interval", "1", "--once", "--pty", tmp_path / "port"]):
        done = subprocess.run(
            [*(in_c(command) if command else IN_PYTHON), *map(str, [*options, *mode])],
            capture_output=True,
            timeout=SECONDS,
        )
        assert done.returncode == 1, done.stderr
        assert f"line {line} " in done.stderr.decode(), done.stderr
        assert b"Traceback" not in done.stderr
        link = Link()
        link.feed(done.stdout[:200])
        assert all(
            not isinstance(event, SignedBatch) or [row[1][0] for _, (row, *_) in event.readings] == [[70, 0]]
            for event in link.feed(done.stdout)
        )


FIGURES = ["70", "-70", "0", "-0", "7.", ".7", "97.50", "123456789", "-12345678.9"]
NO_FIGURES = [
    "+70",
    ".",
    "-",
    "--7",
    "7-",
    "7e1",
    " 70",
    "70,5",
    "NaN",
    "0000000070",
    "1234567890",
    "1.2.3",
    "0x46",
    "\u0667",
]


def test_both_take_the_same_cells_for_figures(quick: Path) -> None:
    """A minus, nine digits, a point: there is nothing that one reads and the other does not."""
    recording, state = quick / "recording.csv", quick / "state"
    options = ["--state", str(state), "--csv", str(recording), "--readings", "1", "--dump", "1"]
    for cell in FIGURES + NO_FIGURES:
        recording.write_text(f"t_seconds,SpO2 [%],HR [bpm]\n0,,{cell}\n".replace("70,5", '"70,5"'))
        done = subprocess.run([*in_c(), *options], capture_output=True, timeout=SECONDS)
        try:
            in_python = len(list(simulator.recorded(recording))) == 1
        except SeriesError:
            in_python = False
        assert in_python is (done.returncode == 0) is (cell in FIGURES), cell


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_row_of_the_longest_length_is_read_by_both(end: bytes, tmp_path: Path) -> None:
    """1,023 bytes without the line's end; the last row needs none."""
    row = ROW + b"x" * (1023 - len(ROW))
    (tmp_path / "recording.csv").write_bytes(HEAD.rstrip() + end + row + end + row)
    settings = ["--seed", SEED.hex(), "--boot", BOOT.hex(), "--csv", tmp_path / "recording.csv"]
    settings += ["--readings", "1", "--dump", "9"]
    first = output(in_c(SANITIZED), "--state", tmp_path / "c", *settings)
    assert first == output(IN_PYTHON, "--state", tmp_path / "python", *settings)
    assert first.count(b"8867-4") == 2
