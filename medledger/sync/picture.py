"""What there is to see of a node: plain data for people and programs, bounded whatever happens out there.

Times are seconds before now, so that the picture means the same under any clock; None stands for never. The fields:

    feed, boot              our own key and boot id, in hex
    state                   `ready`, or `recovering` while our own feed must come back before we sign
    in_sync                 we are connected, and hold all that every peer heard lately has shown; one at least has
    peers                   peers heard within the last 160 s, but for those that are gone
    feeds, blocks           what we hold
    feeds_behind            feeds of which a peer holds more, as far as we have asked
    blocks_behind           blocks that the best peer's beacon shows beyond ours, while it has more for us
    feeds_of_unknown_authors, blocks_with_hidden_entries, forked_feeds
    own_blocks              the length of our own feed
    own_blocks_unconfirmed  blocks of it that no peer has shown to hold
    own_blocks_unconfirmed_seconds   since when the oldest of these waits
    peer_list               the peers heard last, at most 100, the newest first; peer_list_more: how many others
        feed, boot          its key and boot id
        stranger            its enrolment has not arrived here
        gone                a broker has told that its connection ended, and it was not heard since
        heard_seconds, beacon_seconds   since any frame of it, since its last beacon
        standing            `level`: all that it showed is here, and it showed all of ours;
                            `ahead`: it shows more blocks than we hold; `differs`: other blocks, but not more;
                            `behind`: it has nothing for us, and lacked blocks of ours; `unknown`: no beacon yet
        blocks, feeds       what its last beacon shows
        difference          blocks that it shows more than we hold, fewer where negative
        failures            requests without a good answer, since the last good one
        credit              data frames that the next pull from it may bring
        retry_seconds       how long it is not asked, 0 where it may be
        frames_in, bytes_in, frames_out, bytes_out   signed frames from it, and to it alone
    lagging_feeds           feeds that peers hold more of, at most 100, in the order they are asked for;
                            lagging_feeds_more: how many others
        feed, ours, wanted  its key, its length here and there
        sources             how many peers are known to have it
    traffic                 `in` and `out`, each: frames, bytes; kinds and channels: the same by name (see `traffic`)
    beacon                  sent_seconds, heard_seconds; interval_seconds of the Trickle timer
    probes_under_way, pulls_under_way
    alarms                  the last 20, the newest first: text, hint (what to do), seconds
    transport_key           the id of the key that frames are sealed with
    older_keys              keys before it, under which members that missed a rotation are heard
    stragglers              such members that were heard within the last 160 s
    counters                what happened so often since the start, by name
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from medledger.limits import PEER_SECONDS, STATUS_ROWS

from .alarms import Alarms
from .delivery import Delivery
from .frontier import Frontier
from .holes import HoleDesk
from .peers import Peer, PeerId, Peers
from .probing import Prober
from .pulling import Puller
from .pulls import Desk
from .replica import Replica
from .traffic import Traffic
from .trickle import Trickle


class Subject(NamedTuple):
    """The parts of a node that its picture is taken of."""

    me: PeerId
    replica: Replica
    frontier: Frontier
    peers: Peers
    prober: Prober
    puller: Puller
    holes: HoleDesk
    desks: Sequence[Desk]
    delivery: Delivery
    trickle: Trickle
    alarms: Alarms
    traffic: Traffic


def picture(node: Subject, now: float) -> dict[str, Any]:
    """All fields but those that only the node itself knows: `in_sync`, the keys and `counters`."""
    everybody = list(node.peers)[::-1]
    heard = [peer for peer in everybody if now - peer.heard_at <= PEER_SECONDS and not peer.gone]
    here = node.frontier.total
    ahead = [peer.beacon.total - here for peer in heard if peer.beacon is not None and not peer.level]
    lagging = node.puller.lagging(STATUS_ROWS)
    own = node.frontier.length(node.me.key)
    return {
        "feed": node.me.key.hex(),
        "boot": node.me.boot.hex(),
        "state": node.replica.state,
        "peers": len(heard),
        "feeds": node.frontier.count,
        "blocks": here,
        "feeds_behind": node.puller.interests,
        "blocks_behind": max([0, *ahead]),
        "feeds_of_unknown_authors": node.puller.parked,
        "blocks_with_hidden_entries": node.holes.count,
        "forked_feeds": len(node.replica.forks),
        "own_blocks": own,
        "own_blocks_unconfirmed": node.delivery.unconfirmed,
        "own_blocks_unconfirmed_seconds": _since(node.delivery.since, now),
        "peer_list": [_peer(peer, here, now) for peer in everybody[:STATUS_ROWS]],
        "peer_list_more": max(0, len(everybody) - STATUS_ROWS),
        "lagging_feeds": [
            {"feed": each.feed.hex(), "ours": ours, "wanted": each.stop, "sources": len(each.sources)}
            for each, ours in lagging
        ],
        "lagging_feeds_more": node.puller.interests - len(lagging),
        "traffic": node.traffic.data(),
        "beacon": {
            "sent_seconds": _since(node.traffic.beacon_sent_at, now),
            "heard_seconds": _since(node.traffic.beacon_heard_at, now),
            "interval_seconds": node.trickle.interval,
        },
        "probes_under_way": node.prober.under_way,
        "pulls_under_way": sum(len(desk.pulls) for desk in node.desks),
        "alarms": node.alarms.log.data(now),
    }


def _peer(peer: Peer, here: int, now: float) -> dict[str, Any]:
    """One row of `peer_list`."""
    standing, difference = _standing(peer, here)
    return {
        "feed": peer.id.key.hex(),
        "boot": peer.id.boot.hex(),
        "stranger": peer.stranger,
        "gone": peer.gone,
        "heard_seconds": _since(peer.heard_at, now),
        "beacon_seconds": _since(peer.beacon_at, now),
        "standing": standing,
        "blocks": None if peer.beacon is None else peer.beacon.total,
        "feeds": None if peer.beacon is None else peer.beacon.count,
        "difference": difference,
        "failures": peer.failures,
        "credit": peer.credit,
        "retry_seconds": round(max(0.0, peer.retry_at - now), 3),
        "frames_in": peer.frames_in,
        "bytes_in": peer.bytes_in,
        "frames_out": peer.frames_out,
        "bytes_out": peer.bytes_out,
    }


def _standing(peer: Peer, here: int) -> tuple[str, int]:
    """Where a peer stands, and how many blocks it shows more than we hold.

    Once we are level with it, its last beacon is held against what we held then: what both have taken since is no
    difference. Until then it is held against what we hold now, so that one can watch it shrink.
    """
    if peer.beacon is None:
        return "unknown", 0
    if peer.level:
        return ("behind", peer.showed) if peer.showed < 0 else ("level", 0)
    difference = peer.beacon.total - here
    return ("ahead" if difference > 0 else "differs"), difference


def _since(at: float | None, now: float) -> float | None:
    return None if at is None else round(max(0.0, now - at), 3)
