"""Gossip with brokers that ask who we are: TLS, certificates of our own, user and password. Needs a real Mosquitto."""

from __future__ import annotations

import gc
import getpass
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from brokers import Mosquitto, find_mosquitto
from medledger.errors import Fault, TransportError
from medledger.transport import Gossip
from worlds import found, join, reading

SECONDS = 20.0

pytestmark = pytest.mark.skipif(
    find_mosquitto() is None or shutil.which("openssl") is None or shutil.which("mosquitto_passwd") is None,
    reason="needs mosquitto, mosquitto_passwd and openssl: the embedded broker has neither TLS nor accounts",
)


@contextmanager
def mosquitto(directory: Path, *settings: str) -> Iterator[Mosquitto]:
    """A Mosquitto with these settings instead of letting everybody in."""
    program = find_mosquitto()
    assert program is not None
    broker = Mosquitto(program, directory)
    lines = [f"listener {broker.port} {broker.host}", "persistence false", "log_dest stderr", *settings]
    lines.append(f"user {getpass.getuser()}")  # started as root it would change to a user that cannot read our files
    (directory / f"mosquitto-{broker.port}.conf").write_text("\n".join(lines) + "\n")
    with broker:
        yield broker


def certificates(directory: Path) -> None:
    """A certificate authority, and one certificate for the broker and one for a client, all in `directory`."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1")
    authority = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")  # without it, newer Pythons trust no authority
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test authority", *authority)
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("server", "client"):
        request = ("-new", *key[:5], "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("req", *request)
        signing = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *signing)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # paho leaves the socket of a failed handshake to the collector
def test_tls_with_and_without_a_certificate_of_ours(tmp_path: Path) -> None:
    """Two nodes converge over TLS with certificates; one without, or that does not trust the broker's, is refused."""
    certificates(tmp_path)
    settings = [f"{name} {tmp_path}/{file}" for name, file in
                (("cafile", "ca.crt"), ("certfile", "server.crt"), ("keyfile", "server.key"))]  # fmt: skip
    with (
        mosquitto(tmp_path, *settings, "require_certificate true", "allow_anonymous true") as broker,
        found(tmp_path) as founder,
        join(founder, tmp_path, "ward") as ward,
    ):
        url = broker.url.replace("mqtt://", "mqtts://")
        ours = {"ca": tmp_path / "ca.crt", "certificate": tmp_path / "client.crt", "key": tmp_path / "client.key"}
        ward.append(reading())
        with Gossip(founder, url, **ours) as gossip, Gossip(ward, url, **ours):
            assert gossip.wait_in_sync(SECONDS)
            assert founder.digest() == ward.digest()
        with pytest.raises(TransportError, match="certificate is not trusted"):
            Gossip(founder, url).start()
        with pytest.raises(TransportError):
            Gossip(founder, url, ca=tmp_path / "ca.crt").start()
        with pytest.raises(TransportError, match="certificates for TLS"):
            Gossip(founder, url, ca=tmp_path / "absent.crt")
        gc.collect()


def test_user_and_password(tmp_path: Path) -> None:
    """The right ones, in the URL or beside it, connect; wrong ones are a TransportError that says whose fault it is."""
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
        for wrong in ({}, {"username": "ward", "password": "wrong"}):
            with pytest.raises(TransportError, match="refuses us") as caught:
                Gossip(founder, broker.url, **wrong).start()
            assert caught.value.fault is Fault.CALLER
            assert "wrong" not in str(caught.value)
