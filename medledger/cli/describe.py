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
    parts += _supply_marks(content)
    parts.append(content["status"])
    return ", ".join(parts)


def _amount(content: Any) -> str:
    from medledger.decimals import format_decimal

    return f"{format_decimal(content['quantity'])} {content['unit']}"


def _supply_marks(content: Any) -> list[str]:
    marks = [f"refill {content['refill']}"] if "refill" in content else []
    marks += [f"schedule {content['schedule']}"] if "schedule" in content else []
    marks += [f"override: {content['override']}"] if "override" in content else []
    marks += [f"witness {short(content['witness'][0])}"] if "witness" in content else []
    return marks


def _prescription(content: Any, _: Names) -> str:
    what = " ".join(content[name] for name in ("product", "atc") if name in content)
    parts = [f"{short(content['prescription'])}: {_amount(content)} of {what}"]
    parts += [f"{count_text(content['repeats'], 'repeat')}"] if "repeats" in content else []
    parts += _supply_marks(content)
    parts += [f"until {content['expires']}"] if "expires" in content else []
    return ", ".join(parts)


def _dispense_return(content: Any, _: Names) -> str:
    from medledger.decimals import format_decimal

    reason = f": {content['reason']}" if "reason" in content else ""
    return f"{content['action']} of {format_decimal(content['quantity'])} of supply {short(content['issue'])}{reason}"


def _stock(content: Any, _: Names) -> str:
    parts = [f"{content['step']} {_amount(content)} of {content['product']}"]
    parts += [f"{name} {content[name]}" for name in ("lot", "serial", "expiry") if name in content]
    parts += ["out of quarantine"] if "source" in content else []
    parts += [content[name] for name in ("disposition", "reason") if name in content]
    return ", ".join(parts + _supply_marks(content))


def _recall(content: Any, _: Names) -> str:
    named = [f"{name} {', '.join(content[name])}" for name in ("lots", "serials") if name in content]
    parts = [f"recall of {content['product']}: {'; '.join(named) or 'all of it'}"]
    parts += [f"class {content['level']}"] if "level" in content else []
    return ", ".join(parts + [content[name] for name in ("reference", "reason") if name in content])


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
    first = f", from batch {content['first']} on" if "first" in content else ""
    return f"{content['device']} signs with key {short(content['key'])}{model}{first}"


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
    "dispense.return": _dispense_return,
    "prescription": _prescription,
    "stock": _stock,
    "recall": _recall,
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
