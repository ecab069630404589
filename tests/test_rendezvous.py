"""Replies left on a broker: found by whoever has the secret, removed when they are fetched, believed by nobody."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from paho.mqtt.publish import single
from paho.mqtt.subscribe import simple

from brokers import Broker, Mosquitto
from medledger.errors import TransportError
from medledger.sync.topics import rendezvous
from medledger.transport.rendezvous import MAX_TEXT_BYTES, Rendezvous

FEED = bytes(range(32))


@pytest.fixture
def secret() -> bytes:
    """A new meeting place, since the session's broker is everybody's."""
    return os.urandom(16)


def collect(place: Rendezvous, count: int = 1) -> list[str]:
    """The next texts."""
    found: list[str] = []
    for _ in range(100):
        found += place.texts(0.1)
        if len(found) >= count:
            break
    return found


def test_what_was_left_is_found_by_whoever_comes_later(broker: Broker, secret: bytes) -> None:
    """The governor leaves and goes; the applicant comes, and finds it; again and again until it is removed."""
    with Rendezvous(broker.url, FEED, secret).open(must_connect=True) as governor:
        governor.leave("mlrep1:text", 10)
    for _ in range(2):
        with Rendezvous(broker.url, FEED, secret).open(must_connect=False) as box:
            assert collect(box) == ["mlrep1:text"]
    with Rendezvous(broker.url, FEED, secret).open(must_connect=True) as box:
        box.clear(10)
    with Rendezvous(broker.url, FEED, secret).open(must_connect=True) as box:
        assert [text for _ in range(5) for text in box.texts(0.1)] == []


def test_whoever_waits_hears_at_once(broker: Broker, secret: bytes) -> None:
    """Both are there; a text that is said again is heard again."""
    with (
        Rendezvous(broker.url, FEED, secret).open(must_connect=True) as box,
        Rendezvous(broker.url, FEED, secret).open(must_connect=True) as governor,
    ):
        assert box.texts(0.3) == []
        governor.leave("mlrep1:one", 10)
        assert collect(box) == ["mlrep1:one"]
        governor.leave("mlrep1:two", 10)
        assert collect(box)[-1] == "mlrep1:two"


def test_another_secret_is_another_place(broker: Broker, secret: bytes) -> None:
    """Neither the key alone nor another secret leads there; the topic holds nothing of either."""
    topics = {rendezvous(FEED, secret), rendezvous(FEED, os.urandom(16)), rendezvous(bytes(32), secret)}
    assert len(topics) == 3
    for topic in topics:
        assert FEED.hex()[:8] not in topic
        assert secret.hex()[:8] not in topic
    with Rendezvous(broker.url, FEED, secret).open(must_connect=True) as governor:
        governor.leave("mlrep1:text", 10)
        with Rendezvous(broker.url, FEED, bytes(16)).open(must_connect=True) as other:
            assert [text for _ in range(5) for text in other.texts(0.1)] == []
        governor.clear(10)


def test_what_is_too_long_for_a_reply_is_not_taken(broker: Broker, secret: bytes) -> None:
    """A forger's megabytes are dropped, and what is no text at all is handed out as one that opens nothing."""
    with Rendezvous(broker.url, FEED, secret).open(must_connect=True) as box:

        def publish(payload: bytes) -> None:
            single(box.topic, payload, qos=1, hostname=broker.host, port=broker.port)

        while not box.texts(0.3):  # the broker does not hand on to it yet
            publish(b"here")
        for payload in (b"x" * (MAX_TEXT_BYTES + 1), b"\xff\x00", b"y" * MAX_TEXT_BYTES, b"end"):
            publish(payload)
        found: list[str] = []
        while "end" not in found:
            found += box.texts(0.3)
    assert [len(text) for text in found if text != "here"] == [2, MAX_TEXT_BYTES, 3]


def test_left_means_that_the_broker_has_shown_it(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, secret: bytes
) -> None:
    """Access rules that drop what is published, and acknowledge it: that is an error, which says what to change."""
    (tmp_path / "rules").write_text("topic read #\n")
    broker = mosquitto("allow_anonymous true", f"acl_file {tmp_path / 'rules'}")
    with Rendezvous(broker.url, FEED, secret).open(must_connect=True) as governor:
        with pytest.raises(TransportError, match="has not shown it to be there") as caught:
            governor.leave("mlrep1:text", 2)
        assert "ml/1/" in str(caught.value.hint)


def test_a_broker_that_restarts_meanwhile(own_broker: Broker, secret: bytes) -> None:
    """Who waits is there again when the broker is; what is left afterwards arrives."""
    with Rendezvous(own_broker.url, FEED, secret).open(must_connect=True) as box:
        assert box.texts(0.3) == []
        own_broker.restart()
        with Rendezvous(own_broker.url, FEED, secret).open(must_connect=True, seconds=60) as governor:
            governor.leave("mlrep1:text", 10)
        assert collect(box) == ["mlrep1:text"]


def test_it_is_retained_and_removed_on_the_wire(broker: Broker, secret: bytes) -> None:
    """As any MQTT client sees it: one retained message at the topic, gone afterwards."""
    with Rendezvous(broker.url, FEED, secret).open(must_connect=True) as governor:
        governor.leave("mlrep1:text", 10)
        seen = simple(rendezvous(FEED, secret), hostname=broker.host, port=broker.port)
        assert (seen.payload, seen.retain) == (b"mlrep1:text", True)
        governor.clear(10)
        governor.leave("mlrep1:next", 10)
        seen = simple(rendezvous(FEED, secret), hostname=broker.host, port=broker.port)
        assert seen.payload == b"mlrep1:next"
        governor.clear(10)


def test_nobody_to_leave_it_with(secret: bytes) -> None:
    """Without a broker it is an error, at once where one must be there."""
    with pytest.raises(TransportError, match="cannot be reached"):
        Rendezvous("mqtt://127.0.0.1:1", FEED, secret).open(must_connect=True)
    with (
        Rendezvous("mqtt://127.0.0.1:1", FEED, secret).open(must_connect=False) as governor,
        pytest.raises(TransportError, match="cannot be reached"),
    ):
        governor.leave("mlrep1:text", 0.5)
