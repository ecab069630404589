"""The second person: whether an entry has a valid witness, and where one is missing.

A witness is valid when, checked in this order:

 (1) its key is not the author's, nor linked with it by succession: two people, two keys. That other keys are other
     people is what the governors who enrolled them say
 (2) its key is a member's in the epoch of the entry's block
 (3) with a role that may be a witness: `WITNESS_ROLES`
 (4) its signature is right over the entry (`medledger.supplies.witness_message`)
 (5) its key is not revoked. A revocation names the end of the witness' own feed, which says nothing of when it signed
     here; so an entry whose block is of an epoch before the revocation's stands, and of any other it is said

A signature that stands in two entries of one author proves neither: the content, with its time, was signed once. That
somebody else copied it into an entry of their own says nothing of its author's: there it is invalid.

- *no witness*: waste of a controlled drug without one. A drug is controlled where any entry about the product says so,
  so that leaving the mark out hides nothing.
- *invalid witness*: one of the checks fails. *witness used twice*: one signature in two entries of
  one author.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from medledger import keys
from medledger.errors import MedledgerError, MembershipError, SchemaError
from medledger.membership import Membership
from medledger.supplies import witness_message

from .finding import Context, Finding, Fold, Observed, by_position
from .prescriptions import author_name
from .supply_book import SupplyBook

WITNESS_ROLES: Final = frozenset(("witness", "pharmacy", "hospital", "prescriber"))
"""Roles whose holders may be the second person."""


def check_witness(
    ledger_id: bytes,
    membership: Membership,
    author: bytes,
    epoch: int,
    type_name: str,
    time: int,
    subject: bytes | None,
    content: Mapping[str, Any],
) -> None:
    """Raise unless `content["witness"]` is a valid witness of this entry of `author`, in a block of `epoch`.

    Raises `SchemaError` where there is none, `MembershipError` for who may not be one, `SignatureError`.
    """
    if "witness" not in content:
        raise SchemaError("there is no witness")
    key, signature = content["witness"]
    if _succeeds(membership, key, author) or _succeeds(membership, author, key):  # (1)
        raise MembershipError("the witness is the author: it takes two people")
    roles = membership.roles(key, epoch) if 0 <= epoch < len(membership.epochs) else None
    if roles is None:  # (2)
        raise MembershipError("the witness' key is not enrolled", hint="Have it enrolled with the role witness.")
    if not roles & WITNESS_ROLES:  # (3)
        raise MembershipError(f"the role {', '.join(sorted(roles)) or 'none'} may not be a witness")
    keys.verify(key, witness_message(ledger_id, author, type_name, time, subject, content), signature)  # (4)
    if any(cut.epoch <= epoch for cut in membership.cuts.get(key, ())):  # (5)
        raise MembershipError("the witness' key is revoked, and nothing shows that it signed before")


def _succeeds(membership: Membership, key: bytes, earlier: bytes) -> bool:
    """Whether a key is an earlier one, or carries it on, perhaps after others."""
    seen: set[bytes] = set()
    following: bytes | None = key
    while following is not None and following not in seen:
        if following == earlier:
            return True
        seen.add(following)
        member = membership.members.get(following)
        following = None if member is None else member.succeeds
    return False


def find(entries: Sequence[Observed], context: Context) -> Iterator[Finding]:
    """Every witness that is missing, invalid, or in two places."""
    book = SupplyBook.of(entries)
    by_signature: dict[tuple[bytes, bytes], list[Observed]] = defaultdict(list)
    for entry in by_position({each.place: each for each in entries}.values()):
        content = entry.content
        if entry.type not in ("stock", "dispense"):
            continue
        if "witness" in content:
            by_signature[entry.place.feed, content["witness"][1]].append(entry)
            yield from _invalid(entry, context)
        elif entry.type == "stock" and content["step"] == "destroying":
            schedule = content.get("schedule", book.schedules.get(content["product"]))
            if schedule is not None:
                called = f"schedule {schedule}" if "schedule" in content else f"which others call schedule {schedule}"
                said = f"{author_name(entry, context)} wasted {content['product']}, {called}, with no witness"
                yield Finding("no witness", said, (entry.place,), {"product": content["product"], "schedule": schedule})
    for found in by_signature.values():
        if len(found) > 1:
            who = author_name(found[0], context)
            said = f"{who} used one signature of a witness {len(found)} times: it was given once"
            yield Finding("witness used twice", said, tuple(entry.place for entry in found))


def _invalid(entry: Observed, context: Context) -> Iterator[Finding]:
    said = (entry.place.feed, entry.epoch, entry.type, entry.time, entry.subject, entry.content)
    try:
        check_witness(context.ledger_id, context.membership, *said)
    except MedledgerError as error:
        key = entry.content["witness"][0]
        sentence = f"{author_name(entry, context)} names the witness {key.hex()[:8]}: {error}"
        yield Finding("invalid witness", sentence, (entry.place,), {"witness": key})


WITNESSES: Final = Fold("witnesses", ("stock", "dispense"), frozenset(("stock", "dispense", "prescription")), find)
