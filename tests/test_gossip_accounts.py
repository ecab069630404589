"""Gossip with brokers that ask who we are: TLS, certificates of our own, user and password. Needs a real Mosquitto."""

from __future__ import annotations

import gc
import shutil
import subprocess
from pathlib import Path

import pytest

from brokers import Mosquitto, find_mosquitto
from certificates import certificates, have_openssl
from medledger.errors import Fault, TransportError, UsageError
from medledger.transport import Gossip
from worlds import found, join, reading

SECONDS = 20.0

pytestmark = pytest.mark.skipif(
    find_mosquitto() is None or not have_openssl() or shutil.which("mosquitto_passwd") is None,
    reason="needs mosquitto, mosquitto_passwd and openssl: the embedded broker has neither TLS nor accounts",
)


def mosquitto(directory: Path, *settings: str) -> Mosquitto:
    """A Mosquitto with these settings instead of letting everybody in."""
    program = find_mosquitto()
    assert program is not None
    return Mosquitto(program, directory, settings=("persistence false", *settings))


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # paho leaves the socket of a failed handshake to the collector
def test_tls_with_and_without_a_certificate_of_ours(tmp_path: Path) -> None:
    """Two nodes converge over TLS with certificates; one without, or that does not trust the broker's, is refused."""
    certificates(tmp_path, "server", "client")
    settings = [f"{name} {tmp_path}/{file}" for name, file in
                (("cafile", "ca.crt"), ("certfile", "server.crt"), ("keyfile", "server.key"))]  # fmt: skip
    with (
        mosquitto(tmp_path, *settings, "require_certificate true", "allow_anonymous true") as broker,
        found(tmp_path) as founder,
        join(founder, tmp_path, "ward") as ward,
    ):
        url = broker.url
        ours = {"ca": tmp_path / "ca.crt", "certificate": tmp_path / "client.crt", "key": tmp_path / "client.key"}
        ward.append(reading())
        with Gossip(founder, url, **ours) as gossip, Gossip(ward, url, **ours):
            assert gossip.wait_in_sync(SECONDS)
            assert founder.digest() == ward.digest()
        with pytest.raises(TransportError, match="certificate is not trusted") as distrusted:
            Gossip(founder, url).start()
        assert "--ca" in (distrusted.value.hint or "")
        with pytest.raises(TransportError) as nameless:
            Gossip(founder, url, ca=tmp_path / "ca.crt").start()
        assert "--certificate" in (nameless.value.hint or "")
        with pytest.raises(UsageError, match="goes with a certificate"):
            Gossip(founder, url, key=tmp_path / "client.key")
        with pytest.raises(TransportError, match="certificates for TLS"):
            Gossip(founder, url, ca=tmp_path / "absent.crt")
        gc.collect()


def test_user_and_password(tmp_path: Path) -> None:
    """The right ones, in the URL, beside it or one of them each, connect; wrong ones are a TransportError that says
    whose fault it is."""
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o700)
    subprocess.run(["mosquitto_passwd", "-b", passwords, "ward", "s3cret/@"], check=True, capture_output=True)
    with (
        mosquitto(tmp_path, f"password_file {passwords}", "allow_anonymous false") as broker,
        found(tmp_path) as founder,
    ):
        with Gossip(founder, broker.url, username="ward", password="s3cret/@") as gossip:
            assert gossip.status()["connected"]
        with Gossip(founder, broker.url.replace("//", "//ward:s3cret%2F%40@")) as gossip:
            assert gossip.status()["connected"]
        with Gossip(founder, broker.url.replace("//", "//ward@"), password="s3cret/@") as gossip:
            assert gossip.status()["connected"]
        for wrong in ({}, {"username": "ward", "password": "wrong"}):
            with pytest.raises(TransportError, match="refuses us") as caught:
                Gossip(founder, broker.url, **wrong).start()
            assert caught.value.fault is Fault.CALLER
            assert "wrong" not in str(caught.value)
