"""Entries, members and acts in a line for people. What cannot be read as its type says is shown as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from medledger.errors import MedledgerError

from .output import count_text, duration_text, json_text, printable, short
from .recordjson import to_json

if TYPE_CHECKING:
    from medledger.membership import Membership

MAX_SUMMARY: Final = 100


class Names:
    """What people call the feeds of a ledger."""

    def __init__(self, membership: Membership) -> None:
        self._labels: Mapping[bytes, str] = {
            feed: printable(member.label) for feed, member in membership.members.items() if member.label
        }

    def of(self, feed: bytes) -> str:
        """A member's label; the start of its key where it has none."""
        return self._labels.get(feed) or short(feed)

    def both(self, feed: bytes) -> str:
        """The label and the start of the key."""
        label = self._labels.get(feed)
        return f"{label} ({short(feed)})" if label else short(feed)


def summary(type_name: str, content: Any, names: Names) -> str:
    """What an entry says, in one line."""
    if not type_name:
        return ""
    describe = _SUMMARIES.get(type_name)
    text = None
    if describe is not None:
        try:
            text = describe(content, names)
        except (MedledgerError, LookupError, TypeError, ValueError, AttributeError):
            text = None  # content that is not what its type says: the entry is void, and still to be looked at
    return _clipped(printable(text if text is not None else json_text(to_json(type_name, content))))


def _clipped(text: str) -> str:
    return text if len(text) <= MAX_SUMMARY else text[: MAX_SUMMARY - 1] + "…"


def _reading(content: Any, _: Names) -> str:
    from medledger.samples import Sample

    samples = ", ".join(str(Sample.from_content(sample)) for sample in content["samples"])
    marks = [f"alarm {content['alarm']}"] if "alarm" in content else []
    if content.get("quality", "live") != "live":
        marks.append(content["quality"])
    return ": ".join(part for part in (content["device"], "; ".join([*marks, *([samples] if samples else [])])) if part)


def _dispense(content: Any, _: Names) -> str:
    from medledger.decimals import format_decimal

    parts = [f"{format_decimal(content['quantity'])} {content['unit']} of {content['product']}"]
    parts += [f"{name} {content[name]}" for name in ("lot", "serial", "expiry") if name in content]
    if "prescription" in content:
        parts.append(
            f"for {content['prescription']}" if isinstance(content["prescription"], str) else "on prescription"
        )
    parts.append(content["status"])
    return ", ".join(parts)


def _association(content: Any, _: Names) -> str:
    place = f" at {content['location']}" if "location" in content else ""
    reason = f" ({content['reason']})" if "reason" in content else ""
    return f"{content['device']} {content['action']}s{place}{reason}"


def _device_status(content: Any, _: Names) -> str:
    extra = [f"firmware {content['firmware']}"] if "firmware" in content else []
    extra += [content["detail"]] if "detail" in content else []
    return ": ".join([f"{content['device']} {content['state']}", *(["; ".join(extra)] if extra else [])])


def _device_enrol(content: Any, _: Names) -> str:
    model = f", {content['model']}" if "model" in content else ""
    return f"{content['device']} signs with key {short(content['key'])}{model}"


def _device_retire(content: Any, _: Names) -> str:
    reason = f": {content['reason']}" if "reason" in content else ""
    return f"key {short(content['key'])} ends after batch {content['last']}{reason}"


def _device_batch(content: Any, _: Names) -> str:
    return f"{content['device']} signed batch {content['counter']}: {count_text(len(content['readings']), 'reading')}"


def _cadence(content: Any, _: Names) -> str:
    about = content.get("device", "this author")
    if "interval" not in content:
        return f"{about}: no promise any more"
    return f"{about}: an entry at least every {duration_text(content['interval'])}"


def _enrol(content: Any, _: Names) -> str:
    label = content["label"] or short(content["sig"][1])
    of = f" of {content['org']}" if content["org"] else ""
    return f"enrol {label}{of} as {', '.join(content['roles']) or 'no role'}"


def _revoke(content: Any, names: Names) -> str:
    until = f"after its block {content['seq']}" if content["seq"] >= 0 else "from its first block"
    why = f": {content['reason']}" if content["reason"] else ""
    return f"revoke {names.both(content['feed'])} {until}{why}"


def _epoch(content: Any, names: Names) -> str:
    number, _, governors, threshold, _, policy, _ = content
    who = ", ".join(sorted(names.of(feed) for feed in governors))
    return f"epoch {number}: {threshold} of {len(governors)} governors ({who}), {len(policy)} roles"


def _approve(content: Any, _: Names) -> str:
    return f"approve act {short(content[0])}"


def _transport(content: Any, _: Names) -> str:
    return f"transport key {content['generation']} for {count_text(len(content['boxes']), 'member')}"


_SUMMARIES: Final = {
    "reading": _reading,
    "dispense": _dispense,
    "association": _association,
    "device.status": _device_status,
    "device.enrol": _device_enrol,
    "device.retire": _device_retire,
    "device.batch": _device_batch,
    "cadence": _cadence,
    "gov.enrol": _enrol,
    "gov.revoke": _revoke,
    "gov.epoch": _epoch,
    "gov.approve": _approve,
    "gov.transport": _transport,
}
