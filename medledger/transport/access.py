"""How a broker lets us in: the account that we name there, and what TLS takes.

What is given and could have no effect is refused. It was given for a reason, and going on without it would mean to
speak in clear, or as nobody, where somebody meant otherwise.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import TypeAlias

from medledger.errors import Fault, TransportError, UsageError

from .address import BrokerAddress

FileName: TypeAlias = str | PathLike[str]


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files for TLS: those to trust instead of the system's, our own, and its private key."""

    ca: FileName | None = None
    certificate: FileName | None = None
    key: FileName | None = None

    def context(self, addresses: Sequence[BrokerAddress]) -> ssl.SSLContext | None:
        """What these brokers are greeted with; None where none of them has TLS.

        Raises `UsageError` where a file is given that one of them would not be greeted with, `TransportError` (fault:
        caller) where the files cannot be used.
        """
        if self.key is not None and self.certificate is None:
            raise UsageError("a private key for TLS goes with a certificate", hint="Name the certificate too.")
        given = "ca" if self.ca is not None else "certificate" if self.certificate is not None else None
        plain = next((each for each in addresses if not each.tls), None)
        if given is not None and plain is not None:
            raise UsageError(
                f"{given} is given, and {plain} is an address without TLS",
                hint=f"Write mqtts:// (its port is mostly 8883), or leave out {given}.",
            )
        return self._load() if any(each.tls for each in addresses) else None

    def _load(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise TransportError(
                f"the certificates for TLS cannot be used: {error}",
                fault=Fault.CALLER,
                hint="Check the files named as ca, certificate and key.",
            ) from error
        return context


def with_account(
    addresses: Sequence[BrokerAddress], username: str | None, password: str | None
) -> tuple[BrokerAddress, ...]:
    """The addresses with this account. A password alone is that of the users whom the addresses name.

    Raises `UsageError` where there is a password and no user.
    """
    if username is not None:
        return tuple([replace(each, username=username, password=password) for each in addresses])
    if password is None:
        return tuple(addresses)
    if all(each.username is None for each in addresses):
        raise UsageError(
            f"a password is given for {addresses[0]}, and no user that it belongs to",
            hint="Name the user: as username, or in the address (mqtts://user@broker.example). Or leave out the "
            "password: `medledger` takes it from MEDLEDGER_BROKER_PASSWORD.",
        )
    return tuple([each if each.username is None else replace(each, password=password) for each in addresses])
