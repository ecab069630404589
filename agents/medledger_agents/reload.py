"""A new configuration while the agent runs (SIGHUP): what is live changes, what is not is refused by name and stays.

The file is read as a whole first: one that cannot be used changes nothing. What each key may is declared beside it, as
`live`; nothing else decides.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, NamedTuple, TypeVar

from .settings import keys_of, section_of

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
