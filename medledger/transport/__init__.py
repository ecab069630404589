"""Gossip over a real MQTT broker: the only place that imports an MQTT client, sleeps, or reads a clock for gossip.

from medledger.transport import Gossip
with Ledger.open("ward.db", me) as ledger, Gossip(ledger, "mqtts://broker.example:8883"):
    ...                                                               # converges in the background
"""

from medledger.sync import Alarm
from medledger.transport.address import BrokerAddress
from medledger.transport.gossip import Gossip

__all__ = ["Alarm", "BrokerAddress", "Gossip"]
