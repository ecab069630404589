"""TLS for MLLP: the certificate of this box, and whom it lets in.

- TLS 1.2 or newer. With a client authority, a sender without a certificate of it is refused during the handshake.
- A new certificate is taken up on reload, for connections that come after; one that cannot be used changes nothing.
- A sender in plain text on this port, and one in TLS on a port without it, is named as just that in the log.
"""

from __future__ import annotations

import ssl
from typing import Final

from medledger.errors import ConfigurationError

from .config import MllpSection

HANDSHAKE_SECONDS: Final = 10.0
HELLO: Final = b"\x16\x03"
"""How TLS begins: a handshake record of version 3."""

_PLAIN: Final = frozenset(("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "UNKNOWN_PROTOCOL"))


def server_context(section: MllpSection) -> ssl.SSLContext | None:
    """What the section says, None where it says nothing of TLS. Raises `ConfigurationError`."""
    if section.tls_certificate_file is None:
        if section.tls_key_file or section.tls_client_ca_file:
            raise ConfigurationError(
                "TLS needs a certificate", hint="Set tls_certificate_file in [mllp], or leave the other keys out."
            )
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(section.tls_certificate_file, section.tls_key_file, password=_no_passphrase)
        if section.tls_client_ca_file is not None:
            context.load_verify_locations(section.tls_client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigurationError(
            f"the TLS files of [mllp] cannot be used: {error}",
            hint="The certificate and its key are PEM files that belong together; the key has no passphrase.",
        ) from error
    return context


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")


def explain(error: BaseException) -> str:
    """A failed handshake in plain words."""
    reason = getattr(error, "reason", None) or ""
    if reason in _PLAIN:
        return "the sender speaks plain text, and this port takes TLS only: switch TLS on at the sender"
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "the sender has no certificate, and this port takes senders with one only"
    if reason in ("CERTIFICATE_VERIFY_FAILED", "TLSV1_ALERT_UNKNOWN_CA", "SSLV3_ALERT_BAD_CERTIFICATE"):
        return f"a certificate is not trusted ({reason}): compare the authorities on both sides"
    if reason in ("UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE"):
        return "the sender's TLS is older than 1.2"
    if isinstance(error, TimeoutError):
        return f"the sender did not finish the handshake within {HANDSHAKE_SECONDS:g} s"
    return f"the handshake failed: {reason or type(error).__name__}"
