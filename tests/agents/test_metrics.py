"""Metrics and health over real sockets: what they say, what they never say, and scrapers that mean harm."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from boxes import IDENTIFIERS, Agent, Box, World, oru
from brokers import Broker
from medledger_agents.meters import DECLARED, Meters
from medledger_agents.scrape import MAX_CONNECTIONS, MAX_HEAD_BYTES
from waiting import until

DOCS = Path(__file__).resolve().parents[2] / "docs" / "agents.md"
REQUIRED = os.environ.get("MEDLEDGER_REQUIRE_PROMTOOL") == "1"
SCAN = "]d201095060001343521728033121S1"


@pytest.fixture
def promtool() -> str:
    """Prometheus' own tool; with MEDLEDGER_REQUIRE_PROMTOOL=1, as in continuous integration, it must be there."""
    found = shutil.which("promtool")
    if found is None:
        if REQUIRED:
            pytest.fail("metrics cannot be checked: no promtool")
        pytest.skip("needs promtool (Debian: prometheus)")
    return found


@pytest.fixture
def box(world: World) -> Box:
    """An enrolled pharmacy."""
    return world.box("counter", "pharmacy")


@pytest.fixture
def agent(box: Box) -> Iterator[Agent]:
    """It runs, and says that it is well."""
    with box.start() as running:
        port = metrics_port(running)
        assert until(lambda: get(port, "/health")[0] == 200)
        yield running


def metrics_port(agent: Agent) -> int:
    """Where it offers its metrics."""
    assert until(lambda: any(event["event"] == "metrics" for event in agent.log))
    port: int = next(event["port"] for event in agent.log if event["event"] == "metrics")
    return port


def get(port: int, path: str) -> tuple[int, bytes]:
    """Status and body."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def values(page: bytes) -> dict[str, float]:
    """Every sample of the page, under its name without our prefix and its labels' values."""
    return {
        " ".join([sample.name.removeprefix("medledger_agent_"), *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_the_page_counts_what_happened(world: World) -> None:
    """Logged, repeated and refused messages, blocks, commits; and how the ledger, the spool and the clock are."""
    box = world.box("bed", "bedside")
    with box.start() as agent:
        monitor = agent.monitor()
        codes = [monitor.ask(message)[0] for message in (oru(1), oru(1), oru(1, value="99"))]
        found = values(get(metrics_port(agent), "/metrics")[1])
        agent.stop()
    assert codes == ["AA", "AA", "AE"]
    assert (found["messages_total logged"], found["messages_total repeated"]) == (1, 1)
    assert (found["messages_total conflict"], found["refused_total conflict"]) == (1, 1)
    assert (found["acknowledged_total"], found["blocks_total"]) == (2, 1)
    assert found["entries_total"] >= 1
    assert found["commit_seconds_count"] == found["batch_messages_bucket +Inf"] == 3
    assert (found["ledger_state ready"], found["ledger_state recovering"], found["healthy"]) == (1, 0, 1)
    assert found["disk_free_bytes"] > 0 < found["spool_bytes inbox"]
    assert (found["spool_full"], found["inbox_open"]) == (0, 0)
    assert found["clock_synchronised"] in (0, 1)


def test_what_is_declared_is_shown_from_the_start(agent: Agent) -> None:
    """Every counter, with every value of its label, and every histogram is there with 0: a rate can be told at once."""
    found = values(get(metrics_port(agent), "/metrics")[1])
    for name, meter in DECLARED.items():
        if meter.buckets:
            assert f"{name}_count" in found
        for value in meter.values or ("",) * (not meter.buckets):
            assert f"{name}_total {value}".rstrip() in found


def test_the_page_is_what_the_documentation_says(world: World, broker: Broker) -> None:
    """docs/agents.md names each metric and each value of a fixed label, and no metric that there is not."""
    box = world.box("counter", "pharmacy", gossip={"broker": broker.url})
    with box.start() as agent:
        page = get(metrics_port(agent), "/metrics")[1].decode()
        agent.stop()
    table = DOCS.read_text().partition("## Metrics and health")[2].partition("## What each fault means")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    told = {re.sub(r"_total$|\{.*", "", name) for row in rows for name in re.findall(r"`([a-z_]+)[{`]", row)}
    shown = {family.name.removeprefix("medledger_agent_") for family in text_string_to_metric_families(page)}
    assert told - {"spool_left_seconds"} == shown - {"spool_left_seconds"}  # which is not known at first


def test_prometheus_own_tool_has_nothing_to_say_about_the_page(promtool: str, agent: Agent) -> None:
    """`promtool check metrics`: names, units, types and help as Prometheus wants them."""
    page = get(metrics_port(agent), "/metrics")[1]
    done = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_no_patient_is_in_metrics_or_health(world: World) -> None:
    """Nothing that a message says reaches either page, whatever became of the message."""
    box = world.box("bed", "bedside")
    with box.start() as agent:
        monitor = agent.monitor()
        monitor.ask(oru(1))
        monitor.ask(oru(1, value="99"))
        port = metrics_port(agent)
        pages = get(port, "/metrics")[1] + get(port, "/health")[1]
        agent.stop()
    assert b"messages_total" in pages
    for word in (*IDENTIFIERS, b"MON-7", b"WARD3"):
        assert word not in pages


def test_health_names_what_is_wrong(world: World) -> None:
    """503 and the reason while the enrolment has not arrived."""
    box = world.box("counter", "pharmacy", enrolled=False)
    with box.start() as agent:
        port = metrics_port(agent)
        assert until(lambda: get(port, "/health")[0] == 503)
        status, body = get(port, "/health")
        assert (status, json.loads(body)["healthy"]) == (503, False)
        assert json.loads(body)["faults"]["standing"] == "it cannot write: its enrolment has not arrived"
        agent.stop()


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /metrics?x=1 HTTP/1.1", b"200"),
        ("HEAD /health HTTP/1.0", b"200"),
        ("GET / HTTP/1.1", b"404"),
        ("GET /metrics/../../etc/passwd HTTP/1.1", b"404"),
        ("POST /health HTTP/1.1", b"405"),
        ("GET /health", b"400"),
        ("\x00\xff GET", b"400"),
    ],
)
def test_only_two_pages_are_served(agent: Agent, request_line: str, status: bytes) -> None:
    """Any other path or method has its own status, and HEAD has no body."""
    with socket.create_connection(("127.0.0.1", metrics_port(agent)), 10) as connection:
        connection.sendall(request_line.encode("latin-1") + b"\r\nHost: x\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] == status
    assert (body == b"") == request_line.startswith("HEAD")


def test_hostile_scrapers_do_not_keep_the_agent_from_its_work(agent: Agent, stack: ExitStack) -> None:
    """Half requests, endless headers, more connections than there are, and one that never reads: packs go out."""
    port = metrics_port(agent)
    attacks = [b"", b"GET /met", b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 4 * MAX_HEAD_BYTES]
    connections = [
        stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(3 * MAX_CONNECTIONS)
    ]
    for number, connection in enumerate(connections):
        with suppress(ConnectionError):  # it was turned away already
            connection.sendall(attacks[number % 3])
    assert agent.till().ask(SCAN)["result"] == "dispensed"
    for connection in connections:  # each is closed by the agent, the slowest at the deadline
        connection.settimeout(30)
        with suppress(ConnectionError):
            assert connection.recv(100) == b""
    assert get(port, "/health")[0] == 200


def test_a_taken_metrics_port_stops_no_dispensing(box: Box, stack: ExitStack) -> None:
    """The agent works, says which port, and offers its metrics as soon as the port is free."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        box.config.write_text(box.config.read_text().replace("[metrics]\nport = 0", f"[metrics]\nport = {port}"))
        agent = stack.enter_context(box.start())
        assert str(port) in agent.wait_for("part failed")["reason"]
        assert agent.till().ask(SCAN)["result"] == "dispensed"
    assert metrics_port(agent) == port
    assert values(get(port, "/metrics")[1])["failures_total metrics"] >= 1
    agent.stop()


def test_a_histogram_adds_up() -> None:
    """Each value is in one bucket: that of the first bound that it does not exceed."""
    meters = Meters()
    for value in (1, 2, 3, 512, 513):
        meters.observe("batch_messages", value)
    found = meters.histogram("batch_messages")
    assert found.counts == [1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1]
    assert found.total == 1031
