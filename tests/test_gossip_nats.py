"""Gossip over a NATS cluster of three servers, configured as docs/brokers.md says. Unchanged code, other addresses."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from brokers_page import PASSWORD
from certificates import have_openssl
from medledger import Ledger
from medledger.transport import Alarm, Gossip, subscriptions
from nats_cluster import Cluster, find_nats
from waiting import equal, until
from worlds import found, join, reading

SECONDS = 40.0
BLOCKS = 4000

pytestmark = pytest.mark.skipif(
    find_nats() is None or not have_openssl(),
    reason="needs nats-server (on Debian: apt install nats-server) and openssl",
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster."""
    program = find_nats()
    assert program is not None
    with Cluster(program, tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: thousands of blocks are written at once, and no disk is tested here."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as name:
        yield Path(name)


def account(cluster: Cluster, name: str = "bed-7") -> dict[str, Any]:
    """How to greet a server."""
    files = {"ca": "ca.crt", "certificate": "bed-7.crt", "key": "bed-7.pem"}
    return {"username": name, "password": PASSWORD, **{key: cluster.directory / file for key, file in files.items()}}


def test_a_server_dies_in_the_middle_of_a_sync(directory: Path, cluster: Cluster, stack: ExitStack) -> None:
    """kill -9 of the server that all are on, while thousands of blocks are pulled and more are written: the others take
    over, no acknowledged block is lost, and all digests are equal. Then the server comes back, and serves a newcomer.
    """
    print("servers:", cluster.urls)
    founder = stack.enter_context(found(directory))
    ward = stack.enter_context(join(founder, directory, "ward"))
    auditor = stack.enter_context(join(founder, directory, "auditor", "auditor"))
    acknowledged = [ward.append(*[reading(each) for each in range(number % 7 + 1)]).id for number in range(BLOCKS)]
    alarms: list[Alarm] = []
    stack.enter_context(Gossip(ward, cluster.urls, **account(cluster), on_alarm=alarms.append))
    founders = stack.enter_context(Gossip(founder, cluster.urls, **account(cluster, "pharmacy-1")))
    puller = stack.enter_context(Gossip(auditor, cluster.urls, **account(cluster)))
    assert ward.me is not None
    assert until(lambda: held(auditor, ward) > BLOCKS // 10, SECONDS)
    cluster.kill(0)
    killed_at = held(auditor, ward)
    print(f"killed at {killed_at} of {BLOCKS} blocks")
    assert killed_at < BLOCKS - 1
    started = time.monotonic()
    acknowledged += [ward.append(reading(number)).id for number in range(100)]
    assert until(lambda: equal(founder, ward, auditor), SECONDS)
    print(f"equal again after {time.monotonic() - started:.1f} s")
    assert puller.status()["broker"] in cluster.urls[1:]
    assert [block.id for block in auditor.blocks(ward.me, 0, len(acknowledged))] == acknowledged
    assert puller.wait_in_sync(SECONDS)
    assert founders.wait_in_sync(SECONDS)

    cluster.start(0)
    cluster.wait()
    newcomer = stack.enter_context(join(founder, directory, "newcomer", "auditor"))
    assert stack.enter_context(Gossip(newcomer, cluster.urls[0], **account(cluster))).wait_in_sync(SECONDS)
    ward.append(reading(99))
    assert until(lambda: equal(founder, ward, auditor, newcomer), SECONDS)
    assert not alarms


def held(replica: Ledger, author: Ledger) -> int:
    """How many of an author's blocks a replica holds."""
    assert author.me is not None
    head = replica.frontier().get(author.me)
    return 0 if head is None else head.seq + 1


def test_mqtt_5_is_refused_and_3_1_1_spoken(tmp_path: Path, cluster: Cluster, stack: ExitStack) -> None:
    """NATS says that it does not know MQTT 5."""
    founder = stack.enter_context(found(tmp_path))
    gossip = stack.enter_context(Gossip(founder, cluster.urls, **account(cluster), protocol="5"))
    assert gossip.status()["connected"]
    assert gossip.status()["protocol"] == "3.1.1"


def test_an_account_without_rights_raises_an_alarm(
    tmp_path: Path, cluster: Cluster, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its subscriptions are refused, again and again: people are told, once, and what to do. Where the servers are
    given other rules and read them, it is in sync without anybody's doing.
    """
    monkeypatch.setattr(subscriptions, "SUBSCRIBE_SECONDS", 2.0)
    founder = stack.enter_context(found(tmp_path))
    alarms: list[Alarm] = []
    gossip = stack.enter_context(
        Gossip(founder, cluster.urls, **account(cluster, "outsider"), on_alarm=alarms.append)
    )  # fmt: skip
    assert until(lambda: bool(alarms))
    assert "refuses a subscription" in alarms[0].text
    assert "ml/1/" in alarms[0].hint
    assert gossip.status()["alarms"][0]["hint"] == alarms[0].hint
    assert len(alarms) == 1
    ward = stack.enter_context(join(founder, tmp_path, "ward"))
    stack.enter_context(Gossip(ward, cluster.urls, **account(cluster)))
    ward.append(reading())
    cluster.let_outsiders_in()
    assert gossip.wait_in_sync(SECONDS)
    assert until(lambda: equal(founder, ward), SECONDS)
