"""What is secret never shows in a representation: it would end in a log, or in a report of an error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from medledger import Identity, Ledger, make_request
from medledger.joining import open_reply, read_request_text
from medledger.keyfile import read
from medledger.transport_key import TransportKey
from worlds import found


@pytest.mark.parametrize("show", [repr, str, "{}".format, lambda thing: repr([thing])])
def test_no_secret_shows(tmp_path: Path, show: object) -> None:
    """Neither as text nor in hexadecimal, alone or within something else."""
    assert callable(show)
    seed, secret, key = os.urandom(32), os.urandom(16), os.urandom(32)
    identity = Identity.from_seed(seed)
    identity.save(tmp_path / "box.key")
    with found(tmp_path) as ledger:
        text = make_request(identity, secret=secret, label="box", roles=["bedside"])
        reply = open_reply(ledger.enrol(text, broker="mqtts://user:hunter2@broker.example"), identity, secret)
        assert ledger.transport_key is not None
        held = ledger.transport_key.key
        things = [identity, read(tmp_path / "box.key", None), reply, TransportKey(key), ledger, ledger.transport_key]
        things.append(read_request_text(text)[0])
        with Ledger.replicate(tmp_path / "replica.db", ledger.genesis.raw) as replica:
            shown = " ".join(show(thing) for thing in [*things, replica])
    for hidden in (seed, secret, key, held):
        assert repr(hidden)[2:-1] not in shown
        assert hidden.hex() not in shown
    assert "hunter2" not in shown
