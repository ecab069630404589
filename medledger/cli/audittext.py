"""An auditor's report as text: what `auditdata` collected, in sections, an empty one in a word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from .output import count_text, duration_text, fact_lines, printable, table_lines

MAX_LISTED: Final = 100
MAX_SHOWN: Final = 3


def report_lines(report: dict[str, Any]) -> list[str]:
    """The report, line by line."""
    names = {member["feed"]: printable(member["label"]) or member["feed"][:8] for member in report["members"]}
    gaps = f"Gaps of {duration_text(report['gap_ms'])} or more"
    return [
        *_head(report, names),
        *_sections(
            (
                "Members",
                ("LABEL", "ORGANISATION", "ROLES", "BLOCKS", "FIRST", "LAST", "KEY", "STATUS"),
                _members(report),
            ),
            ("Entries by member and type", ("MEMBER", "TYPE", "ENTRIES", "FIRST", "LAST"), _entries(report, names)),
            ("Void entries", ("MEMBER", "TYPE", "ENTRIES", "FIRST IN BLOCK", "REASON"), _void(report, names)),
            (gaps, ("MEMBER", "FROM", "TO", "LENGTH"), _gaps(report, names)),
            ("Findings", ("KIND", "WHAT", "SHOWN BY"), finding_rows(report["findings"], names)),
            ("Forks", ("MEMBER", "AT BLOCK"), _places(report["forks"], names)),
            ("Hidden or erased entries", ("MEMBER", "BLOCK"), _places(report["hidden"], names)),
            ("Disputed blocks", ("MEMBER", "BLOCK", "ID"), _disputed(report, names)),
        ),
        "",
        "This report is about what was recorded, as this replica holds it; times are their authors' claims.",
        "Another replica holds the same exactly when its digest is the same.",
    ]


def _head(report: dict[str, Any], names: dict[str, str]) -> list[str]:
    verified = report["verification"]
    governors = ", ".join(sorted(names.get(feed, feed[:8]) for feed in report["governors"]))
    facts = [
        ("ledger id", report["ledger_id"]),
        ("digest", report["digest"]),
        ("made", str(report["made"])),
        ("verified", "no: left out" if verified is None else _verified(verified)),
        ("governed by", f"{governors} ({report['threshold']} of {len(report['governors'])}, epoch {report['epoch']})"),
        ("pending acts", str(len(report["pending_acts"]))),
    ]
    if report["governance_void_after"] is not None:
        facts.append(("GOVERNANCE", f"void after epoch {report['governance_void_after']}"))
    for feed, blocks in report["not_interpreted"].items():
        facts.append(("not read yet", f"{count_text(blocks, 'block')} of {names[feed]}, of an epoch not known here"))
    return [f"Audit of {printable(report['name'])}", "", *fact_lines(facts)]


def _verified(verification: dict[str, Any]) -> str:
    blocks = count_text(verification["blocks"], "block")
    if verification["own_signatures"] is None:
        return f"every byte of {blocks}; a signature vouches for each segment"
    later = len(verification["through_successor"])
    return f"every byte of {blocks} and {verification['own_signatures']} own signatures" + (
        f"; {later} hold only by a later block's" if later else ""
    )


def _members(report: dict[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for member in sorted(report["members"], key=lambda each: (not each.get("governor"), each["label"], each["feed"])):
        status = []
        if member.get("revoked"):
            reasons = "; ".join(filter(None, member["revocations"]))
            status.append(f"revoked after block {member['revoked_after']}{f': {reasons}' if reasons else ''}")
        if member.get("forked_at") is not None:
            status.append(f"forked at block {member['forked_at']}")
        if member.get("succeeded_by"):
            status.append(f"succeeded by {member['succeeded_by'][:8]}")
        roles = [*(["governor"] if member.get("governor") else []), *member["roles"]]
        rows.append(
            (
                printable(member["label"]) or "-",
                printable(member["organisation"]) or "-",
                ", ".join(dict.fromkeys(roles)) or "-",
                str(member["blocks"]),
                str(member["first"] or "-"),
                str(member["last"] or "-"),
                member["feed"][:8],
                printable(", ".join(status)) or "active",
            )
        )
    return rows


def _entries(report: dict[str, Any], names: dict[str, str]) -> list[tuple[str, ...]]:
    return [
        (names[row["feed"]], printable(row["type"] or "-"), str(row["count"]), str(row["first"]), str(row["last"]))
        for row in report["entries"]
    ]


def _void(report: dict[str, Any], names: dict[str, str]) -> list[tuple[str, ...]]:
    return [
        (
            names[row["feed"]],
            printable(row["type"] or "-"),
            str(row["count"]),
            str(row["first_seq"]),
            printable(row["reason"]),
        )
        for row in report["void"]
    ]


def _gaps(report: dict[str, Any], names: dict[str, str]) -> list[tuple[str, ...]]:
    return [(names[gap["feed"]], str(gap["from"]), str(gap["to"]), duration_text(gap["ms"])) for gap in report["gaps"]]


def finding_rows(findings: list[dict[str, Any]], names: dict[str, str]) -> list[tuple[str, ...]]:
    """Each finding with the blocks that show it, as `medledger show` takes them."""
    rows: list[tuple[str, ...]] = []
    for each in findings:
        shown = [f"{names.get(place['feed'], place['feed'][:8])}/{place['seq']}" for place in each["entries"]]
        some = ", ".join(dict.fromkeys(shown[:MAX_SHOWN]))
        rows.append((each["kind"], printable(each["sentence"]), printable(some)))
    return rows


def _places(found: list[dict[str, Any]], names: dict[str, str]) -> list[tuple[str, ...]]:
    return [(names[each["feed"]], str(each["seq"])) for each in found]


def _disputed(report: dict[str, Any], names: dict[str, str]) -> list[tuple[str, ...]]:
    return [(names[each["feed"]], str(each["seq"]), each["block"][:16]) for each in report["disputed"]]


def _sections(*sections: tuple[str, Sequence[str], Sequence[tuple[str, ...]]]) -> list[str]:
    """Each as a table under its title; those with nothing in them in one line each, at the end."""
    lines: list[str] = []
    for title, headings, rows in sections:
        if rows:
            lines += ["", f"{title}: {len(rows)}", *(f"  {line}" for line in table_lines(headings, rows[:MAX_LISTED]))]
            if len(rows) > MAX_LISTED:
                lines.append(f"  and {len(rows) - MAX_LISTED} more: see --json")
    empty = [f"{title}: none" for title, _, rows in sections if not rows]
    return [*lines, "", *empty] if empty else lines
