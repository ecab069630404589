"""Vectors of gossip, run through the library. See `vector_checks`."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

from medledger import cbor
from medledger.errors import FrameError
from medledger.keys import Identity
from medledger.sync.claims import claim_wait
from medledger.sync.frames import Codec
from medledger.sync.gate import Gate
from medledger.sync.keyring import Keyring
from medledger.sync.peers import PeerId, Peers
from medledger.sync.roster import Roster
from medledger.sync.topics import Topics, rendezvous
from medledger.transport_key import TransportKey

Inputs = dict[str, Any]


def codec_of(inputs: Inputs) -> tuple[Topics, Codec]:
    """The topics and the codec of a vector's ledger."""
    key = TransportKey(inputs["transport_key"])
    return Topics(inputs["ledger_id"], key.key), Codec(inputs["ledger_id"], key, Random(0))


def check_names(inputs: Inputs) -> Inputs:
    """Key id and topics."""
    topics, codec = codec_of(inputs)
    return {
        "key_id": codec.key_id,
        "beacons": topics.beacons,
        "queries": topics.queries,
        "live": topics.live(inputs["feed"]),
        "forks": topics.proofs(inputs["feed"]),
        "inbox": topics.inbox(inputs["peer"]),
    }


def check_rendezvous(inputs: Inputs) -> Inputs:
    """Where a reply is left."""
    return {"topic": rendezvous(inputs["feed"], inputs["secret"])}


def check_frame(inputs: Inputs) -> Inputs:
    """One frame, opened and its signature checked."""
    topics, codec = codec_of(inputs)
    address = topics.read(inputs["topic"])
    assert address is not None
    frame = codec.open(inputs["topic"], address.channel, inputs["frame"])
    codec.check_signature(frame)
    message = frame.message
    return {
        "message": int(message.KIND),
        "origin": frame.origin and list(frame.origin),
        "fields": cbor.encode(message.body()),
    }


def check_gate(inputs: Inputs) -> Inputs:
    """A sequence of frames, and what became of each."""
    keys = [TransportKey(key) for key in (*inputs["older_keys"], inputs["transport_key"])]
    keyring = Keyring(inputs["ledger_id"], inputs["me"], keys, Random(0))
    membership = SimpleNamespace(known=inputs["known"], electors=[], cuts=dict.fromkeys(inputs["revoked"]))
    me = PeerId(inputs["me"], inputs["boot"])
    unseal = Identity.from_seed(inputs["seed"]).unseal
    gate = Gate(me, keyring, Peers(0.0), Peers(0.0), Roster(membership), unseal)
    outcomes = []
    for step in inputs["frames"]:
        try:
            admitted = gate.admit(step["topic"], step["frame"], 0.0)
            outcomes.append("seen" if admitted is None else "straggler" if admitted.straggler else "admitted")
        except FrameError:
            outcomes.append("refused")
    return {"outcomes": outcomes}


def check_rank(inputs: Inputs) -> Inputs:
    """How long each peer waits with a claim."""
    waits = [claim_wait(peer, inputs["nonce"], inputs["feeds"]) for peer in inputs["peers"]]
    return {"milliseconds": [round(1000 * wait) for wait in waits]}


CHECKS: dict[str, Callable[[Inputs], Inputs]] = {
    "gossip-names": check_names,
    "rendezvous": check_rendezvous,
    "gossip-rank": check_rank,
    "gossip-frame": check_frame,
    "gossip-gate": check_gate,
}
