"""The doctor's look at the broker, step by step, so that the first that fails is named: address, TCP, TLS, login.

Each broker that is configured is looked at, for any of them may be the next one's turn. The login is a connection of
its own under another client id: it throws nobody out, subscribes to nothing and publishes nothing.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from medledger.cli.gossiping import PASSWORD
from medledger.cli.output import count_text, printable, time_text
from medledger.errors import MedledgerError, SealError
from medledger.transport import BrokerAddress
from medledger.transport.access import Certificates, with_account
from medledger.transport.connection import Connection
from medledger.transport.mailbox import Mailbox

from . import home
from .certificate import own_certificate_end
from .findings import Case, Finding, fault, ok, skipped, warning

CONNECT_SECONDS: Final = 5.0
LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
SOON_DAYS: Final = 30
DAY_MS: Final = 86_400_000
EXPIRED: Final = 10  # X509_V_ERR_CERT_HAS_EXPIRED
NOT_YET: Final = 9  # X509_V_ERR_CERT_NOT_YET_VALID
SET_CLOCK: Final = "Most likely this box's clock is wrong: set it, and let it be synchronised."
RIGHT_CLOCK: Final = "Where that is not the time, set the clock. Else: "
NEW_ONE: Final = "Have a new one made for this box: docs/brokers.md shows how."
RENEW: Final = "Have whoever runs the broker renew it; until then nothing is exchanged."


def broker(case: Case) -> Iterator[Finding]:
    """Each broker, from its name to the login."""
    section = case.config.gossip
    if section.offline:
        yield skipped("broker", "The configuration says to stay away from any broker.")
        return
    urls = section.broker or _told(case)
    if urls is None:
        yield warning(
            "broker",
            "No broker is known: what this box logs stays on it alone.",
            "Name one in [gossip]. (A broker that came with the reply is known once the ledger opens with the key.)",
        )
        return
    try:
        greeting = home.account(section, os.environ.get(PASSWORD))
        certificates = Certificates(greeting["ca"], greeting["certificate"], greeting["key"])
        addresses = with_account(BrokerAddress.parse_all(urls), greeting["username"], greeting["password"])
        context = certificates.context(addresses)
    except MedledgerError as error:
        yield fault("broker", f"{_sentence(error)}", error.hint or "Check [gossip].")
        return
    for address in addresses:
        yield from _look(case, address, context, greeting["protocol"])


def own_certificate(case: Case) -> Iterator[Finding]:
    """The certificate that the box shows to a broker that asks."""
    section = case.config.gossip
    if section.certificate_file is None:
        yield skipped("certificate", "This box shows no certificate of its own.")
        return
    try:
        end = own_certificate_end(section.certificate_file, section.certificate_key_file)
    except (OSError, ssl.SSLError) as error:
        code = error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else None
        name, clock = section.certificate_file, f"by this box's clock: {time_text(case.clock())}"
        if code == EXPIRED:
            yield fault("certificate", f"{name} has expired ({clock}).", f"{RIGHT_CLOCK}{NEW_ONE}")
        elif code == NOT_YET:
            yield fault("certificate", f"{name} is not valid yet, {clock}.", SET_CLOCK)
        else:
            yield fault("certificate", f"{name} and its key cannot be used: {_why(error)}.", NEW_ONE)
        return
    yield _life("certificate", "This box's certificate", end, case, NEW_ONE)


def _told(case: Case) -> tuple[str, ...] | None:
    """The brokers that the reply named, as the replica keeps them."""
    if case.status is not None:
        shown = case.status.document["status"].get("brokers")
        if isinstance(shown, list) and shown and all(isinstance(each, str) for each in shown):
            return tuple(shown)
    identity, path = case.identity, case.config.ledger.path
    if identity is None or not path.exists():
        return None
    try:
        sealed = case.copies.look(path, _sealed_broker)
        return None if sealed is None else tuple(identity.unseal(sealed).decode().split())
    except (MedledgerError, SealError, UnicodeDecodeError):
        return None


def _sealed_broker(copy: Path) -> bytes | None:
    from medledger.ledger import Ledger

    with Ledger.open(copy) as ledger:
        sealed: bytes | None = ledger.store.get_meta("broker")
    return sealed


def _look(case: Case, address: BrokerAddress, context: ssl.SSLContext | None, protocol: str) -> Iterator[Finding]:
    check = f"broker {address}"
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        yield fault(check, f"Its name has no address: {reason}.", "Check the name in [gossip], and this box's DNS.")
        return
    try:
        with socket.create_connection((address.host, address.port), CONNECT_SECONDS) as plain:
            if address.tls and context is not None:
                with context.wrap_socket(plain, server_hostname=address.host) as secure:
                    end = int(ssl.cert_time_to_seconds(str((secure.getpeercert() or {})["notAfter"])) * 1000)
                yield _life(f"{check} certificate", "Its certificate", end, case, RENEW)
    except ssl.SSLCertVerificationError as error:
        yield _distrusted(check, error, case)
        return
    except ssl.SSLError as error:
        yield fault(
            check, f"There is no TLS with it: {_why(error)}.", "Check the port: TLS is mostly on 8883; 1883 is without."
        )
        return
    except OSError as error:
        yield fault(
            check,
            f"It cannot be reached at {found[0][4][0]}: {error.strerror or error}.",
            "Check that it runs, its port, and that no firewall is in between.",
        )
        return
    yield _login(check, address, context, protocol)


def _login(check: str, address: BrokerAddress, context: ssl.SSLContext | None, protocol: str) -> Finding:
    connection = Connection(
        [address],
        Mailbox(),
        protocol=protocol,
        client_id="medledger-dr",
        tls=context,
        on_complaint=lambda _text, _hint: None,
        on_fault=lambda _error: None,
    )
    try:
        connection.open(must_connect=True)
    except MedledgerError as error:
        return fault(check, f"{_sentence(error)}", error.hint or "Check [gossip].")
    finally:
        connection.close()
    if not address.tls and address.password is not None and address.host not in LOCAL:
        return warning(
            check,
            f"It takes us without TLS: the password of {address.username} crosses the network for all to read.",
            "Have TLS set up on the broker, and write mqtts:// here: docs/brokers.md shows how.",
        )
    return ok(check, f"It takes us{'' if address.tls else ', without TLS'}.")


def _distrusted(check: str, error: ssl.SSLCertVerificationError, case: Case) -> Finding:
    if error.verify_code == EXPIRED:
        text = f"Its certificate has expired (by this box's clock: {time_text(case.clock())})."
        return fault(check, text, f"{RIGHT_CLOCK}{RENEW}")
    if error.verify_code == NOT_YET:
        return fault(
            check,
            f"Its certificate is not valid yet, by this box's clock: {time_text(case.clock())}.",
            SET_CLOCK,
        )
    return fault(
        check,
        f"Its certificate is not trusted: {error.verify_message}.",
        "Check ca_file in [gossip], and that the certificate is for the name or address that is used.",
    )


def _life(check: str, what: str, end: int, case: Case, advice: str) -> Finding:
    days = (end - case.clock()) // DAY_MS
    if days < 0:
        return fault(check, f"{what} has expired, on {time_text(end)[:10]}.", advice)
    if days < SOON_DAYS:
        return warning(check, f"{what} expires in {count_text(days, 'day')}, on {time_text(end)[:10]}.", advice)
    return ok(check, f"{what} is good for {count_text(days, 'day')}.")


def _sentence(error: MedledgerError) -> str:
    text = printable(str(error))
    return f"{text[:1].upper()}{text[1:]}."


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    return getattr(error, "strerror", None) or str(error)
