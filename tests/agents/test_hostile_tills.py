"""Hostile and clumsy programs at a pharmacy's counter port, which is on this box: a broken till, or none at all.

Whatever they do: each request that was answered is on the ledger once, the others are served or turned away plainly,
memory and files stay bounded, the agent lives, and its log names nobody.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from boxes import Agent, Box, Till, World
from counter_world import scan
from medledger_agents.pharmacy.requests import MAX_LINE_BYTES
from waiting import until

PLACES = 4
GROWTH_BYTES = 16_000_000
NAMED = (b"P-4711", b"RX-17", b"Zacharias")
"""What the requests say about a patient."""


def request(name: str, **more: str) -> str:
    """A supply to somebody who must stay unknown."""
    return json.dumps(
        {"scan": scan(serial=name), "id": name, "subject": "P-4711", "prescription": "RX-17", "quantity": "1"}
        | {"unit": "{tablet}", **more}
    )


@contextmanager
def counter(world: World, **scanner: int) -> Iterator[tuple[Box, Agent]]:
    """A pharmacy's agent with few places; in the end it must live and serve."""
    section = {"max_connections": PLACES, **scanner}
    box = world.box("counter", "pharmacy", scanner=section, log={"level": "info"}, gossip={"offline": True})
    with box.start() as agent:
        assert agent.till().ask(request("first", prescription="RX-first"))["result"] == "dispensed"
        before = agent.resident_bytes()
        yield box, agent
        assert until(lambda: served(agent, request("last", prescription="RX-last")), 20)
        assert agent.resident_bytes() - before < GROWTH_BYTES
        agent.stop()
    for name in NAMED:
        assert name not in agent.raw_log
        assert name not in box.stored_bytes()
    assert not [each for each in agent.log if each.get("level") == "error"], agent.raw_log.decode()


def served(agent: Agent, line: str) -> bool:
    """Whether a request on a new connection is carried out."""
    try:
        with closing(Till(agent.port)) as till:
            return bool(till.ask(line)["result"] == "dispensed")
    except (OSError, ValueError):
        return False


def assert_supplied(box: Box, *serials: str) -> None:
    """Each of these packs once, and nothing else but what `counter` asks for."""
    found = Counter(entry.content["serial"] for entry in box.entries("dispense"))
    assert found == dict.fromkeys(("first", *serials, "last"), 1)


def test_lines_may_come_in_any_pieces(world: World) -> None:
    """A byte at a time, and several in one packet: answered in their order."""
    names = [f"S{number}" for number in range(4)]
    with counter(world) as (box, agent):
        till = agent.till()
        for byte in request("S0").encode() + b"\n":
            till.socket.sendall(bytes((byte,)))
        till.socket.sendall(b"".join(request(name).encode() + b"\r\n" for name in names[1:]))
        replies = [json.loads(till._file.readline()) for _ in names]
        assert [each["id"] for each in replies] == names
        assert {each["result"] for each in replies} == {"dispensed"}
    assert_supplied(box, *names)


def test_a_line_ends_with_cr_alone_too(world: World) -> None:
    """As scanners that type Return send it: answered at once."""
    with counter(world) as (box, agent):
        till = agent.till()
        for name in ("S0", "S1"):
            till.socket.sendall(request(name).encode() + b"\r")
            assert json.loads(till._file.readline())["id"] == name
    assert_supplied(box, "S0", "S1")


def test_a_scan_that_was_cut_off_supplies_nothing(world: World) -> None:
    """Its serial number may go on: without an end a line is no request."""
    with counter(world) as (box, agent):
        till = agent.till()
        till.socket.sendall(scan(serial="S123").encode()[:-2])
        till.socket.shutdown(socket.SHUT_WR)
        (reply,) = [json.loads(line) for line in till._file]
        assert (reply["result"], reply["code"]) == ("refused", "malformed")
    assert_supplied(box)


def test_a_web_page_cannot_supply(world: World) -> None:
    """What a browser on this box sends for a page's form, with a request of ours as its body: cut at its first line."""
    with counter(world) as (box, agent):
        browser = agent.till()
        body = request("form").encode() + b"\n"
        browser.socket.sendall(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n\r\n" + body)
        (reply,) = [json.loads(line) for line in browser._file]
        assert (reply["result"], reply["code"]) == ("refused", "malformed")
    assert_supplied(box)


def test_half_a_line_on_every_place(world: World) -> None:
    """Who waits in the middle of a line holds its place and no more; who finds none is turned away at once."""
    with counter(world) as (box, agent), ExitStack() as stack:
        slow = [stack.enter_context(closing(Till(agent.port))) for _ in range(PLACES - 2)]
        for each in slow:
            each.socket.sendall(request("half").encode()[:40])
        with closing(Till(agent.port)) as other:
            assert other.ask(request("beside"))["result"] == "dispensed"
            stack.enter_context(closing(extra := Till(agent.port)))
            with pytest.raises((OSError, ValueError)):
                extra.ask(request("one too many"))
            agent.wait_for("connection turned away")
    assert_supplied(box, "beside")


@pytest.mark.parametrize(
    "sent",
    [
        random.Random(7).randbytes(200_000),
        bytes(200_000),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500) + b"\n",
        b"GET / HTTP/1.1\r\nHost: counter\r\n\r\n",
        b"{" * (MAX_LINE_BYTES - 2) + b"\n",
        b'{"subject": "Zach\xff\xe9arias"}\n{"subject": "Zach\x00arias Zacharias"}\n',
        b'{"id": "\\ud800"}\n{"do": "\\ud800"}\n',
        b'{"scan": "]d2\xff\xfe"}\n]d2\x00\x00\n',
        b'{"do": "dispense", "id": "' + b"9" * 3_000 + b'"}\n',
        b"9" * 4_000 + b"\n",
    ],
    ids=[
        "garbage",
        "zeros",
        "tls",
        "http",
        "braces",
        "no text",
        "half a character",
        "no scan",
        "a long id",
        "a long number",
    ],
)
def test_what_is_no_request_is_refused(world: World, sent: bytes) -> None:
    """In as many replies as there are lines, each `refused`; nothing is supplied, and an honest till goes on."""
    with counter(world) as (box, agent):
        bad, good = agent.till(), agent.till()
        bad.socket.sendall(sent)
        bad.socket.shutdown(socket.SHUT_WR)
        try:
            replies = [json.loads(line) for line in bad._file]
        except ConnectionResetError:  # it was cut with bytes of its own on the way
            replies = []
        assert all(each["result"] == "refused" for each in replies)
        assert len(replies) <= sent.count(b"\n") + sent.count(b"\r") + 1
        assert good.ask(request("good"))["result"] == "dispensed"
    assert_supplied(box, "good")


def test_a_line_that_never_ends(world: World) -> None:
    """It is cut at the limit, not gathered."""
    with counter(world) as (box, agent):
        bad = agent.till()
        with pytest.raises(OSError):  # noqa: PT011 - a reset or a broken pipe, whichever comes first
            bad.socket.sendall(bytes(128 * 1024 * 1024))
    assert_supplied(box)


def test_a_till_that_never_reads(world: World) -> None:
    """Its own requests wait, nobody else's; in the end it finds every reply in its order."""
    names = [f"D{number}" for number in range(150)]
    with counter(world) as (box, agent):
        deaf, other = agent.till(), agent.till()
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lines = b"".join(request(name).encode() + b"\n" for name in names)
        sending = threading.Thread(target=deaf.socket.sendall, args=(lines,), daemon=True)
        sending.start()
        for number in range(10):
            assert other.ask(request(f"O{number}"))["result"] == "dispensed"
        deaf.socket.settimeout(60)
        assert [json.loads(deaf._file.readline())["id"] for _ in names] == names
        sending.join(30)
    assert_supplied(box, *names, *(f"O{number}" for number in range(10)))


def test_resets_in_the_middle_of_replies(world: World, rng: random.Random) -> None:
    """What got no reply is asked again under its id: each pack is supplied once."""
    names = [f"R{number}" for number in range(60)]
    waiting = list(names)
    with counter(world) as (box, agent):
        while waiting:
            till = Till(agent.port)
            some = waiting[:8]
            till.socket.sendall(b"".join(request(name).encode() + b"\n" for name in some))
            for _ in range(rng.randint(1, len(some))):
                assert json.loads(till._file.readline())["result"] == "dispensed"
                waiting.pop(0)
            till.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            till.close()
    assert_supplied(box, *names)


def test_one_id_for_two_requests_at_once(world: World) -> None:
    """From two tills at the same moment: one pack is supplied, the other request refused, and said to be so."""
    taken = []
    with counter(world) as (box, agent):
        one, two = agent.till(), agent.till()
        for number in range(10):
            for till, pack in ((one, "A"), (two, "B")):
                line = json.dumps({"scan": scan(serial=f"{pack}{number}"), "id": f"id-{number}"})
                till.socket.sendall(line.encode() + b"\n")
            replies = [json.loads(till._file.readline()) for till in (one, two)]
            assert sorted(each.get("code", each["result"]) for each in replies) == ["conflict", "dispensed"]
            taken += [each["serial"] for each in replies if each["result"] == "dispensed"]
    assert_supplied(box, *taken)


def test_half_a_line_loses_its_place(world: World) -> None:
    """After so many seconds from its first byte, however slowly more of them come; who waits between lines stays."""
    with counter(world, stall_seconds=1) as (box, agent):
        idle, silent, slow = agent.till(), agent.till(), agent.till()
        assert idle.ask(request("idle"))["result"] == "dispensed"
        for till, name in ((silent, "silent"), (slow, "slow")):
            till.socket.sendall(request(name).encode() + b"\n" + request("half").encode()[:40])
            assert json.loads(till._file.readline())["id"] == name
        with pytest.raises(OSError):  # noqa: PT011, PT012 - a reset or a broken pipe, whichever comes first
            for _ in range(200):
                slow.socket.sendall(b"x")
                time.sleep(0.1)
        assert json.loads(silent._file.readline())["code"] == "stalled"
        assert silent._file.readline() == b""
        with closing(Till(agent.port)) as one, closing(Till(agent.port)) as two:  # their places are free again
            assert [till.ask(request(name))["result"] for till, name in ((one, "A"), (two, "B"))] == ["dispensed"] * 2
        assert idle.ask(request("still"))["result"] == "dispensed"
    assert_supplied(box, "idle", "silent", "slow", "A", "B", "still")


def test_a_till_that_hangs_loses_its_place(world: World) -> None:
    """With replies that nobody reads: it is cut off, its memory is given back, and what was logged stands."""
    with counter(world, stall_seconds=1) as (box, agent):
        deaf = agent.till()
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.socket.settimeout(60)
        question = json.dumps({"do": "conflicts", "id": "x" * 2_000}).encode() + b"\n"
        with pytest.raises(OSError):  # noqa: PT011 - a reset or a broken pipe, whichever comes first
            deaf.socket.sendall(question * 20_000)
        agent.wait_for("replies are not read: connection closed")
        assert agent.till().ask(request("other"))["result"] == "dispensed"
    assert_supplied(box, "other")


def test_thousands_of_connections(world: World) -> None:
    """Opened and closed, politely or not: no descriptor is left."""
    with counter(world) as (box, agent):
        descriptors = Path(f"/proc/{agent.process.pid}/fd")
        before = len(list(descriptors.iterdir()))
        for number in range(2_000):
            with socket.create_connection(("127.0.0.1", agent.port), timeout=60) as till:
                till.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", number % 2, 0))
        assert until(lambda: len(list(descriptors.iterdir())) <= before, 30)
    assert_supplied(box)
