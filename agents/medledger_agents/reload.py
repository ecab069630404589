"""A new configuration while the agent runs (SIGHUP): what is live changes, what is not is refused by name and stays.

- The file is read as a whole first: one that cannot be used changes nothing. What each key may is declared beside it,
  as `live`; nothing else decides.
- Of many SIGHUP the first is heeded at once, and all that come within `PAUSE_SECONDS` together: the file is read after
  the last of them, and a storm of them costs the agent nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import fields, replace
from typing import Any, Final, NamedTuple, TypeVar

from .notify import Notifier
from .settings import keys_of, section_of

PAUSE_SECONDS: Final = 1.0

T = TypeVar("T")


class Change(NamedTuple):
    """A key whose value is another one now. `name` is as people say it: `port in [mllp]`."""

    section: str
    key: str
    live: bool

    @property
    def name(self) -> str:
        """As people say it."""
        return f"{self.key} in [{self.section}]"


def changes(old: Any, new: Any) -> list[Change]:
    """What differs between two configurations of one kind of agent."""
    return [
        Change(declared.name, name, key.live)
        for declared in fields(old)
        for name, (key, _) in keys_of(section_of(declared)).items()
        if getattr(getattr(old, declared.name), name) != getattr(getattr(new, declared.name), name)
    ]


def merged(old: T, new: T) -> T:
    """The old configuration with the live keys of the new one."""
    found: Any = old
    for change in changes(old, new):
        if change.live:
            section = getattr(found, change.section)
            value = getattr(getattr(new, change.section), change.key)
            found = replace(found, **{change.section: replace(section, **{change.key: value})})
    return found  # type: ignore[no-any-return]  # of the type that came in


class Reloader:
    """The part that reloads when it is asked to: `reload` does it, and says itself what was wrong with a file."""

    name = "reload"
    essential = False

    def __init__(self, notifier: Notifier, reload: Callable[[], Awaitable[None]]) -> None:
        self._notifier = notifier
        self._reload = reload
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Somebody wants it; in the event loop."""
        self._asked.set()

    async def start(self) -> None:
        """Nothing is to be prepared."""

    async def run(self) -> None:
        """Reload whenever it is asked for."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            self._notifier.reloading()
            try:
                await self._reload()
            finally:
                self._notifier.ready()  # systemd waits for it, whatever became of the reload
            await asyncio.sleep(PAUSE_SECONDS)

    async def stop(self) -> None:
        """Nothing is left behind."""
