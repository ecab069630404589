"""Record Access Control Point (0x2A52): asking a device for its stored records, and naming those that are missing.

Rules (Glucose Service 1.0, section 3.5):

- A request is opcode, operator, operand; "report stored records" with "greater than or equal" filters by the sequence
  number (filter type 1). The device notifies the records and then indicates a response: success, no records found, or
  why it refuses.
- Sequence numbers count up by one for each record. One that is missing was deleted on the device or got lost; which of
  them cannot be told here, so it is named and nothing else.
- `RecordLog` asks from the lowest number that it has neither seen nor named, so that what is still on the device after
  a lost connection comes again. A record that comes again with the same bytes is the same record.
"""

from __future__ import annotations

from typing import Final

from ..errors import BleRefusedError, BleReservedError, BleValueError
from .fields import Fields

REPORT: Final = 0x01
NUMBER_RESPONSE: Final = 0x05
RESPONSE: Final = 0x06
ALL: Final = 0x01
AT_LEAST: Final = 0x03
SEQUENCE_NUMBER: Final = 0x01
SUCCESS: Final = 1
NO_RECORDS: Final = 6
REFUSALS: Final = {
    2: "it does not know the opcode",
    3: "the operator is invalid",
    4: "it does not support the operator",
    5: "the operand is invalid",
    7: "it could not abort",
    8: "it could not complete the procedure",
    9: "it does not support the operand",
}
MAX_SEQUENCE: Final = 0xFFFF


def report(first: int | None) -> bytes:
    """The request for all stored records, or for those with a sequence number of at least `first`."""
    if first is None or first > MAX_SEQUENCE:
        return bytes((REPORT, ALL))
    return bytes((REPORT, AT_LEAST, SEQUENCE_NUMBER)) + first.to_bytes(2, "little")


def check_response(data: bytes) -> None:
    """Nothing when the device has reported all that was asked for, even if there was none.

    Raises BleRefusedError when it did not, and other BleErrors for what is no response to that request.
    """
    fields = Fields(data, "Record Access Control Point")
    opcode, operator = fields.unsigned(1, "opcode"), fields.unsigned(1, "operator")
    if operator:
        raise BleReservedError(f"Record Access Control Point: a response has no operator, and this one has {operator}")
    if opcode != RESPONSE:
        raise BleValueError(f"Record Access Control Point: opcode {opcode} answers nothing that was asked")
    request, code = fields.unsigned(1, "request opcode"), fields.unsigned(1, "response code")
    fields.end()
    if request != REPORT:
        raise BleValueError(f"Record Access Control Point: a response to opcode {request}, which was not sent")
    if code not in (SUCCESS, NO_RECORDS):
        reason = REFUSALS.get(code, f"response code {code} is reserved")
        raise BleRefusedError(
            f"the device did not report its stored records: {reason}",
            hint="They are still on the device, and are asked for again with the next connection.",
        )


class RecordLog:
    """Which records of a device have come. `after` is the last number that is known and durable, None for none."""

    __slots__ = ("_next", "_seen")

    def __init__(self, after: int | None = None) -> None:
        self._next = None if after is None else after + 1
        self._seen: dict[int, bytes] = {}

    def request(self) -> bytes:
        """What to write to the control point to get what has not come."""
        self._advance()
        return report(self._next)

    def take(self, sequence: int, digest: bytes) -> bool:
        """Notes a record; False when it has come before with the same bytes."""
        if self._seen.get(sequence) == digest:
            return False
        self._seen[sequence] = digest
        return True

    def missing(self) -> list[tuple[int, int]]:
        """Ranges (first, last) that did not come, now that the device has reported all. They are named once."""
        if not self._seen:
            return []
        expected = min(self._seen) if self._next is None else self._next
        gaps = []
        for sequence in sorted(number for number in self._seen if number >= expected):
            if sequence > expected:
                gaps.append((expected, sequence - 1))
            expected = sequence + 1
        self._next = expected
        return gaps

    def _advance(self) -> None:
        """Past the records without a gap before them."""
        if self._next is None:
            return
        while self._next in self._seen:
            self._next += 1
