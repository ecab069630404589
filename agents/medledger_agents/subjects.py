"""Pseudonyms: how a patient is named on the ledger without being named.

Rules:

- A subject is BLAKE2b under this organisation's secret over (period, issuer of the number, number), 16 bytes: without
  the secret nobody can tell whom it means, or try all numbers. The number itself goes nowhere.
- It changes with the period, so that what leaks about one month says nothing about another.
- A prescription's number is hashed under the same secret, without a period: partial supplies of it belong together.
- An HL7 message, and a request at the counter, is named by SHA-256 over 16 bytes of salt and its bytes; the salt comes
  out of the secret and them. All that it says but its numbers is on the ledger or can be guessed, so a bare hash of it
  would give them to whoever tries a few million. The box keeps the salt beside the bytes, and can show both to an
  auditor, which shows that one and no other.
- The secret is a file of 32 bytes that its owner alone can read. One that others can read is refused, with how to mend
  it; one that is damaged is an error, never replaced: patients would silently get new pseudonyms.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Final, NamedTuple

from medledger import cbor, files
from medledger.errors import ConfigurationError, LimitError

SECRET_BYTES: Final = 32
PSEUDONYM_BYTES: Final = 16
SALT_BYTES: Final = 16
_SUBJECT: Final = b"medledger/subj/1"
_PRESCRIPTION: Final = b"medledger/pres/1"
_REQUEST: Final = b"medledger/reqs/1"
DAY_MS: Final = 86_400_000
_PERIODS: Final = {"day": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y"}


@lru_cache(maxsize=8)
def _period(day: int, form: str) -> str:
    """The period that a day (counted from 1970, UTC) is in."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).strftime(form)


class Name(NamedTuple):
    """What stands for bytes that a person is in, for those who are not shown them: SHA-256 over `salt` and them."""

    salt: bytes
    hash: bytes


class Subjects:
    """Makes pseudonyms under one secret."""

    def __init__(self, secret: bytes, period: str) -> None:
        self._secret = secret
        self._format = _PERIODS[period]

    @classmethod
    def open(cls, path: Path, period: str) -> Subjects:
        """With the secret in the file, which is made where there is none. Raises `ConfigurationError`."""
        try:
            if not path.exists():
                files.create(path, os.urandom(SECRET_BYTES))
            found = files.read(path, SECRET_BYTES)
        except (OSError, LimitError) as error:
            raise ConfigurationError(
                f"the secret file {path} cannot be used: {error}", hint="Check secret_file in [subjects]."
            ) from error
        if found.mode & 0o077:
            raise ConfigurationError(
                f"the secret file {path} can be read by others", hint=f"Run: chmod 600 {path}; then think who read it."
            )
        if len(found.data) != SECRET_BYTES or not any(found.data):  # zeros are what a power cut may leave
            raise ConfigurationError(
                f"the secret file {path} does not hold {SECRET_BYTES} bytes of a secret: it is damaged",
                hint="Copy it again from another box of your organisation, or from its backup. Where there is neither, "
                "remove it: patients get other pseudonyms from then on.",
            )
        return cls(found.data, period)

    def subject(self, number: str, issuer: str, at: int) -> bytes:
        """The pseudonym of the patient whom `issuer` gave `number`, at that time (UTC milliseconds)."""
        return self._hash([_period(at // DAY_MS, self._format), issuer, number], _SUBJECT)

    def prescription(self, number: str) -> bytes:
        """What stands for a prescription's number."""
        return self._hash([number], _PRESCRIPTION)

    def name(self, raw: bytes) -> Name:
        """What a message or a request is named by on the ledger."""
        salt = blake2b(raw, key=self._secret, person=_REQUEST, digest_size=SALT_BYTES).digest()
        return Name(salt, sha256(salt + raw).digest())

    def request(self, line: bytes) -> bytes:
        """What a request is named by on the ledger: 32 bytes."""
        return self.name(line).hash

    def _hash(self, parts: list[str], person: bytes) -> bytes:
        return blake2b(cbor.encode(parts), key=self._secret, person=person, digest_size=PSEUDONYM_BYTES).digest()
