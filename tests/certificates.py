"""Certificates for tests: an authority, and what it has signed, made with openssl as docs/brokers.md says to."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def have_openssl() -> bool:
    """Whether certificates can be made here. An error where a real broker is required, as in continuous integration."""
    found = shutil.which("openssl") is not None
    if not found and os.environ.get("MEDLEDGER_REQUIRE_MOSQUITTO") == "1":
        raise RuntimeError("MEDLEDGER_REQUIRE_MOSQUITTO=1, but no openssl is on PATH")
    return found


def certificates(directory: Path, *names: str) -> None:
    """An authority (ca.crt), and for each name a certificate for 127.0.0.1 and its key, all in `directory`."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    authority = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")  # without it, newer Pythons trust no authority
    openssl("req", "-x509", *key, "-days", "1", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test", *authority)
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in names:
        openssl("req", "-new", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signing = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *signing)


def dated_certificate(directory: Path, name: str, start: str, end: str) -> None:
    """A certificate for 127.0.0.1 by the authority in `directory`, valid between two times (20200101000000Z)."""
    (directory / "dated.cnf").write_text(
        "[ca]\ndefault_ca = d\n[d]\ndatabase = index.txt\nserial = serial\nnew_certs_dir = .\ndefault_md = sha256\n"
        "policy = p\n[p]\ncommonName = supplied\n"
    )
    (directory / "index.txt").touch()
    if not (directory / "serial").exists():
        (directory / "serial").write_text("1000\n")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key")
    made = ("-cert", "ca.crt", "-keyfile", "ca.key", "-in", f"{name}.csr", "-out", f"{name}.crt", "-extfile", "names")
    for arguments in (
        ("req", "-new", *key, "-out", f"{name}.csr", "-subj", f"/CN={name}"),
        ("ca", "-config", "dated.cnf", "-batch", "-notext", *made, "-startdate", start, "-enddate", end),
    ):
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)
