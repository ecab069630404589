"""The auditor's report: what it must name is named, in words and as JSON."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from devices import Instrument
from medledger import Identity, Ledger

from .conftest import READING, Done, Run
from .test_reading import forge

Admit = Callable[..., Path]
Carry = Callable[[Path, Path], Done]


def forked(run: Run, ward: Path, admit: Admit, carry: Carry) -> Path:
    """A box whose card was cloned, with its key: both copies wrote, and the ward has seen it."""
    box = admit("box 7", "bedside")
    carry(ward, box)
    run("append", box, "reading", READING)
    shutil.copytree(box.parent, "clone")
    run("append", box, "reading", READING)
    run("append", "clone/own.db", "reading", READING.replace("72", "73"))
    carry(box, ward)
    run("bundle", "export", "clone/own.db", "clone.bundle")
    run("bundle", "import", ward, "clone.bundle", code=1)
    return box


def test_the_report_names_what_an_auditor_asks_for(run: Run, ward: Path, admit: Admit, carry: Carry) -> None:
    """Forks, disputed blocks, void entries with reasons, gaps, revocations, members and counts by type."""
    forked(run, ward, admit, carry)
    admit("Thief", "pharmacy")
    run("member", "revoke", ward, "Thief", "--after", "-1", "--reason", "never ours")
    run("append", ward, "reading", READING, "--time", "2020-01-01T00:00:00Z")
    run("append", ward, "reading", READING, "--time", "2020-01-01T09:30:00Z")
    forge(ward, "reeding", {})
    report = run("audit", "report", ward, "--json").json
    by_label = {member["label"]: member for member in report["members"]}
    assert report["verification"]["verified"]
    assert report["digest"] == run("verify", ward, "--json").json["digest"]
    assert by_label["box 7"]["forked_at"] == 1
    assert by_label["Thief"]["revocations"] == ["never ours"]
    assert by_label["Hospital"]["entries"]["reading"] == 3
    assert by_label["Hospital"]["first"] == "2020-01-01T00:00:00.000Z"
    assert [fork["seq"] for fork in report["forks"]] == [1]
    assert len(report["disputed"]) == 2
    assert [(row["type"], row["reason"], row["count"]) for row in report["void"]] == [("reeding", "unknown-type", 1)]
    assert {(gap["from"], gap["ms"]) for gap in report["gaps"]} >= {("2020-01-01T00:00:00.000Z", 34_200_000)}
    text = run("audit", "report", ward).out
    for expected in ("forked at block 1", "never ours", "unknown-type", "9 h 30 min", "Forks: 1", "Disputed blocks: 2"):
        assert expected in text
    assert "Hidden or erased entries: none" in text


def test_a_quiet_ledger_has_an_empty_report(run: Run, ward: Path) -> None:
    """Nothing is left out: what there is none of is said to be none."""
    text = run("audit", "report", ward).out
    for nothing in ("Void entries", "Gaps of 1 h or more", "Forks", "Hidden or erased entries", "Disputed blocks"):
        assert f"{nothing}: none" in text
    assert "every byte of 2 blocks; a signature vouches for each segment" in text


def test_a_gap_is_as_long_as_asked(run: Run, ward: Path) -> None:
    """A shorter threshold names shorter silences; late readings stand where they happened."""
    for at in ("10:00:00", "10:20:00", "10:10:00"):
        run("append", ward, "reading", READING, "--time", f"2020-01-01T{at}Z")
    gaps = run("audit", "report", ward, "--gap", "10min", "--json").json["gaps"]
    assert [gap["ms"] for gap in gaps[1:]] == [600_000, 600_000]
    assert len(run("audit", "report", ward, "--gap", "11min", "--json").json["gaps"]) == 1


def test_a_report_is_saved(run: Run, ward: Path) -> None:
    """As text or as JSON, in a file that is not overwritten."""
    assert run("audit", "report", ward, "--output", "report.txt").out == ""
    assert Path("report.txt").read_text().startswith("Audit of St. Anna\n")
    run("audit", "report", ward, "--output", "report.json", "--json")
    assert json.loads(Path("report.json").read_text())["name"] == "St. Anna"
    run("audit", "report", ward, "--output", "report.txt", code=3)


def test_what_was_not_verified_is_said(run: Run, ward: Path) -> None:
    """--no-verify is in the report; --every-signature too."""
    assert "verified      no: left out" in run("audit", "report", ward, "--no-verify").out
    assert run("audit", "report", ward, "--no-verify", "--json").json["verification"] is None
    full = run("audit", "report", ward, "--every-signature", "--processes", "1").out
    assert "every byte of 2 blocks and 2 own signatures" in full


def test_a_fork_is_a_finding_and_no_failure(run: Run, ward: Path, admit: Admit, carry: Carry) -> None:
    """The replica verifies: the fork is in it, proved. It is named on stderr and in JSON."""
    box = forked(run, ward, admit, carry)
    done = run("audit", "verify", ward, "--every-signature", "--processes", "1")
    assert "box 7" in done.err
    assert "signed two histories: it forked at block 1" in done.err
    assert len(run("audit", "verify", ward, "--json").json["forks"]) == 1
    assert "forked at block 1" in run("member", "list", ward).out
    carry(ward, box)
    assert "has forked" in run("append", box, "reading", READING, code=1).err


def test_findings_are_named_with_the_blocks_that_show_them(run: Run, ward: Path, admit: Admit, carry: Carry) -> None:
    """A promise broken and a key that nobody enrolled, in words, as JSON, in the report, and as an exit code."""
    assert "Nothing that does not fit together." in run("audit", "findings", ward).out
    run("append", ward, "cadence", '{"device": "MON-7", "interval": 1000}', "--time", "2020-01-01T00:00:00Z")
    with Ledger.open(ward, Identity.load(ward.with_suffix(".key"))) as ledger:
        stranger = ledger.append(Instrument("PO-1").batch(72))
    text = run("audit", "findings", ward, code=1).out
    assert "unenrolled key" in text
    assert f"Hospital/{stranger.seq}" in text
    (found,) = run("audit", "findings", ward, "--json", code=1).lines
    assert found["entries"][0]["block"] == stranger.id.hex()
    assert found["facts"]["key"] == f"hex:{Instrument('PO-1').key.hex()}"
    assert "Findings: 1" in run("audit", "report", ward).out
    time.sleep(1.1)  # the promise was of a second
    kinds = [each["kind"] for each in run("audit", "findings", ward, "--now", "--json", code=1).lines]
    assert kinds == ["unenrolled key", "silent"]


def test_readings_are_listed_with_whose_they_are(run: Run, ward: Path) -> None:
    """A discharge that was told late takes one back: for people, and for programs with both subjects."""
    anna = "00112233445566778899aabbccddeeff"
    move = '{{"device": "MON-7", "action": "{}"}}'.format
    run("append", ward, "association", move("begin"), "--subject", anna, "--time", "2026-11-20T10:00:00Z")
    for at in ("10:01:00", "10:05:00"):
        run("append", ward, "reading", READING, "--subject", anna, "--time", f"2026-11-20T{at}Z")
    run("append", ward, "association", move("end"), "--subject", anna, "--time", "2026-11-20T10:03:00Z")
    kept, lost = run("audit", "readings", ward, "--subject", anna, "--json").lines
    assert (kept["subject"], kept["logged_subject"], kept["reason"]) == (anna, anna, None)
    assert (lost["subject"], lost["logged_subject"], lost["reason"]) == (None, anna, "after-discharge")
    text = run("audit", "readings", ward, "--device", "MON-7").out.splitlines()
    assert "nobody (after-discharge)" in text[1]
    assert f"logged under {anna}" in text[1]
    assert run("audit", "readings", ward, "--until", "2026-11-20T10:00:00Z").out == ""
