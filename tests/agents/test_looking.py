"""`medledger agent status`: a running agent is shown as it is, with exit codes for monitoring."""

from __future__ import annotations

import json
import re
import socket
import threading
from contextlib import closing
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import medledger_agents
from boxes import Box, World, oru
from medledger.cli.root import medledger
from medledger.ledger import FORKED, RECOVERING, REVOKED
from medledger_agents.advice import CANNOT_WRITE, FAULTS, on_fault
from medledger_agents.exposition import PREFIX
from medledger_agents.looking import Seen, lines

SECONDS = 30


def free_port() -> int:
    """A port that nobody listens on now."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port: int = server.getsockname()[1]
        return port


def status(config: Path, *options: str) -> Result:
    """The command, in this process."""
    return CliRunner().invoke(medledger, ["agent", "status", "--config", str(config), *options])


@pytest.fixture
def box(world: World) -> Box:
    """A bedside box with a port to be asked on."""
    return world.box("bed-7", "bedside", metrics={"port": free_port()}, gossip={"offline": True})


def test_a_well_agent_is_shown_with_what_it_has_done(box: Box) -> None:
    """Messages, disk, gossip, clock; 0 for monitoring."""
    with box.start() as agent:
        agent.wait_for("metrics")
        assert agent.monitor().ask(oru(1))[0] == "AA"
        shown = status(box.config)
        said = json.loads(status(box.config, "--json").stdout)
    assert shown.exit_code == 0, shown.output
    assert "bedside agent" in shown.output
    assert "well" in shown.output
    assert "1 logged" in shown.output
    assert "offline" in shown.output
    assert re.search(r"\nclock +\d{4}-\d\d-\d\d \d\d:\d\d \S+, (?:not known to be )?synchronised", shown.output)
    assert (said["running"], said["healthy"], said["figures"]["messages.logged"]) == (True, True, 1)
    assert said["figures"]["ledger_state.ready"] == 1


def test_an_agent_that_comes_up_is_waited_for(box: Box) -> None:
    """With `--wait` it looks again, and stops looking when it is well; what never comes up is 7."""
    assert status(box.config, "--wait", "1s").exit_code == 7
    found: list[int] = []
    waiting = threading.Thread(target=lambda: found.append(status(box.config, "--wait", "60s").exit_code))
    waiting.start()
    with box.start():
        waiting.join()
    assert found == [0]


def test_an_agent_that_does_not_run_is_7(box: Box) -> None:
    """As for `net status`."""
    shown = status(box.config)
    assert (shown.exit_code, "not running" in shown.output) == (7, True)
    assert f"medledger agent bedside --config {box.config}" in shown.output
    said = json.loads(status(box.config, "--json").stdout)
    assert said == {"kind": "bedside", "running": False, "healthy": False}


def seen(faults: dict[str, str] | None = None, **figures: float) -> Seen:
    """An agent that is connected, and answered with these figures."""
    known = {"broker_connected": 1.0, "peers": 2.0, **figures}
    return Seen(faults or {}, {name: {(): value} for name, value in known.items()})


def test_figures_are_in_words_that_people_use() -> None:
    """No year in hours, and nothing is all of none."""
    for seconds, text in ((71.9 * 3600, "71 h"), (72 * 3600.0, "3 days"), (9e9, "lasts for years at")):
        assert text in "\n".join(lines("bedside", seen(spool_left_seconds=seconds)))
    assert "2 peers; nothing written yet" in "\n".join(lines("bedside", seen(own_blocks=0)))
    assert "2 peers; all of our 3 blocks confirmed" in "\n".join(lines("bedside", seen(own_blocks=3)))
    late = seen(own_blocks=3, own_blocks_unconfirmed=1, own_blocks_unconfirmed_seconds=7260)
    assert "the oldest for 2 h 1 min" in "\n".join(lines("bedside", late))


def test_faults_are_broken_to_the_terminal_and_to_nothing_else() -> None:
    """Between words; a file has each in a line."""
    faults = {"peers": "others speak under another transport key, and none answers under the one held here"}
    shown = lines("bedside", seen(faults), 60)
    assert max(len(click.unstyle(line)) for line in shown if line.startswith("  ")) in range(40, 61)
    joined = " ".join(click.unstyle(line).strip() for line in shown)
    assert f"peers: {faults['peers']} -> {on_fault('peers', '')}" in joined
    assert click.unstyle(lines("bedside", seen(faults))[-2]).strip() == f"peers: {faults['peers']}"


def test_a_fault_is_named_and_6(world: World) -> None:
    """Here: a disk that is to keep more free than any has."""
    box = world.box("bed-8", "bedside", metrics={"port": free_port()}, spool={"min_free_bytes": 2**50})
    with box.start() as agent:
        agent.wait_for("metrics")
        shown = status(box.config)
        said = json.loads(status(box.config, "--json").stdout)
    assert shown.exit_code == 6, shown.output
    assert "unhealthy" in shown.output
    assert "spool" in shown.output
    assert "-> Make room" in shown.output
    assert said["advice"].keys() == said["faults"].keys() == {"spool"}


def test_each_fault_that_an_agent_can_have_comes_with_what_to_do() -> None:
    """Of each that the source names there is advice of its own, and of each standing; of any other the doctor's."""
    sources = "".join(path.read_text() for path in Path(medledger_agents.__file__).parent.rglob("*.py"))
    named = set(re.findall(r"""\.fault\(\s*f?"([a-z ]+)(?: \{|")""", sources))
    assert {"spool", "spool hours", "part", "instrument", "standing", "disk"} <= named
    assert named <= {*FAULTS, "standing"}
    for why in (REVOKED, FORKED):
        assert "--replace" in on_fault("standing", CANNOT_WRITE + why)
    assert "recover" in on_fault("standing", CANNOT_WRITE + RECOVERING)
    assert "broker" in on_fault("standing", CANNOT_WRITE + "its enrolment has not arrived")
    assert "role" in on_fault("standing", CANNOT_WRITE + "not-allowed")
    assert "doctor" in on_fault("something new", "")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"faults": []}',
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2_000_000,
    ],
    ids=["nothing", "ssh", "no faults", "faults of another kind", "endless"],
)
def test_another_program_on_the_port_is_no_healthy_agent(box: Box, answer: bytes) -> None:
    """Whatever it says: 4, and never 0."""
    port = int(box.config.read_text().split("[metrics]\nport = ")[1].split()[0])
    with closing(socket.create_server(("127.0.0.1", port))) as server:

        def reply() -> None:
            for _ in range(2):
                try:
                    with server.accept()[0] as connection:
                        connection.recv(4096)
                        connection.sendall(answer)
                except OSError:
                    return

        thread = threading.Thread(target=reply, daemon=True)
        thread.start()
        shown = status(box.config)
    assert shown.exit_code == 4, shown.output


NAMES = (
    'messages_total{result="logged"}',
    "commit_seconds_count",
    "commit_seconds_sum",
    "inbox_open",
    "own_blocks",
    "own_blocks_unconfirmed",
    "own_blocks_unconfirmed_seconds",
    "peers",
    'spool_bytes{kind="inbox"}',
    "spool_left_seconds",
    'failures_total{part="gossip"}',
)


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "1e999"])
def test_a_figure_that_is_no_number_is_one_that_is_not_known(box: Box, value: str) -> None:
    """The rest is shown, and what programs get is JSON."""
    port = int(box.config.read_text().split("[metrics]\nport = ")[1].split()[0])
    page = "".join(f"{PREFIX}{name} {value}\n" for name in NAMES) + f"{PREFIX}broker_connected 1\n"
    answers = ['{"faults": {}}', page] * 2
    with closing(socket.create_server(("127.0.0.1", port))) as server:

        def reply() -> None:
            for body in answers:
                with server.accept()[0] as connection:
                    connection.recv(4096)
                    connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

        thread = threading.Thread(target=reply, daemon=True)
        thread.start()
        shown, said = status(box.config), status(box.config, "--json")
        thread.join(SECONDS)
    assert (shown.exit_code, "0 logged" in shown.output) == (0, True), shown.output
    assert json.loads(said.stdout)["figures"] == {"broker_connected": 1}


def test_a_configuration_without_a_port_says_so(world: World) -> None:
    """With port 0 only the agent's log knows where to ask."""
    shown = status(world.box("bed-9", "bedside").config)
    assert shown.exit_code == 2
    assert "[metrics]" in shown.output
