"""Waiting for the reply to a request: from the broker, from what somebody pastes, from a file, whichever comes first.

What comes over the broker may be anybody's; what does not open is passed over and said once. What a person hands over
was meant, so each one that does not open is answered.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from medledger.cli.output import LiveLine, duration_text, printable, remark, warn
from medledger.errors import JoinError, MedledgerError, TransportError
from medledger.joining import REPLY_PREFIX, open_reply

from .typed import MAX_CHARS, Typed

if TYPE_CHECKING:
    from medledger.keys import Identity
    from medledger.transport.rendezvous import Rendezvous

STEP_SECONDS: Final = 0.1
CLEAR_SECONDS: Final = 5.0


def meet(urls: tuple[str, ...], identity: Identity, secret: bytes, greeting: dict[str, Any]) -> Rendezvous:
    """The place on the broker where the reply is left, not gone to yet."""
    from medledger.transport.rendezvous import Rendezvous

    def complain(text: str, hint: str) -> None:
        warn(f"{printable(text)}.", printable(hint))

    return Rendezvous(urls, identity.public_key, secret, **greeting, on_complaint=complain)


def handed_over(text: str) -> str:
    """A reply that was given as such, or in a file. Raises `JoinError`."""
    if text.startswith(REPLY_PREFIX):
        return text
    try:
        with Path(text).expanduser().open(encoding="utf-8") as file:
            return file.read(MAX_CHARS).strip()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise JoinError(
            f"{printable(text[:80])!r} is neither a reply nor a file that can be read: {reason}",
            hint=f"A reply starts with {REPLY_PREFIX}.",
        ) from error


class Awaiting:
    """One wait. `passed_over` counts texts on the broker that were no reply to this request."""

    def __init__(self, identity: Identity, secret: bytes, place: Rendezvous | None, deadline: float | None) -> None:
        self._identity = identity
        self._secret = secret
        self._place = place
        self._deadline = deadline
        self._line = LiveLine()
        self.passed_over = 0

    def wait(self) -> str:
        """The reply, which opens. Raises `TransportError` where the time is over."""
        with ExitStack() as stack:
            typed = stack.enter_context(Typed())
            if self._place is not None:
                stack.enter_context(self._place.open(must_connect=False))
            stack.callback(self._line.clear)
            started = time.monotonic()
            while True:
                for text in [] if self._place is None else self._place.texts(STEP_SECONDS):
                    if self._opens(text):
                        return text
                    self._pass_over()
                if (given := typed.take(STEP_SECONDS)) is not None and (reply := self._try(given)) is not None:
                    return reply
                now = time.monotonic()
                if self._deadline is not None and now > self._deadline:
                    raise TransportError(
                        f"no reply has come within {duration_text(int((now - started) * 1000))}",
                        hint="Have the request approved, and run the same command again: it goes on with this request.",
                    )
                self._line.show(self._status(typed, now - started))

    def _opens(self, text: str) -> bool:
        try:
            open_reply(text, self._identity, self._secret)
        except MedledgerError:
            return False
        return True

    def _pass_over(self) -> None:
        self.passed_over += 1
        if self.passed_over == 1:
            self._line.clear()
            warn(
                "something lay on the broker that is no reply to this request. It was passed over.",
                "Where it stays in the way, bring the reply as text: paste it here.",
            )

    def _try(self, given: str) -> str | None:
        self._line.clear()
        try:
            reply = handed_over(given)
            open_reply(reply, self._identity, self._secret)
        except MedledgerError as error:
            warn(f"{error}.", error.hint or "")
            return None
        remark("That is the reply.")
        return reply

    def _status(self, typed: Typed, seconds: float) -> str:
        if typed.pending:
            return f"{printable(typed.start)}... {typed.pending} characters; Return ends it"
        since = duration_text(int(seconds * 1000))
        if self._place is None:
            return f"Waiting for the reply, {since}: paste it here, or type the name of its file"
        state = "listening at" if self._place.connected else "trying"
        return f"Waiting for the reply, {since}: {state} {self._place.broker}; or paste it here"
