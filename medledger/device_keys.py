"""What a ledger says of one device's key, asked of the index: whether it is enrolled, and where it ends.

An agent asks for each batch that a device sends, so nothing is decoded for it. The rules are those of devices.py and of
findings/batches.py, which judge all keys at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .devices import DeviceEnrol, DeviceRetire
from .limits import MAX_COUNTER

if TYPE_CHECKING:
    from .replica import Replica


_LAST: Final = "SELECT min(last) FROM device_keys WHERE type = ? AND key = ?"
_ENROLMENTS: Final = "SELECT count(*) FROM device_keys WHERE type = ? AND key = ?"


def last_counter(replica: Replica, key: bytes) -> int:
    """The last counter of this key (32 bytes) that counts; the highest there is while nobody retired it."""
    last = _ask(replica, _LAST, DeviceRetire.TYPE, key)
    return MAX_COUNTER if last is None else last


def is_enrolled(replica: Replica, key: bytes) -> bool:
    """Whether anybody whose word counts enrolled this key (32 bytes) for a device."""
    return bool(_ask(replica, _ENROLMENTS, DeviceEnrol.TYPE, key))


def _ask(replica: Replica, sql: str, type_name: str, key: bytes) -> int | None:
    replica.index()
    ((found,),) = replica.store.query(sql, (type_name, key.hex()))
    return None if found is None else int(found)
