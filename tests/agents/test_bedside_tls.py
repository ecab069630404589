"""MLLP over TLS: real sockets, real certificates, and senders who get it wrong in either direction."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from boxes import Agent, Box, Monitor, World, oru
from certificates import certificates, have_openssl
from medledger_bridge.mllp import wrap

pytestmark = pytest.mark.skipif(not have_openssl(), reason="no openssl to make certificates with")


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    """An authority with certificates of a box and of a monitor, and another that nobody knows."""
    for name, holders in (("pki", ("box", "monitor")), ("other", ("stranger", "later"))):
        (tmp_path / name).mkdir()
        certificates(tmp_path / name, *holders)
    return tmp_path / "pki"


def box_with_tls(world: World, pki: Path, **more: Any) -> Box:
    """A box that takes TLS only."""
    files = {"tls_certificate_file": str(pki / "box.crt"), "tls_key_file": str(pki / "box.key")}
    return world.box("bed", "bedside", mllp={"port": 0, **files, **more})


@contextmanager
def monitor(agent: Agent, ca: Path, certificate: Path | None = None, **versions: Any) -> Iterator[Monitor]:
    """A monitor that speaks TLS."""
    context = ssl.create_default_context(cafile=str(ca))
    for name, value in versions.items():
        setattr(context, name, value)
    if certificate is not None:
        context.load_cert_chain(certificate.with_suffix(".crt"), certificate.with_suffix(".key"))
    with closing(Monitor(agent.port)) as found:
        found.socket = context.wrap_socket(found.socket, server_hostname="127.0.0.1")
        yield found


def test_messages_go_through_tls(world: World, pki: Path) -> None:
    """Acknowledged as without it, many in a packet and one by one, over TLS 1.2 or newer."""
    box = box_with_tls(world, pki)
    with box.start() as agent:
        with monitor(agent, pki / "ca.crt") as sender:
            assert sender.ask(oru(1)) == ("AA", "1", "")
            sender.send(*(oru(number) for number in range(2, 50)))
            assert [sender.receive()[1] for _ in range(2, 50)] == [str(number) for number in range(2, 50)]
            assert sender.socket.version() in ("TLSv1.2", "TLSv1.3")
        with monitor(agent, pki / "ca.crt", maximum_version=ssl.TLSVersion.TLSv1_2) as sender:
            assert sender.ask(oru(50))[0] == "AA"
        agent.stop()
    assert len(box.entries("reading")) == 50


def test_plain_text_on_the_tls_port_is_named(world: World, pki: Path) -> None:
    """The log says what the sender does wrong; those who do right go on."""
    with box_with_tls(world, pki).start() as agent:
        with pytest.raises((ConnectionError, ValueError)):
            agent.monitor().ask(oru(1))
        assert "plain text" in agent.wait_for("no TLS: connection closed")["reason"]
        with monitor(agent, pki / "ca.crt") as sender:
            assert sender.ask(oru(2))[0] == "AA"
        agent.stop()


def test_tls_on_the_plain_port_is_named(world: World, pki: Path) -> None:
    """And not called garbage."""
    with world.box("bed", "bedside").start() as agent:
        with pytest.raises(OSError), monitor(agent, pki / "ca.crt"):  # noqa: PT011 - whatever the hang-up looks like
            pass
        assert "the sender speaks TLS" in agent.wait_for("not MLLP: connection closed")["reason"]
        assert agent.monitor().ask(oru(1))[0] == "AA"
        agent.stop()


def test_only_monitors_with_a_certificate_are_let_in(world: World, pki: Path) -> None:
    """One without, and one of another authority, are refused in the handshake, by name in the log."""
    box = box_with_tls(world, pki, tls_client_ca_file=str(pki / "ca.crt"))
    with box.start() as agent:
        with monitor(agent, pki / "ca.crt", pki / "monitor") as sender:
            assert sender.ask(oru(1))[0] == "AA"
        for certificate, reason in ((None, "has no certificate"), (pki.parent / "other" / "stranger", "not trusted")):
            with pytest.raises(OSError), monitor(agent, pki / "ca.crt", certificate) as sender:  # noqa: PT011
                sender.ask(oru(2))
            assert reason in agent.wait_for("no TLS: connection closed")["reason"]
        agent.stop()
    assert len(box.entries("reading")) == 1


def test_a_handshake_that_stops_ends_and_others_go_on(world: World, pki: Path) -> None:
    """A peer that connects and says nothing holds up nobody."""
    with box_with_tls(world, pki).start() as agent, socket.create_connection(("127.0.0.1", agent.port)) as silent:
        silent.sendall(b"\x16\x03")
        with monitor(agent, pki / "ca.crt") as sender:
            assert sender.ask(oru(1))[0] == "AA"
        agent.stop()


def test_half_a_message_over_tls_is_nothing(world: World, pki: Path) -> None:
    """As without it: the connection ends, nothing is logged of it."""
    box = box_with_tls(world, pki, stall_seconds=1)
    with box.start() as agent:
        with monitor(agent, pki / "ca.crt") as sender:
            sender.socket.sendall(wrap(oru(1))[:-20])
            with pytest.raises(ConnectionError):
                sender.receive()
        agent.stop()
    assert box.entries("reading") == []


def test_a_new_certificate_is_taken_up_on_reload(world: World, pki: Path) -> None:
    """SIGHUP: connections that come after get the new one; one that cannot be used changes nothing."""
    with box_with_tls(world, pki).start() as agent, monitor(agent, pki / "ca.crt") as before:
        assert before.ask(oru(1))[0] == "AA"
        for suffix in (".crt", ".key"):
            shutil.copy(pki.parent / "other" / f"later{suffix}", pki / f"box{suffix}")
        os.kill(agent.process.pid, signal.SIGHUP)
        agent.wait_for("configuration reloaded")
        with monitor(agent, pki.parent / "other" / "ca.crt") as after:
            assert after.ask(oru(2))[0] == "AA"
        (pki / "box.key").write_text("nonsense")
        os.kill(agent.process.pid, signal.SIGHUP)
        agent.wait_for("certificate not reloaded")
        with monitor(agent, pki.parent / "other" / "ca.crt") as after:
            assert after.ask(oru(3))[0] == "AA"
        assert before.ask(oru(4))[0] == "AA"
        agent.stop()
