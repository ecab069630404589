"""A broker whose name cannot be looked up: the answer never comes, or there is nobody to ask.

The agent runs in a mount namespace of its own, where resolv.conf(5) names a server of this test alone.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxes import World, oru
from waiting import until

ENTER = """#!/bin/sh
exec unshare --mount sh -c '
  for each in resolv nsswitch; do mount --bind {place}/$each.conf /etc/$each.conf || exit; done
  exec "$@"
' sh {python} "$@"
"""


@pytest.fixture
def name_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: random.Random) -> Iterator[socket.socket]:
    """The socket of the only name server that programs started here know; it says nothing."""
    if os.geteuid() != 0:
        pytest.skip("needs root, who may give a program another /etc/resolv.conf")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        address = f"127.{rng.randint(1, 254)}.{rng.randint(1, 254)}.{rng.randint(1, 254)}"
        try:
            server.bind((address, 53))
        except OSError as error:
            pytest.skip(f"no name server can be had at {address}: {error}")
        server.settimeout(60)
        (tmp_path / "resolv.conf").write_text(f"nameserver {address}\noptions timeout:30 attempts:5\n")
        (tmp_path / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
        program = tmp_path / "python"
        program.write_text(ENTER.format(place=tmp_path, python=sys.executable))
        program.chmod(0o755)
        found = subprocess.run(
            [program, "-c", "print(open('/etc/resolv.conf').read())"], capture_output=True, text=True
        )
        if address not in found.stdout:
            pytest.skip(f"needs a mount namespace: {found.stderr.strip()}")
        monkeypatch.setattr(sys, "executable", str(program))
        yield server


@pytest.mark.parametrize("answers", ["never", "nobody is there"])
def test_a_name_that_is_not_found_holds_up_nothing(world: World, name_server: socket.socket, answers: str) -> None:
    """Messages are acknowledged while the look-up hangs, or fails; and the agent ends in order, in its time."""
    box = world.box("bed", "bedside", gossip={"broker": "mqtt://broker.hospital.example:1883"})
    if answers == "nobody is there":
        name_server.close()
    with box.start() as agent:
        if answers == "never":
            assert b"hospital" in name_server.recv(512)
        else:
            assert until(lambda: any("cannot be reached: Temp" in event["event"] for event in agent.log))
        assert agent.monitor().ask(oru(1))[0] == "AA"
        agent.stop()
    assert len(box.entries("reading")) == 1
