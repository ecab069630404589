"""Supplied although expired or recalled, with or without a reason; and what alerts at counters said.

- *expired supplied*: the pack's last day was over where it was supplied, by the supplier's clock. Where on Earth that
  was is not known, so one day is granted.
- *recalled supplied*: a recall names the pack. Where the supply claims an earlier time than the recall, the pharmacy
  could not know: the finding says so, and the patient has to be told all the same.
- *pack alert*: a pack that was looked at because a counter refused it (expired, recalled, wrong serial number), or that
  was put into quarantine. What one pharmacy saw, all should know.

Which recalls count for whom, and which packs they name, is told in supply_book.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from .finding import Context, Finding, Fold, Observed
from .issues import Issue
from .prescriptions import author_name, surely_after
from .supply_book import SupplyBook


def find(entries: Sequence[Observed], context: Context) -> Iterator[Finding]:
    """Every supply that should not have been, and every alert."""
    book = SupplyBook.of(entries, context.membership)
    for issue in book.issues():
        if issue.open > 0:
            yield from findings_of(book, issue, context)
    for step in sorted(book.steps, key=lambda each: each.place):
        if step.content["step"] == "inspecting":
            yield _alert(step, context)


def findings_of(book: SupplyBook, issue: Issue, context: Context) -> Iterator[Finding]:
    """What is wrong with one supply that did not come back."""
    content = issue.entry.content
    facts = {
        name: content[name]
        for name in ("product", "lot", "serial", "expiry", "override", "operator", "raw")
        if name in content
    }
    why = f"with the reason {content['override']!r}" if "override" in content else "without a reason"
    who = author_name(issue.entry, context)
    if "expiry" in content and surely_after(issue.entry.time, content["expiry"]):
        said = f"{who} supplied {_pack(content)}, which expired on {content['expiry']}, {why}"
        yield Finding("expired supplied", said, (issue.entry.place,), facts)
    first = book.recalled(issue.entry.place.feed, content["product"], content.get("lot"), content.get("serial"))
    if first is not None:
        before = issue.entry.time < first.time
        when = "before the recall came, by the clocks' claims: tell the patient" if before else why
        said = f"{who} supplied {_pack(content)}, which is recalled{_reference(first)}, {when}"
        places = (first.place, issue.entry.place)
        yield Finding("recalled supplied", said, places, {**facts, "before": before})


def _alert(step: Observed, context: Context) -> Finding:
    content = step.content
    what = content.get("reason", content.get("disposition", "an alert"))
    said = f"{author_name(step, context)} did not supply {_pack(content)}: {what}"
    facts = {name: content[name] for name in ("product", "lot", "serial", "disposition") if name in content}
    return Finding("pack alert", said, (step.place,), facts)


def _pack(content: Any) -> str:
    parts = [content["product"], *(f"{name} {content[name]}" for name in ("lot", "serial") if name in content)]
    return ", ".join(parts)


def _reference(recall: Observed) -> str:
    return f" ({recall.content['reference']})" if "reference" in recall.content else ""


RECALLS: Final = Fold(
    "expired and recalled",
    ("dispense", "stock"),
    frozenset(("dispense", "dispense.return", "recall", "stock")),
    find,
)
