"""A bundle on a web server: `manifest.cbor` and `segments/...` under one address, read over HTTP or HTTPS.

The server is trusted with nothing, and neither is the way to it:

- Nothing is read beyond the size that a file may have, whatever length the server states or leaves out; an answer that
  is shorter than its stated length is one that was cut off.
- A server may say nothing for WEB_STALL_SECONDS, and take for a file WEB_ANSWER_SECONDS, headers and all, and as long
  as what has come of it needs at WEB_MIN_BYTES_PER_SECOND. So neither silence nor a trickle holds us.
- Redirects are followed to other HTTP addresses only, never from HTTPS to HTTP, and WEB_REDIRECTS of them.
- Only what was asked for is taken: status 200, no content encoding. No cookies, no passwords.
- A broken connection and a busy server are tried WEB_ATTEMPTS times. Whoever reads holds segments against their hashes.

Proxies are those of the environment (`http_proxy`, `https_proxy`, `no_proxy`); certificates are checked against the
system's, or the file that `SSL_CERT_FILE` names.
"""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from medledger.errors import LimitError, MalformedError, TransportError, UsageError
from medledger.limits import (
    WEB_ANSWER_SECONDS,
    WEB_ATTEMPTS,
    WEB_PAUSE_SECONDS,
    WEB_REDIRECTS,
    WEB_STALL_SECONDS,
)

from .paced_http import Pace, opener

SCHEMES: Final = ("http", "https")
_CHUNK: Final = 64 * 1024
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_GONE: Final = (404, 410)
_BUSY: Final = (408, 429, 500, 502, 503, 504)
_SAFE: Final = "/%:=&?~#+!$,;'@()*[]"  # of an address, these are left as they are


class _Interrupted(Exception):
    """The connection broke, or the server is busy: another attempt may succeed."""


class HttpBundle:
    """A `bundle.Source`: the bundle whose files lie below `url`. Raises `UsageError` where that is no HTTP address."""

    def __init__(
        self,
        url: str,
        *,
        stall_seconds: float = WEB_STALL_SECONDS,
        answer_seconds: float = WEB_ANSWER_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._base = _base(url)
        self._stall = stall_seconds
        self._patience = answer_seconds
        self._sleep = sleep

    def __str__(self) -> str:
        return self._base

    def read(self, name: str, max_size: int, moved: Callable[[int], None]) -> bytes:
        """See `bundle.Source`."""
        reason = ""
        for attempt in range(WEB_ATTEMPTS):
            counted = _Counted(moved)
            try:
                return self._follow(f"{self._base}/{name}", name, max_size, counted)
            except _Interrupted as error:
                reason = str(error)
            finally:
                counted.settle()
            if attempt + 1 < WEB_ATTEMPTS:
                self._sleep(WEB_PAUSE_SECONDS * 2**attempt)
        raise TransportError(
            f"{self._base}/{name} could not be fetched: {reason}", hint="What has come is kept; try again to go on."
        )

    def _follow(self, url: str, name: str, max_size: int, counted: _Counted) -> bytes:
        """The file, from wherever the server sends us."""
        for _ in range(WEB_REDIRECTS + 1):
            pace = Pace(self._stall, self._patience)
            try:
                with opener(pace).open(_request(url), timeout=self._stall) as answer:
                    data = _body(answer, name, max_size, pace, counted)
                    counted.complete = True
                    return data
            except urllib.error.HTTPError as error:
                with error:
                    url = self._redirected(url, name, error)
            except (OSError, http.client.HTTPException, ValueError) as error:  # URLError is an OSError
                _check_certificate(url, error)
                raise _Interrupted(_reason(error)) from error
        raise TransportError(f"{self._base}/{name} is redirected over {WEB_REDIRECTS} times")

    def _redirected(self, url: str, name: str, error: urllib.error.HTTPError) -> str:
        """The address to go on at, after an answer that is not the file."""
        if error.code in _GONE:
            raise MalformedError(
                f"the bundle at {self._base} has no {name}",
                hint="Was it renewed meanwhile? Try again. A ZIP file is downloaded first, and then imported.",
            ) from error
        if error.code in _BUSY:
            raise _Interrupted(f"the server answers {error.code}") from error
        location = error.headers.get("Location")
        if error.code not in _REDIRECTS or not location:
            raise TransportError(f"{url} cannot be fetched: the server answers {error.code}") from error
        target = _joined(url, location)
        old, new = _scheme(url), _scheme(target)
        if new not in SCHEMES or (old == "https" and new != "https"):
            raise TransportError(f"{url} redirects to an address that is not followed ({new or 'none'})") from error
        return target


def _base(url: str) -> str:
    """The address without what a person may have copied along."""
    text = quote(url, safe=_SAFE).rstrip("/")
    text = text.removesuffix("/manifest.cbor")
    shown = url.rpartition("@")[2]  # a password is not for error messages
    unusable = UsageError(f"{shown!r} is no address of a web server", hint="Write http://... or https://...")
    try:
        parts = urlsplit(text)
        port = parts.port  # looked at here, since it raises where it is none
    except ValueError as error:
        raise unusable from error
    if parts.scheme not in SCHEMES or not parts.hostname or port == 0:
        raise unusable
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError(
            f"{shown!r} has a user, a query or a fragment", hint="Give the address of the directory alone."
        )
    return text


def _joined(url: str, location: str) -> str:
    """Where a redirect leads; nothing where that is no address."""
    try:
        return quote(urljoin(url, location), safe=_SAFE)
    except ValueError:
        return ""


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""


def _request(url: str) -> urllib.request.Request:
    headers = {"User-Agent": "medledger", "Accept-Encoding": "identity"}
    return urllib.request.Request(url, headers=headers)  # noqa: S310 - the scheme has been checked


def _body(answer: http.client.HTTPResponse, name: str, max_size: int, pace: Pace, counted: _Counted) -> bytes:
    """The bytes of an answer, no more than may be."""
    if answer.status != 200:
        raise TransportError(f"the server answers {answer.status} to {name}")
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise MalformedError(f"the server sends {name} encoded, which was not asked for")
    stated = answer.length
    if stated is not None and stated > max_size:
        raise LimitError(f"{name} on the server is longer than {max_size} bytes")
    parts: list[bytes] = []
    while part := answer.read(min(_CHUNK, max_size + 1 - counted.count)):
        counted.add(len(part))
        if counted.count > max_size:
            raise LimitError(f"{name} on the server is longer than {max_size} bytes")
        parts.append(part)
        pace.allow(len(part))
    if stated is not None and counted.count < stated:
        raise _Interrupted(f"the answer was cut off after {counted.count} of {stated} bytes")
    return b"".join(parts)


class _Counted:
    """Tells what comes, and takes it back where it was in vain."""

    def __init__(self, moved: Callable[[int], None]) -> None:
        self._moved = moved
        self.count = 0
        self.complete = False

    def add(self, count: int) -> None:
        self.count += count
        self._moved(count)

    def settle(self) -> None:
        if not self.complete and self.count:
            self._moved(-self.count)


def _check_certificate(url: str, error: Exception) -> None:
    """No further attempt makes a certificate better."""
    cause = _cause(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        raise TransportError(
            f"the certificate of {url} is not trusted: {cause.verify_message}",
            hint="SSL_CERT_FILE may name a file of the certificates to trust.",
        ) from error


def _cause(error: Exception) -> object:
    return error.reason if isinstance(error, urllib.error.URLError) else error


def _reason(error: Exception) -> str:
    """What went wrong, in words."""
    cause = _cause(error)
    if isinstance(cause, TimeoutError):
        return "the server is silent or too slow"
    return str(getattr(cause, "strerror", None) or cause) or type(cause).__name__
