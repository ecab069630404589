"""Battery Service 1.0: Battery Level (0x2A19), which most health devices have beside their own service.

A level is 0 to 100 percent; anything else has no meaning. It is kept as a reading of the device about itself, without
a LOINC code.
"""

from __future__ import annotations

from typing import Final

from medledger.records import Reading

from ..errors import BleValueError
from .fields import Fields
from .measuring import Source, figure, reading

FULL: Final = 100


def level(data: bytes, source: Source) -> Reading:
    """The value of Battery Level, 0x2A19. Raises BleError."""
    fields = Fields(data, "Battery Level")
    percent = fields.unsigned(1, "level")
    fields.end()
    if percent > FULL:
        raise BleValueError(f"Battery Level: {percent} % is no level")
    return reading(data, source, [figure((percent, 0), "%", "GATT:2A19")])
