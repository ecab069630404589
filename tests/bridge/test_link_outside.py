"""A verifier that knows docs/serial-link.md and nothing of medledger agrees with us about what a device says.

It runs in the environment of the outside verifiers (`.venv-outside`, made by `make test`), with another CBOR library
and another Ed25519 than ours.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cbor2
import pytest

from devices_on_lines import ROOT, firmware, signed
from medledger.records import batch_message
from medledger_bridge.link import batch as batches
from medledger_bridge.link.frames import wrap
from medledger_bridge.link.host import Link, Refused
from medledger_bridge.link.messages import BATCH, Hello

OUTSIDE_PYTHON = ROOT / ".venv-outside" / "bin" / "python"
PAGE = (ROOT / "docs" / "serial-link.md").read_text()
SECONDS = 60


def judged(line: bytes) -> dict[str, Any]:
    """What the verifier says of a line."""
    assert OUTSIDE_PYTHON.exists(), "the outside verifiers have no environment: run `make test`, which makes it"
    script = ROOT / "tests" / "outside" / "verify_line.py"
    done = subprocess.run([OUTSIDE_PYTHON, script], input=line, capture_output=True, timeout=SECONDS)
    assert done.stderr == b""
    report: dict[str, Any] = json.loads(done.stdout)
    good = all(frame["verdict"] in {"valid", "well-formed"} for frame in report["frames"])
    assert done.returncode == (0 if good else 1)
    return report


@pytest.mark.parametrize("language", ["c", "python"])
def test_all_that_a_device_says_is_valid_from_the_page_alone(language: str, tmp_path: Path, rng: random.Random) -> None:
    """Each frame of a hundred batches, and the bytes that are signed are the very bytes that we verify."""
    command = [str(firmware())] if language == "c" else [sys.executable, "-m", "medledger_bridge.simulator"]
    options = ["--state", str(tmp_path / "state"), "--dump", "100", "--vitals", str(rng.randrange(2**32))]
    line = subprocess.run([*command, *options], capture_output=True, timeout=SECONDS, check=True).stdout
    report = judged(b"noise\0" + line)
    hello, *said = report["frames"]
    assert (report["noise"], hello["verdict"], [frame["verdict"] for frame in said]) == (
        1,
        "well-formed",
        ["valid"] * 100,
    )
    assert [frame["sequence"] for frame in report["frames"]] == list(range(101))
    link = Link()
    [greeting, *_] = link.feed(line)
    assert isinstance(greeting, Hello)
    link.accept(0)
    ours = [event for event in link.feed(line) if isinstance(event, batches.SignedBatch)]
    fields = ("device", "key", "boot", "counter", "uptime", "readings")
    messages = [batch_message(**{name: getattr(batch, name) for name in fields}).hex() for batch in ours]
    assert messages == [frame["signed"] for frame in said]


def test_what_was_altered_is_refused_by_both(rng: random.Random) -> None:
    """Each field of a batch, under a right CRC."""
    batch = signed(3)
    fields = [getattr(batch, name) for name in batches.FIELDS]
    altered = [
        "SIM-2",
        signed(3, seed=bytes(32)).key,
        b"boot-id2",
        4,
        4,
        [[3, [["8867-4", [72, 1], "/min"]]]],
        bytes(64),
    ]
    lines = [wrap(BATCH, 1, cbor2.dumps([1, 0, fields], canonical=True))]
    for place, other in enumerate(altered):
        changed = [*fields[:place], other, *fields[place + 1 :]]
        lines.append(wrap(BATCH, 1, cbor2.dumps([1, 0, changed], canonical=True)))
    true, *false = judged(b"".join(lines))["frames"]
    assert true["verdict"] == "valid"
    assert {frame["verdict"] for frame in false} == {"not signed by its key"}
    assert len(false) == len(batches.FIELDS)
    for line in lines[1:]:
        link = Link()
        link.feed(wrap(1, 0, Hello("SIM-1", batch.key, b"boot-id1", 9, 1, 0, "m", "1").encode()))
        link.accept(0)
        [refused] = link.feed(line)
        assert isinstance(refused, Refused)
    torn = bytearray(lines[0])
    torn[rng.randrange(1, len(torn) - 1)] ^= 1 << rng.randrange(8)
    report = judged(bytes(torn))
    assert report["frames"] == []
    assert report["noise"] > 0


def test_the_page_says_which_bytes_are_signed() -> None:
    """How many they are in its example, and where they begin and end."""
    blocks = re.findall(r"^```(hello|batch)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    heads = {
        name: re.findall(r"^((?:[0-9a-f]{2})+(?: (?:[0-9a-f]{2})+)*)(?=$|   )", text, re.M) for name, text in blocks
    }
    _, packet = (bytes.fromhex("".join(heads[name])) for name in ("hello", "batch"))
    link = Link()
    link.feed(wrap(1, 0, bytes.fromhex("".join(heads["hello"]))[4:-4]))
    link.accept(0)
    [frame] = judged(wrap(BATCH, 1, packet[4:-4]))["frames"]
    size, prefix = re.findall(r"In the example below these are (\d+) bytes: `87`, `(78 18)`", PAGE)[0]
    message = bytes.fromhex(frame["signed"])
    assert frame["verdict"] == "valid"
    assert len(message) == int(size)
    name = b"medledger/device-batch/1"
    assert message.startswith(b"\x87" + bytes.fromhex(prefix) + name)
    assert message[3 + len(name) :] == packet[packet.index(b"\x65SIM-1") : packet.index(b"\x58\x40")]
