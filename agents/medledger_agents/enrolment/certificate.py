"""When a certificate of our own ends.

Python reads the dates of a certificate only where a peer shows it in a handshake. So the certificate is shown to
ourselves, in memory: one end has it and its key, the other trusts nothing but it. That they belong together comes out
of it, too. The other end takes it as a client's, which is what a broker will do.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

STEPS: Final = 8  # a handshake takes three


def own_certificate_end(certificate: Path, key: Path | None) -> int:
    """UTC milliseconds of the last moment it is valid. Raises `OSError` or `ssl.SSLError`, and for one that has expired
    or is not valid yet `ssl.SSLCertVerificationError`.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key, password=_none)
    server.load_verify_locations(certificate)
    server.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.load_cert_chain(certificate, key, password=_none)
    one, two = ssl.MemoryBIO(), ssl.MemoryBIO()
    asked = server.wrap_bio(one, two, server_side=True)
    shown = client.wrap_bio(two, one)
    for _ in range(STEPS):
        done = [_step(shown), _step(asked)]
        if all(done):
            break
    return int(ssl.cert_time_to_seconds(str((asked.getpeercert() or {})["notAfter"])) * 1000)


def _step(end: ssl.SSLObject) -> bool:
    """Go on with a handshake as far as it goes; whether it is over."""
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _none() -> str:
    """A key with a passphrase cannot be used by an agent, and nobody is to be asked for one."""
    return ""
