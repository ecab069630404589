"""Gossip as a sans-IO state machine: `Node.handle(event, now)` gives the effects that a transport carries out.

What travels and why is in docs/gossip.md. Rooms: `topics`, `messages` and `frames` are the bytes; `frontier` is what
two replicas compare; `trickle` says when to speak; `gate` who is listened to, `voice` how we say something; `probing`,
`pulling`, `serving`, `publishing`, `live`, `forks` and `delivery` are the parts of a conversation; `node` holds them
together.
`traffic` counts what travels, `picture` is what there is to see; `replica` is what it asks of a ledger.
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
