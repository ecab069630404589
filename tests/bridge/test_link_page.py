"""docs/serial-link.md cannot lie: its bytes are those of both devices, its figures and tables those of the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from zlib import crc32

import pytest

from devices_on_lines import FIRMWARE, device, firmware
from devices_on_lines import frames as said
from medledger_bridge.link import cobs, frames, messages
from medledger_bridge.link import device as machine
from medledger_bridge.link.batch import SignedBatch
from medledger_bridge.link.host import Link
from medledger_bridge.link.messages import REASONS, Ack, Hello, Refusal

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "serial-link.md").read_text()


def example(name: str) -> bytes:
    """The bytes of a fenced block: what stands in hex at the beginning of each line."""
    [block] = re.findall(rf"^```{name}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    heads = [re.match(r"(?:[0-9a-f]{2})+(?: (?:[0-9a-f]{2})+)*(?=$|   )", line) for line in block.splitlines()]
    assert all(heads), [line for line, head in zip(block.splitlines(), heads, strict=True) if not head]
    return bytes.fromhex("".join(head[0] for head in heads if head))


def options() -> list[str]:
    """Those of the command that the page says makes its bytes."""
    [command] = re.findall(r"^    medledger-device (--state example .*?\n.*?)\n", PAGE, re.MULTILINE)
    return command.replace("\\\n", " ").split()


@pytest.mark.parametrize("language", ["c", "python"])
def test_the_example_is_what_both_devices_say(language: str, tmp_path: Path) -> None:
    """The page's command gives the page's packets, and its frame."""
    command = [str(firmware())] if language == "c" else [sys.executable, "-m", "medledger_bridge.simulator"]
    said = subprocess.run([*command, *options()], cwd=tmp_path, capture_output=True, timeout=60, check=True).stdout
    runs = [run for run in said.split(b"\0") if run]
    assert [cobs.decode(run) for run in runs] == [example("hello"), example("batch")]
    assert said.startswith(example("frame"))


def test_the_batch_is_said_again_as_the_page_says() -> None:
    """With another sequence number and age, and the same batch."""
    instrument = device(seed=bytes(32), save=lambda _: None)
    instrument.measure(1000, [["8867-4", [71, 0], "/min"], ["59408-5", [970, -1], "%"]])
    first, again = ([cobs.decode(frame.strip(b"\0")) for frame in said(instrument, now)][1] for now in (1000, 2000))
    assert first == example("batch")
    assert again[: len(example("again"))] == example("again")
    rest = example("batch").index(b"\x87")
    assert again[len(example("again")) : -4] == example("batch")[rest:-4]


def test_the_example_is_read_by_the_host() -> None:
    """Frames put together by hand from the page's packets are a hello and a batch whose signature verifies."""
    link = Link()
    greeting, *_ = link.feed(b"\0" + cobs.encode(example("hello")) + b"\0")
    assert isinstance(greeting, Hello)
    assert (greeting.device, greeting.boot, greeting.next) == ("SIM-1", b"boot-id1", 1)
    link.accept(0)
    [batch] = link.feed(b"\0" + cobs.encode(example("batch")) + b"\0")
    assert isinstance(batch, SignedBatch)
    assert batch.readings == [[1000, [["8867-4", [71, 0], "/min"], ["59408-5", [970, -1], "%"]]]]
    assert batch.to_record().key == greeting.key
    for packet in ("hello", "batch"):
        [shown] = re.findall(rf"```{packet}\n[^`]*CRC 0x([0-9a-f]{{8}})", PAGE)
        assert crc32(example(packet)[:-4]) == int(shown, 16)


def test_the_hosts_example_is_what_a_host_says() -> None:
    """In the order of the page."""
    ask, ack, error = frames.Deframer().feed(example("host"))
    assert (ask.kind, ask.body) == (messages.ASK, messages.EMPTY)
    assert (ack.kind, Ack.decode(ack.body)) == (messages.ACK, Ack(b"boot-id1", 1))
    assert (error.kind, Refusal.decode(error.body)) == (messages.ERROR, Refusal(3, "order", 2))
    link = Link()
    link.opened()
    assert example("host").startswith(link.outgoing())


def test_the_tables_are_the_codes() -> None:
    """Reasons, kinds, sizes and times, in Python, in C and on the page."""
    assert (
        dict(re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", PAGE.split("| reason | |")[1].split("##")[0], re.M)) == REASONS
    )
    kinds = {name: int(number, 16) for number, name in re.findall(r"^\| (0x[0-9a-f]{2}) \| ([A-Z]+) \|", PAGE, re.M)}
    assert kinds == {name: getattr(messages, name) for name in ("HELLO", "BATCH", "ACK", "ERROR", "ASK")}
    header = "".join((FIRMWARE / name).read_text() for name in ("config.h", "frame.h"))
    for name, number in kinds.items():
        assert re.search(rf"\b{name}(?:_REPORT)? = 0x{number:02x}\b", header), name
    in_c = {name: int(value) for name, value in re.findall(r"^#define ([A-Z_]+) ([0-9]+)", header, re.M)}
    assert f"| packet, at most | {frames.MAX_PACKET_BYTES} |" in PAGE
    assert f"| packet of a host, at most | {in_c['MAX_HOST_PACKET_BYTES']} |" in PAGE
    assert f"{frames.MAX_ENCODED_BYTES} and {in_c['MAX_HOST_PACKET_BYTES'] + 1} |" in PAGE
    assert f"| packet, at least | {frames.MIN_PACKET_BYTES} |" in PAGE
    assert in_c["MAX_PACKET_BYTES"] == frames.MAX_PACKET_BYTES
    assert f"| ring | {machine.RING} batches |" in PAGE
    assert f"| window | {machine.WINDOW} batches |" in PAGE
    assert f"| first timeout | {machine.FIRST_TIMEOUT_MS} ms |" in PAGE
    assert f"| last timeout | {machine.LAST_TIMEOUT_MS} ms |" in PAGE
    assert f"{machine.MAX_READINGS}, in {machine.READINGS_BYTES} bytes" in PAGE
    names = ("RING", "WINDOW", "FIRST_TIMEOUT_MS", "LAST_TIMEOUT_MS", "MAX_READINGS", "READINGS_BYTES")
    assert {name: in_c[name] for name in names} == {name: getattr(machine, name) for name in names}
    assert crc32(b"123456789") == 0xCBF43926


def test_no_frame_of_a_host_is_larger_than_a_device_takes() -> None:
    """The longest reason, the highest numbers."""
    highest = 2**53 - 1
    bodies = [Ack(bytes(8), highest).encode(), *(Refusal(65535, reason, highest).encode() for reason in REASONS)]
    assert max(map(len, bodies)) + frames.HEAD.size + frames.CRC.size <= 128
