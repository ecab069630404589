"""docs/brokers.md, tried out: its Mosquitto with its accounts and rules, its configuration of an agent, its numbers."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from brokers import Mosquitto, find_mosquitto
from brokers_page import PAGE, PASSWORD, changed, make_certificates, page_blocks, page_file
from certificates import have_openssl
from medledger.errors import Fault, TransportError
from medledger.limits import CONNECT_SECONDS, KEEPALIVE_SECONDS, RECONNECT_MAX_SECONDS, RECONNECT_SECONDS
from medledger.sync.frames import MAX_BYTES
from medledger.transport import Alarm, Gossip, echo
from medledger_agents.bedside.config import BedsideConfig
from waiting import until
from worlds import found, join, reading

SECONDS = 20.0
RULES = "/etc/mosquitto/medledger/rules"

needs_mosquitto = pytest.mark.skipif(
    find_mosquitto() is None or not have_openssl() or shutil.which("mosquitto_passwd") is None,
    reason="needs mosquitto, mosquitto_passwd and openssl",
)


class Ward:
    """The page's Mosquitto, with an account more than the page has rules for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        make_certificates(directory)
        for name in ("bed-7", "pharmacy-1", "outsider"):
            create = ["-c"] if name == "bed-7" else []
            subprocess.run(
                ["mosquitto_passwd", *create, "-b", directory / "passwords", name, PASSWORD],
                check=True,
                capture_output=True,
            )
        self.rules(page_file(RULES, {}))
        here = f"{directory}/"
        text = page_file(
            "/etc/mosquitto/conf.d/medledger.conf", {"\nlistener 8883\n": "\n", "/etc/mosquitto/medledger/": here}
        )
        program = find_mosquitto()
        assert program is not None
        self.broker = Mosquitto(program, directory, settings=text.splitlines())

    def rules(self, text: str) -> None:
        """Write the file of rules."""
        (self.directory / "rules").write_text(text)
        (self.directory / "rules").chmod(0o700)

    def account(self, name: str = "bed-7") -> dict[str, Any]:
        """How to greet it."""
        files = {"ca": "ca.crt", "certificate": "bed-7.crt", "key": "bed-7.pem"}
        return {"username": name, "password": PASSWORD, **{key: self.directory / file for key, file in files.items()}}

    def client(self, heard: list[str], name: str) -> Client:
        """An MQTT client that has subscribed to everything."""
        subscribed = threading.Event()

        def on_message(_client: Client, _data: object, message: MQTTMessage) -> None:
            heard.append(message.topic)

        client = Client(CallbackAPIVersion.VERSION2)
        client.username_pw_set(name, PASSWORD)
        client.tls_set(*(f"{self.directory}/{file}" for file in ("ca.crt", "bed-7.crt", "bed-7.pem")))
        client.on_message = on_message
        client.on_subscribe = lambda *_: subscribed.set()
        client.connect(self.broker.host, self.broker.port)
        client.loop_start()
        client.subscribe("#", 1)
        assert subscribed.wait(SECONDS)
        return client


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    """A running one."""
    made = Ward(tmp_path)
    print("broker:", made.broker.url)
    with made.broker:
        yield made


@needs_mosquitto
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # paho leaves the socket of a failed handshake to the collector
def test_members_converge_on_the_page_s_mosquitto(tmp_path: Path, ward: Ward, stack: ExitStack) -> None:
    """With certificate, account and password, whichever MQTT they speak; lacking one of these they are refused."""
    founder = stack.enter_context(found(tmp_path))
    box = stack.enter_context(join(founder, tmp_path, "box"))
    for number in range(400):  # full data frames
        box.append(*[reading(each) for each in range(number % 40 + 1)])
    stack.enter_context(Gossip(box, ward.broker.url, **ward.account()))
    gossip = stack.enter_context(Gossip(founder, ward.broker.url, **ward.account("pharmacy-1"), protocol="5"))
    assert gossip.wait_in_sync(SECONDS)
    assert founder.digest() == box.digest()
    assert gossip.status()["protocol"] == "5"
    assert gossip.status()["alarms"] == []
    with pytest.raises(TransportError, match="refuses us") as caught:
        Gossip(founder, ward.broker.url, **{**ward.account(), "password": "wrong"}).start()
    assert caught.value.fault is Fault.CALLER
    with pytest.raises(TransportError, match="refuses us"):
        Gossip(founder, ward.broker.url, **{**ward.account(), "username": None, "password": None}).start()
    with pytest.raises(TransportError, match="cannot be reached"):
        Gossip(founder, ward.broker.url, **{**ward.account(), "certificate": None, "key": None}).start()
    with pytest.raises(TransportError, match="certificate is not trusted"):
        Gossip(founder, ward.broker.url, **{**ward.account(), "ca": None}).start()


@needs_mosquitto
def test_an_account_may_use_the_topics_of_ledgers_only(ward: Ward) -> None:
    """What it publishes elsewhere reaches nobody, and of others' it hears what is below ml/1/. One without a rule hears
    and says nothing at all."""
    heard: dict[str, list[str]] = {"bed-7": [], "pharmacy-1": [], "outsider": []}
    clients = {name: ward.client(topics, name) for name, topics in heard.items()}
    for client in clients.values():
        for topic in ("other", "ml", "ml/2/x", "ml/1/x", "$SYS/x"):
            client.publish(topic, b"1", 1).wait_for_publish(SECONDS)
    assert until(lambda: len(heard["bed-7"]) == len(heard["pharmacy-1"]) == 2)
    time.sleep(0.2)
    assert heard == {"bed-7": ["ml/1/x"] * 2, "pharmacy-1": ["ml/1/x"] * 2, "outsider": []}
    for client in clients.values():
        client.disconnect()
        client.loop_stop()


@needs_mosquitto
def test_an_account_without_a_rule_raises_an_alarm(
    tmp_path: Path, ward: Ward, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mosquitto confirms its subscriptions and delivers nothing: its own frames do not come back, and people are told.
    Once it has a rule and the rules were read again, it is in sync."""
    monkeypatch.setattr(echo, "ECHO_SECONDS", 2.0)
    founder = stack.enter_context(found(tmp_path))
    box = stack.enter_context(join(founder, tmp_path, "box"))
    alarms: list[Alarm] = []
    member = stack.enter_context(Gossip(box, ward.broker.url, **ward.account()))
    gossip = stack.enter_context(
        Gossip(founder, ward.broker.url, **ward.account("outsider"), on_alarm=alarms.append)
    )  # fmt: skip
    assert until(lambda: bool(alarms))
    assert "takes what we publish and does not deliver it" in alarms[0].text
    assert "ml/1/" in alarms[0].hint
    assert gossip.status()["alarms"][0]["hint"] == alarms[0].hint
    ward.rules(changed(page_file(RULES, {}), {"user pharmacy-1": "user outsider"}))
    ward.broker.reload()
    box.append(reading())
    assert until(lambda: founder.digest() == box.digest())
    assert len(alarms) == 1
    assert member.status()["alarms"] == []


def test_the_page_s_agent_uses_all_that_it_says(tmp_path: Path) -> None:
    """Three brokers, an account, and certificates: as the agent reads them."""
    (text,) = page_blocks("toml")
    path = tmp_path / "agent.toml"
    path.write_text(text)
    section = BedsideConfig.load(path).gossip
    assert section.broker == tuple(f"mqtts://nats-{number}.hospital.example:8883" for number in (1, 2, 3))
    assert (section.username, section.password_file) == ("bed-7", tmp_path / "broker-password")
    assert (section.ca_file, section.certificate_file) == (tmp_path / "ca.crt", tmp_path / "bed-7.crt")
    assert section.certificate_key_file == tmp_path / "bed-7.pem"


def test_the_page_s_numbers() -> None:
    """Sizes and times are the library's."""
    page = PAGE.read_text()
    sizes = sorted(MAX_BYTES.values())
    assert f"{sizes[-1]:,} bytes; all others have at most {sizes[-2]:,}" in page
    limit = re.search(r"^message_size_limit (\d+)$", page, re.MULTILINE)
    assert limit is not None
    assert int(limit[1]) > sizes[-1] + 1000
    assert f"boxes notice after {KEEPALIVE_SECONDS} to {2 * KEEPALIVE_SECONDS} s" in page
    assert f"try again after {RECONNECT_SECONDS / 5:g} to {RECONNECT_SECONDS:g} s" in page
    assert f"at most every {RECONNECT_MAX_SECONDS:g} s" in page
    assert f"after {CONNECT_SECONDS:g} s it is the next one's turn" in page
