"""`medledger agent play` through real sockets: to the bedside agent, and to receivers that refuse and hang up."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice, pairwise
from pathlib import Path

import pytest

from boxes import World
from medledger_agents.playing import PlayError, Sender, play_to
from medledger_bridge.hl7 import acknowledge, parse, readings
from medledger_bridge.mllp import Framer, wrap

RECORDING = "08-vitals/csv/mimic2-s00001-numerics-1min.csv"
ROWS = ["t_seconds,HR [bpm],SpO2 [%]", "0,60,97", "60,61,98", "120,62,99"]
AT_ONCE = 1e9
SECONDS = 100


def start_play(*arguments: str) -> subprocess.Popen[str]:
    """The command, as a process."""
    command = [sys.executable, "-m", "medledger", "agent", "play", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def play(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, to its end."""
    process = start_play(*arguments)
    output, errors = process.communicate(timeout=SECONDS)
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


Answer = Callable[[bytes, int], bytes | None]
"""The reply to a message and its number on this receiver; None hangs up."""


def accept(message: bytes, number: int) -> bytes:
    """As the bedside agent answers."""
    return acknowledge(parse(message), "AA")


class Receiver:
    """A receiver on a real socket that answers as it is told and keeps what it got."""

    def __init__(self, answer: Answer) -> None:
        self.got: list[bytes] = []
        self._answer = answer
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = ("127.0.0.1", self._server.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        framer = Framer()
        while data := connection.recv(65536):
            for message in framer.feed(data):
                self.got.append(message)
                reply = self._answer(message, len(self.got))
                if reply is None:
                    return
                connection.sendall(wrap(reply))

    def close(self) -> None:
        """Stop."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(60)


@contextmanager
def receiver(answer: Answer = accept) -> Iterator[Receiver]:
    """A running one."""
    found = Receiver(answer)
    try:
        yield found
    finally:
        found.close()


def test_a_recording_reaches_the_ledger(world: World, shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """The first 50 minutes of the ICU recording, through the command, a socket and the bedside agent."""
    with shared_data(RECORDING).open() as lines:
        (tmp_path / "vitals.csv").write_text("".join(islice(lines, 51)))
    box = world.box("bed", "bedside")
    with box.start() as agent:
        to = f"mllp://127.0.0.1:{agent.port}"
        done = play(str(tmp_path / "vitals.csv"), "--device", "MON-7", "--to", to, "--speed", "6000")
        assert (done.returncode, done.stdout) == (0, "50 messages accepted\n"), done.stderr
        agent.stop()
    logged = [entry.content for entry in box.entries("reading")]
    assert len(logged) == 50
    assert {content["device"] for content in logged} == {"MON-7"}
    rates = [content["samples"][0][:3] for content in logged]
    assert rates[1:4] == [["8867-4", [628, -1], "/min"], ["8867-4", [578, -1], "/min"], ["8867-4", [611, -1], "/min"]]
    assert rates[0] == ["8867-4", None, "/min"]  # 0 in the recording: nothing was connected
    times = [content["device_time"] for content in logged]
    assert [later - first for first, later in pairwise(times)] == [10] * 49


def test_the_whole_recording_is_played_in_order(shared_data: Callable[[str], Path]) -> None:
    """1,936 messages, each waiting for its own acknowledgement."""
    with receiver() as there, shared_data(RECORDING).open() as lines, Sender(there.address) as sender:
        played = play_to(lines, device="MON-7", speed=AT_ONCE, sender=sender, start=1_000)
        assert (played.accepted, played.empty, played.resent) == (1936, 0, 0)
    assert [parse(message).message_id for message in there.got] == [f"1000-{number}" for number in range(1, 1937)]
    assert all(len(readings(parse(message))) == 1 for message in there.got[:50])


def test_rows_wait_until_they_are_due() -> None:
    """At 60, one a second; the waits are asked for, and the messages claim these times."""
    waits: list[float] = []
    with receiver() as there, Sender(there.address) as sender:
        play_to(ROWS, device="MON-7", speed=60, sender=sender, start=0, sleep=waits.append)
    assert [reading.device_time for message in there.got for reading in readings(parse(message))] == [0, 1000, 2000]
    assert len(waits) == 2
    assert all(before < due for before, due in zip(waits, (1, 2), strict=True))


def test_a_refusal_ends_the_playing_with_its_reason() -> None:
    """Nothing is sent after a message that was not accepted."""

    def refuse(message: bytes, number: int) -> bytes:
        return acknowledge(parse(message), "AA" if number == 1 else "AE", "" if number == 1 else "the disk is full")

    with receiver(refuse) as there, Sender(there.address) as sender:
        with pytest.raises(PlayError, match=r"refused a message \(AE\): the disk is full") as refused:
            play_to(ROWS, device="MON-7", speed=AT_ONCE, sender=sender)
        assert "medledger agent status" in (refused.value.hint or "")
        assert len(there.got) == 2


def test_an_acknowledgement_of_another_message_is_none() -> None:
    """MSA-2 must be the id of what was sent."""

    def confuse(message: bytes, number: int) -> bytes:
        return accept(message, number).replace(b"-2\r", b"-1\r")

    with receiver(confuse) as there, Sender(there.address) as sender:
        with pytest.raises(PlayError, match="acknowledged '7-1' where '7-2' was sent"):
            play_to(ROWS, device="MON-7", speed=AT_ONCE, sender=sender, start=7)
        assert len(there.got) == 2


def test_what_was_not_acknowledged_is_sent_again_as_it_was() -> None:
    """The receiver hangs up once before it answers: the same bytes come again, and nothing is left out."""
    with receiver(lambda message, number: None if number == 2 else accept(message, number)) as there:
        with Sender(there.address) as sender:
            played = play_to(ROWS, device="MON-7", speed=AT_ONCE, sender=sender)
        assert (played.accepted, played.resent) == (3, 1)
        assert there.got[1] == there.got[2]
        assert len(set(there.got)) == 3


def test_an_agent_that_dies_in_between_gets_the_rest_once(world: World, tmp_path: Path) -> None:
    """Killed while it is played to, and started again: every row is logged, and none twice."""
    (tmp_path / "vitals.csv").write_text("\n".join([ROWS[0], *(f"{second},60,97" for second in range(40))]))
    box = world.box("bed", "bedside")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    box.config.write_text(box.config.read_text().replace("port = 0", f"port = {port}"))
    to = f"mllp://127.0.0.1:{port}"
    with box.start() as agent:
        playing = start_play(str(tmp_path / "vitals.csv"), "--device", "MON-7", "--to", to, "--speed", "20")
        agent.wait_for("connected")
        with pytest.raises(subprocess.TimeoutExpired):
            playing.wait(0.5)
        agent.kill()
    some = len(box.entries("reading"))
    print("logged before the kill:", some)
    with box.start() as agent:
        output, errors = playing.communicate(timeout=SECONDS)
        assert playing.returncode == 0, errors
        assert output.startswith("40 messages accepted")
        agent.stop()
    times = [entry.content["device_time"] for entry in box.entries("reading")]
    assert len(times) == len(set(times)) == 40 > some


def test_nobody_there_is_named() -> None:
    """After the time it is given, and with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    with Sender(address, patience=0) as sender, pytest.raises(PlayError, match=r"nobody at 127\.0\.0\.1") as caught:
        play_to(ROWS, device="MON-7", speed=AT_ONCE, sender=sender)
    assert caught.value.hint is not None
    assert "bedside agent" in caught.value.hint


def test_without_a_receiver_the_readings_are_shown(tmp_path: Path) -> None:
    """One line for each."""
    (tmp_path / "vitals.csv").write_text("\n".join(ROWS))
    done = play(str(tmp_path / "vitals.csv"), "--device", "MON-7", "--speed", "1e9")
    assert done.returncode == 0, done.stderr
    assert [line.partition("  ")[2] for line in done.stdout.splitlines()] == [
        f"MON-7: 8867-4 {60 + number} /min, 59408-5 {97 + number} %" for number in range(3)
    ]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "mllp://", "127.0.0.1:2575", "mllp://host:many", "mllp://host/path"]
)
def test_an_address_that_is_none_is_refused(url: str, tmp_path: Path) -> None:
    """Before anything is read."""
    (tmp_path / "vitals.csv").write_text("\n".join(ROWS))
    done = play(str(tmp_path / "vitals.csv"), "--device", "MON-7", "--to", url)
    assert done.returncode == 2
    assert "mllp://127.0.0.1:2575" in done.stderr


@pytest.mark.parametrize(
    "content", [b"t_seconds,Mood [%]\n1,2\n", b"\xff\xfe\x00", b"", b"t_seconds,HR [bpm]\n1,6\x000\n"]
)
def test_a_file_that_is_no_series_is_named(content: bytes, tmp_path: Path) -> None:
    """In one line and without a traceback."""
    (tmp_path / "odd.csv").write_bytes(content)
    done = play(str(tmp_path / "odd.csv"), "--device", "MON-7")
    assert done.returncode != 0
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr


def test_the_issuer_of_the_number_is_who_it_is_said_to_be(tmp_path: Path) -> None:
    """A number means nobody without its issuer: the message names the one that was given; alone it is refused."""
    series = tmp_path / "series.csv"
    series.write_text("\n".join(ROWS[:2]) + "\n")
    receiver = Receiver(accept)
    try:
        to = ("--device", "MON-7", "--to", "mllp://{}:{}".format(*receiver.address))
        assert play(str(series), *to, "--patient", "4711", "--issuer", "ST. ANNA^X").returncode == 0
        assert play(str(series), *to, "--patient", "4711").returncode == 0
        assert play(str(series), *to, "--issuer", "HOSP").returncode == 2
    finally:
        receiver.close()
    named, unnamed = map(parse, receiver.got)
    for message, issuer in ((named, "ST. ANNA^X"), (unnamed, "MEDLEDGER_PLAYER")):
        (pid,) = [segment for segment in message.segments if message.part(segment, 0) == "PID"]
        assert message.part(pid, 3, 1) == "4711"
        assert message.part(pid, 3, 4) == issuer
