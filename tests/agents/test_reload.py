"""SIGHUP: what may change while an agent runs does, the rest is refused by name, and a bad file changes nothing."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import fields, replace
from pathlib import Path

import pytest

from boxes import Agent, Box, World, oru
from medledger_agents.bedside.config import BedsideConfig
from medledger_agents.pharmacy.config import PharmacyConfig
from medledger_agents.reload import changes, merged
from medledger_agents.report import config_hash
from waiting import until

EXPIRED = "]d2010950600013435217240331" + "21S1"


@pytest.fixture
def box(world: World) -> Box:
    """An enrolled pharmacy that logs what it does."""
    return world.box("counter", "pharmacy")


def reload(agent: Agent, *edits: tuple[str, str]) -> None:
    """Edit the configuration, as an editor does: the file is whole at every moment; and tell the agent."""
    text = agent.box.config.read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    saved = agent.box.config.with_suffix(".new")
    saved.write_text(text)
    saved.replace(agent.box.config)
    agent.process.send_signal(signal.SIGHUP)


def test_live_keys_change_and_others_are_refused_by_name(box: Box) -> None:
    """Expired stock becomes supplyable with a reason; the port stays as it was, and the log says which key does not."""
    with box.start() as agent:
        request = {"scan": EXPIRED, "override": "nothing else is there", "operator": "17"}
        assert agent.till().ask(request)["code"] == "expired"
        reload(agent, ("[scanner]\nport = 0", "[scanner]\nport = 1\n[dispensing]\nallow_expired = true"))
        assert agent.wait_for("needs a restart")["key"] == "port in [scanner]"
        told = agent.wait_for("configuration reloaded")
        assert (told["changed"], told["refused"]) == (1, 1)
        reply = agent.till().ask(request)
        assert reply["result"] == "dispensed", reply
        agent.stop()


def test_a_bad_file_changes_nothing(box: Box) -> None:
    """The reason is in the log, all keys stay as they were, and a right file is taken after that."""
    with box.start() as agent:
        reload(agent, ("[scanner]\n", "[dispensing]\nallow_expired = true\nquantty = 2\n[scanner]\n"))
        assert "'quantty' in [dispensing]" in agent.wait_for("configuration not reloaded")["reason"]
        assert agent.till().ask({"scan": EXPIRED, "override": "none", "operator": "17"})["code"] == "expired"
        reload(agent, ("quantty = 2\n", ""))
        agent.wait_for("configuration reloaded")
        assert agent.till().ask({"scan": EXPIRED, "override": "none", "operator": "17"})["result"] == "dispensed"
        agent.stop()


def test_a_reload_that_changes_something_is_said_on_the_ledger(box: Box) -> None:
    """The entry carries the hash of what is in force; a reload that changes nothing says nothing."""
    with box.start() as agent:
        said = lambda: sum(event["event"] == "blocks" and event["feed"] == "own" for event in agent.log)  # noqa: E731
        assert until(lambda: said() == 1)
        reload(agent)
        agent.wait_for("configuration reloaded")
        reload(agent, ("[scanner]\n", '[dispensing]\nquantity = "2"\n[scanner]\n'))
        agent.wait_for("configuration reloaded")
        assert until(lambda: said() == 2)
        agent.kill()
    found = [entry.content for entry in box.entries("device.status")]
    assert [content["state"] for content in found] == ["on", "on"]
    assert found[0]["config"] != found[1]["config"]
    assert found[1]["config"] == config_hash(PharmacyConfig.load(box.config), box.home)


def test_the_log_changes_its_level(box: Box) -> None:
    """From debug to error and back: what happens between is not logged."""
    with box.start() as agent:
        reload(agent, ('"debug"', '"error"'))
        count = len(agent.log)
        assert agent.till().ask(EXPIRED)["result"] == "refused"
        reload(agent, ('"error"', '"debug"'))
        agent.wait_for("configuration reloaded")
        assert "dispensing refused" not in [event["event"] for event in agent.log[count:]]
        agent.stop()


def test_systemd_is_told_of_a_reload(box: Box, tmp_path: Path) -> None:
    """RELOADING with the time, then READY again, as Type=notify-reload asks."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        with box.start(NOTIFY_SOCKET=str(tmp_path / "notify")) as agent:
            got: list[str] = []
            while "READY=1" not in got:
                got.append(manager.recv(4096).decode())
            reload(agent)
            while not got[-1].startswith("RELOADING=1\nMONOTONIC_USEC="):
                got.append(manager.recv(4096).decode())
            while got[-1] != "READY=1":
                got.append(manager.recv(4096).decode())
            agent.stop()


@pytest.mark.parametrize("config", [BedsideConfig, PharmacyConfig])
def test_merging_takes_exactly_the_live_keys(config: type, tmp_path: Path) -> None:
    """What differs is named, live or not; merged again, only what is not live differs still."""
    path = tmp_path / "agent.toml"
    path.write_text("# every key at its default\n")
    old = config.load(path)
    new = replace(old, log=replace(old.log, level="error"), ledger=replace(old.ledger, path=Path(os.devnull)))
    assert {(change.name, change.live) for change in changes(old, new)} == {
        ("level in [log]", True),
        ("path in [ledger]", False),
    }
    now = merged(old, new)
    assert (now.log.level, now.ledger.path) == ("error", old.ledger.path)
    assert [change.name for change in changes(now, new)] == ["path in [ledger]"]
    assert changes(old, old) == []
    assert {each.name for each in fields(now)} == {each.name for each in fields(old)}


def test_what_waits_is_logged_by_the_new_window(world: World) -> None:
    """A message that would have waited for a minute is acknowledged as soon as the window is shorter."""
    box = world.box("bed", "bedside", batch={"window_seconds": 60})
    with box.start() as agent:
        monitor = agent.monitor()
        monitor.send(oru(1))
        agent.wait_for("connected")
        reload(agent, ("window_seconds = 60", "window_seconds = 0"))
        assert monitor.receive()[0] == "AA"
        agent.stop()
