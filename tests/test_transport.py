"""The parts of the transport by themselves: whose turn it is, several addresses, and the watch for our own echo."""

from __future__ import annotations

from random import Random

import pytest

from medledger.errors import Fault, TransportError
from medledger.limits import ECHO_SECONDS, MAX_BROKERS, RECONNECT_MAX_SECONDS, RECONNECT_SECONDS, STEADY_SECONDS
from medledger.transport import BrokerAddress
from medledger.transport.echo import FRAMES, Echo
from medledger.transport.turns import Turns

# --- turns -----------------------------------------------------------------------------------------------------------


def test_brokers_take_turns_in_their_order(rng: Random) -> None:
    """Each loss or failure leads to the next one, and the last to the first."""
    turns = Turns(3, rng)
    order = [turns.index]
    for lasted in (0.0, 3600.0, 0.0, 1.0, 0.0, 86400.0):
        turns.next(lasted)
        order.append(turns.index)
    assert order == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_pauses_double_with_each_round_that_fails(rng: Random, count: int) -> None:
    """They stay within a fifth of the longest and the longest, up to its bound; a steady connection begins anew."""
    turns = Turns(count, rng)
    for _ in range(3):
        turns.next(STEADY_SECONDS)  # that connection held: its loss is no failure
        assert turns.rounds == 0
        for failure in range(1, 40 * count):
            pause = turns.next(0.0)
            longest = min(RECONNECT_MAX_SECONDS, RECONNECT_SECONDS * 2 ** (failure // count))
            assert longest / 5 <= pause <= longest
    assert longest == RECONNECT_MAX_SECONDS


def test_a_connection_that_does_not_last_is_a_failure(rng: Random) -> None:
    """A broker that takes us and throws us out at once is not asked again and again without a pause."""
    turns = Turns(1, rng)
    pauses = [turns.next(STEADY_SECONDS / 2) for _ in range(12)]
    assert min(pauses[6:]) >= RECONNECT_MAX_SECONDS / 5


def test_pauses_differ(rng: Random) -> None:
    """Two boxes that lost one broker at one time do not come back at one time."""
    first, second = Turns(1, Random(rng.random())), Turns(1, Random(rng.random()))
    assert [first.next(0.0) for _ in range(5)] != [second.next(0.0) for _ in range(5)]


# --- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "urls",
    [
        "mqtt://a mqtts://u:p@b:1 mqtt://c",
        ["mqtt://a", "mqtts://u:p@b:1", "mqtt://c"],
        ("mqtt://a", "  mqtts://u:p@b:1\n mqtt://c "),
    ],
)
def test_several_addresses(urls: str | list[str]) -> None:
    """As a list, or as one text with blanks between them, in their order."""
    expected = [("a", 1883), ("b", 1), ("c", 1883)]
    assert [(each.host, each.port) for each in BrokerAddress.parse_all(urls)] == expected


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        ([], "0 brokers"),
        ("", "''"),
        (["mqtt://a", ""], "''"),
        ("mqtt://a,mqtt://b", "address of a broker"),
        (["mqtt://a", "http://b"], "http://b"),
        ([f"mqtt://b{number}" for number in range(MAX_BROKERS + 1)], f"{MAX_BROKERS + 1} brokers"),
    ],
)
def test_bad_lists_are_errors(urls: str | list[str], said: str) -> None:
    """No broker, too many, or a bad one among them: the error names it, and no password."""
    with pytest.raises(TransportError, match=said) as caught:
        BrokerAddress.parse_all(urls)
    assert caught.value.fault is Fault.CALLER
    with pytest.raises(TransportError) as caught:
        BrokerAddress.parse_all(["mqtt://a", "mqtt://user:secret@b/path"])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("password", ["se#cret", "se/cret", "se?cret", "se cret", "se[cret", "secret\uff03"])
def test_no_error_shows_a_password_that_breaks_its_address(password: str) -> None:
    """Such a password has to be %-encoded; before it is, what stands before its odd character looks like a port."""
    with pytest.raises(TransportError) as caught:
        BrokerAddress.parse_all([f"mqtt://box:{password}@broker"])
    assert "se" not in str(caught.value)
    assert "%-encode" in str(caught.value.hint)


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1"])
def test_a_port_is_a_number_from_1_to_65535(port: str) -> None:
    """Anything else is refused before anybody connects."""
    with pytest.raises(TransportError, match="its port is no number from 1 to 65535"):
        BrokerAddress.parse(f"mqtt://broker:{port}")


# --- our own echo ----------------------------------------------------------------------------------------------------


def test_any_frame_that_comes_back_will_do() -> None:
    """One of the last that we published, on a topic that we are subscribed to, unchanged."""
    echo = Echo()
    echo.subscribed(["a/+", "s"])
    for number in range(2 * FRAMES):
        echo.published("a/x", bytes([number]), 0.0)
    echo.received("a/y", bytes([2 * FRAMES - 1]))
    echo.received("a/x", b"another's")
    echo.received("a/x", bytes([0]))  # so long ago that it is forgotten
    assert echo.missing(ECHO_SECONDS)
    assert not echo.missing(ECHO_SECONDS + 1)  # said once
    echo = Echo()
    echo.subscribed(["a/+", "s"])
    echo.published("s", b"1", 0.0)
    echo.received("s", b"1")
    assert not echo.missing(1e9)


def test_an_echo_is_expected_only_of_what_we_are_subscribed_to() -> None:
    """Not of other topics, and not before the broker has confirmed them."""
    echo = Echo()
    echo.published("s", b"1", 0.0)
    assert not echo.missing(1e9)
    echo.subscribed(["s"])
    echo.published("i/somebody", b"1", 0.0)
    assert not echo.missing(1e9)
    echo.published("s", b"2", 100.0)
    assert not echo.missing(100.0 + ECHO_SECONDS / 2)
    assert echo.missing(100.0 + ECHO_SECONDS)
