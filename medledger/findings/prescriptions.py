"""What was supplied against what was prescribed.

- *overdispensed*: of one of a prescription's supplies (the first, or a repeat) more is with the patient than it
  authorises, or more repeats were supplied than it has. One pharmacy did it, or several that each kept to it, as those
  do that are cut off from one another: the finding names all of them, with the entries that prove it.
- *prescription written twice*: two orders of one id that differ. The one that authorises least counts, and of all
  their last days the earliest: so a prescriber ends one that was written.
- *other unit*: a supply that cannot be held against its prescription.
- *other product*: not the product that was prescribed, and nobody said why.
- *prescription expired*: supplied after its last day, by the supplier's own clock.
- *returned twice*: more came back of one supply than was supplied. The rest credits nothing.
- *undone by another*: somebody else than the supplier said that a supply never left the counter. It credits nothing.
- *return without supply*: it names a supply that no block here holds. A replica that is not in sync may see that.

A prescription that no prescriber put on the ledger authorises nothing that could be exceeded: its supplies are added
up, and that is all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any, Final

from .amounts import NOTHING, amount, amount_text
from .finding import Context, Finding, Fold, Observed
from .issues import Issue
from .proof import listed, places_of, proof
from .supply_book import SupplyBook

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Balance:
    """One prescription's account. `authorised = remaining + dispensed - returned`, in `unit`.

    Without an order `authorised` and `remaining` are None, and `unit` is that of its first supply by position.
    """

    prescription: bytes | str
    order: Observed | None  # the order that counts
    orders: tuple[Observed, ...]
    issues: tuple[Issue, ...]  # in this unit
    strays: tuple[Issue, ...]  # in another
    unit: str
    ends: Observed | None = None  # the order that names its last day: of several the earliest day
    differ: bool = False  # whether its orders do not say the same

    @property
    def each(self) -> Fraction | None:
        """How much one supply of it may be."""
        return None if self.order is None else amount(self.order.content["quantity"])

    @property
    def repeats(self) -> int:
        """How many supplies there may be after the first."""
        return 0 if self.order is None else int(self.order.content.get("repeats", 0))

    @property
    def expires(self) -> str | None:
        """The last day of all its orders that comes first, None where none names one."""
        return None if self.ends is None else str(self.ends.content["expires"])

    @property
    def authorised(self) -> Fraction | None:
        """All of them together."""
        return None if self.each is None else self.each * (1 + self.repeats)

    @property
    def dispensed(self) -> Fraction:
        """Whatever was supplied."""
        return sum((issue.supplied for issue in self.issues), NOTHING)

    @property
    def returned(self) -> Fraction:
        """What came back of it."""
        return sum((issue.returned for issue in self.issues), NOTHING)

    @property
    def remaining(self) -> Fraction | None:
        """What may still be supplied; below nothing where too much was."""
        return None if self.authorised is None else self.authorised - self.dispensed + self.returned

    def open(self) -> dict[int, Fraction]:
        """What is with the patient of each supply: 0 the first, 1 the first repeat, and so on."""
        found: dict[int, Fraction] = defaultdict(lambda: NOTHING)
        for issue in self.issues:
            found[_refill(issue)] += issue.open
        return dict(sorted(found.items()))

    def exceeded(self) -> dict[int, Fraction]:
        """The supplies of which too much is with the patient, and by how much."""
        if self.each is None:
            return {}
        limits = [self.each] * (self.repeats + 1)
        over = {
            refill: out - (limits[refill] if refill < len(limits) else NOTHING) for refill, out in self.open().items()
        }
        return {refill: more for refill, more in over.items() if more > 0}

    def next_refill(self) -> tuple[int, Fraction] | None:
        """The first supply of which something may still be dispensed, and how much; None where nothing may."""
        if self.each is None:
            return None
        out = self.open()
        for refill in range(self.repeats + 1):
            left = self.each - out.get(refill, NOTHING)
            if left > 0:
                return refill, left
        return None


def balance(book: SupplyBook, prescription: bytes | str) -> Balance:
    """The account of one prescription, which may be unknown: then it is empty."""
    orders = sorted(book.orders.get(prescription, ()) if isinstance(prescription, bytes) else (), key=_least_first)
    issues = book.issues_on(prescription)
    order = orders[0] if orders else None
    first = order if order is not None else issues[0].entry if issues else None
    unit = "" if first is None else str(first.content["unit"])
    return Balance(
        prescription,
        order,
        tuple(orders),
        tuple(issue for issue in issues if issue.entry.content["unit"] == unit),
        tuple(issue for issue in issues if issue.entry.content["unit"] != unit),
        unit,
        min(
            (each for each in orders if "expires" in each.content),
            key=lambda each: each.content["expires"],
            default=None,
        ),
        len({repr(sorted(each.content.items())) for each in orders}) > 1,
    )


def find(entries: Sequence[Observed], context: Context) -> Iterator[Finding]:
    """Everything that does not fit between prescriptions, supplies and returns."""
    book = SupplyBook.of(entries)
    for prescription in book.prescriptions():
        yield from findings_of(balance(book, prescription), context)
    for issue in book.issues():
        if issue.overreturned:
            places, more = proof((), [issue])
            said = (
                f"{_amounts(issue.given_back, issue)} came back of a supply of {_amounts(issue.supplied, issue)}{more}"
            )
            yield Finding("returned twice", said, places, {"issue": issue.entry.leaf})
    for issue, back in book.disowned():
        said = f"{author_name(back, context)} undid a supply of {_who(issue, context)}: only its supplier can know"
        authors = [back.place.feed, issue.entry.place.feed]
        facts = {"issue": issue.entry.leaf, "authors": authors}
        yield Finding("undone by another", said, places_of([issue.entry, back]), facts)
    for back in book.returns_of_nothing():
        said = f"{author_name(back, context)} took back from a supply that is not here"
        yield Finding("return without supply", said, (back.place,), {"issue": back.content["issue"]})


def findings_of(account: Balance, context: Context) -> Iterator[Finding]:
    """What is wrong with one prescription's account."""
    facts: dict[str, Any] = {"prescription": account.prescription}
    name = prescription_name(account.prescription)
    exceeded = account.exceeded()
    issues: dict[int, list[Issue]] = defaultdict(list)
    for issue in account.issues if exceeded else ():
        if issue.open > 0:
            issues[_refill(issue)].append(issue)
    for refill in exceeded:
        yield _exceeded(account, refill, issues[refill], context)
    if account.differ:
        said = f"{name} was written {len(account.orders)} times, and not alike: what authorises least counts"
        yield Finding("prescription written twice", said, places_of(account.orders), facts)
    if account.order is not None:
        for issue in (*account.issues, *account.strays):
            yield from _supplied_otherwise(account, account.order, issue, context)


def _supplied_otherwise(account: Balance, order: Observed, issue: Issue, context: Context) -> Iterator[Finding]:
    """What of one supply was not as it was prescribed."""
    facts: dict[str, Any] = {"prescription": account.prescription}
    name, content = prescription_name(account.prescription), issue.entry.content
    if content["unit"] != account.unit:
        said = f"{name} is in {account.unit}, and {_who(issue, context)} supplied in {content['unit']}"
        yield Finding("other unit", said, places_of([order, issue.entry]), facts)
    prescribed = order.content.get("product", content["product"])
    if prescribed != content["product"] and "override" not in content:
        said = f"{name} is for {prescribed}, and {_who(issue, context)} supplied {content['product']}"
        yield Finding("other product", said, places_of([order, issue.entry]), facts)
    if account.ends is not None and surely_after(issue.entry.time, account.ends.content["expires"]):
        until = account.ends.content["expires"]
        said = f"{name} could be supplied until {until}, and {_who(issue, context)} supplied it later"
        yield Finding("prescription expired", said, places_of([account.ends, issue.entry]), facts)


def _exceeded(account: Balance, refill: int, issues: Sequence[Issue], context: Context) -> Finding:
    """The proof: the order, every supply of that number, and what came back of them."""
    assert account.order is not None  # else nothing is exceeded
    assert account.each is not None
    limit = account.each if refill <= account.repeats else NOTHING
    by_author: dict[str, Fraction] = defaultdict(lambda: NOTHING)
    for issue in issues:
        by_author[_who(issue, context)] += issue.open
    alone = [who for who, out in by_author.items() if out > limit]
    shares = listed([f"{amount_text(out)} by {who}" for who, out in sorted(by_author.items())], " and ")
    which = "" if refill == 0 else f", repeat {refill} of {account.repeats},"
    how = "" if alone else ": each for itself kept to it"
    total = amount_text(sum(by_author.values(), NOTHING))
    orders = account.orders if account.differ else (account.order,)
    least = f", by the least of {len(orders)} orders that differ" if account.differ else ""
    places, more = proof(orders, issues)
    said = (
        f"{prescription_name(account.prescription)}{which} authorises {amount_text(limit)} {account.unit}, and {total} "
        f"are with the patient, {shares}{how}{least}{more}"
    )
    facts = {
        "prescription": account.prescription,
        "refill": refill,
        "authorised": amount_text(limit),
        "supplied": total,
        "unit": account.unit,
        "authors": sorted({issue.entry.place.feed for issue in issues}),
    }
    return Finding("overdispensed", said, places, facts)


# --- words ----------------------------------------------------------------------------------------------------------


def author_name(entry: Observed, context: Context) -> str:
    """What people call an entry's author: its label, and the start of its key."""
    member = context.membership.members.get(entry.place.feed)
    short = entry.place.feed.hex()[:8]
    return f"{member.label} ({short})" if member is not None and member.label else short


def prescription_name(prescription: bytes | str) -> str:
    """A prescription in a sentence."""
    return f"prescription {prescription.hex()[:8] if isinstance(prescription, bytes) else prescription}"


def surely_after(time: int, day: str) -> bool:
    """Whether a time is after a day wherever on Earth its author is: places are at most a day behind UTC."""
    try:
        return datetime.fromtimestamp((time - DAY_MS) / 1000, UTC).date() > date.fromisoformat(day)
    except (OverflowError, ValueError, OSError):  # a clock's claim beyond what a calendar holds
        return time > 0


def _who(issue: Issue, context: Context) -> str:
    return author_name(issue.entry, context)


def _amounts(number: Fraction, issue: Issue) -> str:
    return f"{amount_text(number)} {issue.entry.content['unit']}"


def _refill(issue: Issue) -> int:
    return int(issue.entry.content.get("refill", 0))


def _least_first(order: Observed) -> tuple[Any, ...]:
    total = amount(order.content["quantity"]) * (1 + int(order.content.get("repeats", 0)))
    return total, order.place


PRESCRIPTIONS: Final = Fold(
    "prescriptions",
    ("prescription", "dispense.return"),
    frozenset(("prescription", "dispense", "dispense.return")),
    find,
)
