"""Gossip as a sans-IO state machine: `Node.handle(event, now)` gives the effects that a transport carries out.

What travels and why is in docs/gossip.md. Rooms: `topics`, `messages`, `frames` and `envelopes` are the bytes;
`frontier` is what two replicas compare; `trickle` and `rank` say when to speak; `keyring` holds the transport keys;
`gate` is who is listened to, `voice` how we say something. `probing`, `pulling` (with `interests`, `pulls` and
`trust`), `serving`, `branches`, `holes` and `forks` are the parts of a conversation with one peer; `live`, `queries`
and `claims`, which `repair` holds together, of that with all; `own` and its `publishing` and `delivery` are about our
own feed, `stragglers` about members that missed a new key. `intake` is the way into the `replica`, `parts` puts a node
together, and `node` says what leads to what. `traffic` counts what travels, `picture` is what there is to see.
"""

from medledger.sync.events import (
    Advanced,
    Alarm,
    Connected,
    Disconnected,
    Effect,
    Event,
    Publish,
    Received,
    Subscribe,
    Tick,
    WakeAt,
)
from medledger.sync.node import Node
from medledger.sync.replica import Replica

__all__ = [
    "Advanced",
    "Alarm",
    "Connected",
    "Disconnected",
    "Effect",
    "Event",
    "Node",
    "Publish",
    "Received",
    "Replica",
    "Subscribe",
    "Tick",
    "WakeAt",
]
