"""The doctor on brokers and certificates: each kind of trouble on a real connection, told from the others."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from boxes import World
from brokers import REQUIRE_MOSQUITTO, Broker, Mosquitto
from certificates import certificates, dated_certificate, have_openssl
from doctoring import assert_bad, look
from medledger import Identity, Ledger, make_request
from medledger_agents.enrolment import check_broker
from medledger_agents.enrolment.doctor import examine
from medledger_agents.enrolment.findings import Verdict

NOWHERE = "mqtt://127.0.0.1:1"
OPENSSL = pytest.mark.skipif(not have_openssl(), reason="needs openssl")


def test_brokers_that_cannot_be_reached(world: World, own_broker: Broker) -> None:
    """No such name, nobody listens, somebody else listens, nothing configured: the first step that fails is named."""
    box = world.box("bed-7", "bedside", gossip={"broker": ["mqtt://nowhere.invalid", NOWHERE, own_broker.url]})
    found = look(box)
    assert_bad(found["broker mqtt://nowhere.invalid:1883"], Verdict.FAULT, "has no address", "DNS")
    assert_bad(found[f"broker {NOWHERE}"], Verdict.FAULT, "cannot be reached", "refused")
    assert found[f"broker {own_broker.url}"].verdict is Verdict.OK
    own_broker.kill()
    assert look(box)[f"broker {own_broker.url}"].verdict is Verdict.FAULT
    alone = world.box("bed-8", "bedside")
    assert_bad(look(alone)["broker"], Verdict.WARNING, "No broker is known")


def test_a_broker_that_the_reply_named(world: World, broker: Broker, tmp_path: Path) -> None:
    """It stands in the replica, sealed: the doctor reads it there."""
    identity = Identity.load_or_create(tmp_path / "box.key")
    reply = world.hospital.enrol(make_request(identity, secret=bytes(16), roles=["bedside"]), broker=broker.url)
    Ledger.join(tmp_path / "ledger.db", identity, reply, bytes(16)).close()
    (tmp_path / "agent.toml").write_text("[mllp]\nport = 0\n")
    found = {each.check: each for each in examine(tmp_path / "agent.toml")}
    assert found[f"broker {broker.url}"].verdict is Verdict.OK


def test_an_account_that_is_refused(
    world: World, mosquitto: Callable[..., Mosquitto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connected, and turned away: whose fault that is."""
    if shutil.which("mosquitto_passwd") is None:
        assert os.environ.get(REQUIRE_MOSQUITTO) != "1", "Mosquitto is required, and comes with mosquitto_passwd"
        pytest.skip("needs mosquitto_passwd")
    subprocess.run(["mosquitto_passwd", "-c", "-b", tmp_path / "users", "bed-7", "right"], check=True)
    os.chmod(tmp_path / "users", 0o644)
    broker = mosquitto("allow_anonymous false", f"password_file {tmp_path / 'users'}")
    (tmp_path / "password").write_text("wrong\n")
    box = world.box(
        "bed-7", "bedside",
        gossip={"broker": broker.url, "username": "bed-7", "password_file": str(tmp_path / "password")},
    )  # fmt: skip
    found = look(box)
    assert_bad(found[f"broker {broker.url}"], Verdict.FAULT, "refuses us", "password")
    assert_bad(found["secrets"], Verdict.WARNING, "others can read", "chmod 600")
    (tmp_path / "password").write_text("right\n")
    (tmp_path / "password").chmod(0o600)
    found = look(box)
    assert found[f"broker {broker.url}"].verdict is Verdict.OK
    assert "secrets" not in found
    monkeypatch.setattr(check_broker, "LOCAL", frozenset())  # as a broker on another machine
    assert_bad(look(box)[f"broker {broker.url}"], Verdict.WARNING, "for all to read", "mqtts://")


@OPENSSL
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_certificates_of_the_broker(world: World, mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """Expired, not valid yet, ending soon, of nobody that is trusted, and no TLS at all; each on a real connection."""
    certificates(tmp_path, "good")
    year = datetime.now(UTC).year
    dated_certificate(tmp_path, "old", "20200101000000Z", "20210101000000Z")
    dated_certificate(tmp_path, "early", f"{year + 5}0101000000Z", f"{year + 6}0101000000Z")
    dated_certificate(tmp_path, "long", "20200101000000Z", f"{year + 6}0101000000Z")

    def serve(name: str) -> Mosquitto:
        files = (("certfile", f"{name}.crt"), ("keyfile", f"{name}.key"), ("cafile", "ca.crt"))
        return mosquitto("allow_anonymous true", *(f"{what} {tmp_path}/{file}" for what, file in files))

    ca = str(tmp_path / "ca.crt")
    for number, (name, verdict, said) in enumerate(
        (
            ("old", Verdict.FAULT, "has expired"),
            ("early", Verdict.FAULT, "not valid yet"),
            ("good", Verdict.OK, "takes us"),
            ("long", Verdict.OK, "takes us"),
        )
    ):
        broker = serve(name)
        box = world.box(f"bed-{number}", "bedside", gossip={"broker": broker.url, "ca_file": ca})
        finding = look(box)[f"broker {broker.url}"]
        assert finding.verdict is verdict, finding
        assert said in finding.text
        if name == "good":  # for a day
            assert_bad(look(box)[f"broker {broker.url} certificate"], Verdict.WARNING, "expires in")
            distrusting = world.box("bed-x", "bedside", gossip={"broker": broker.url})
            assert_bad(look(distrusting)[f"broker {broker.url}"], Verdict.FAULT, "not trusted", "ca_file")
    assert look(box)[f"broker {broker.url} certificate"].verdict is Verdict.OK
    plain = mosquitto()
    box = world.box("bed-y", "bedside", gossip={"broker": plain.url.replace("mqtt:", "mqtts:")})
    finding = look(box)[f"broker {plain.url.replace('mqtt:', 'mqtts:')}"]
    assert_bad(finding, Verdict.FAULT)
    gc.collect()


@OPENSSL
def test_certificates_of_the_box(world: World, tmp_path: Path) -> None:
    """Expired, not valid yet, ending soon, good, not of its key, missing: read without a broker that would look at it.

    Where only the clock can be wrong, or can be as well, the advice begins with it.
    """
    certificates(tmp_path, "soon")
    year = datetime.now(UTC).year
    dated_certificate(tmp_path, "early", f"{year + 5}0101000000Z", f"{year + 6}0101000000Z")
    dated_certificate(tmp_path, "old", "20200101000000Z", "20210101000000Z")
    dated_certificate(tmp_path, "long", "20200101000000Z", f"{year + 6}0101000000Z")
    for number, (crt, key, verdict, said) in enumerate(
        (
            ("old.crt", "old.key", Verdict.FAULT, "has expired (by this box's clock"),
            ("early.crt", "early.key", Verdict.FAULT, "not valid yet"),
            ("soon.crt", "soon.key", Verdict.WARNING, "expires in"),
            ("long.crt", "long.key", Verdict.OK, "is good for"),
            ("long.crt", "old.key", Verdict.FAULT, "cannot be used"),
            ("none.crt", "old.key", Verdict.FAULT, "cannot be used"),
        )
    ):
        files = {"certificate_file": str(tmp_path / crt), "certificate_key_file": str(tmp_path / key)}
        box = world.box(f"bed-{number}", "bedside", gossip={"broker": "mqtts://127.0.0.1:1", **files})
        finding = look(box)["certificate"]
        assert finding.verdict is verdict, finding
        assert said in finding.text
        assert ("set the clock" in finding.advice or "set it" in finding.advice) == (crt in ("old.crt", "early.crt"))
