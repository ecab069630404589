"""`append`, `log` and `show`: what goes in comes out, for people and for programs."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from medledger import Identity, Ledger
from medledger.membership import NOT_ALLOWED

from .conftest import READING, Run

SUBJECT = "00112233445566778899aabbccddeeff"
DISPENSE = '{"product": "09506000134352", "quantity": "13.50", "unit": "mL", "lot": "A7", "prescription": "rx-1"}'


def test_an_append_says_what_is_durable(run: Run, ward: Path) -> None:
    """The block's place and id, in words and as JSON; `show` takes both."""
    words = run("append", ward, "reading", READING).out.split()
    assert words[1:4] == ["1", "entry,", "block"]
    assert run("show", ward, words[0], "--json").json["block"].startswith(words[4])
    told = run("append", ward, "reading", f"[{READING}, {READING}]", "--json").json
    shown = run("show", ward, told["block"], "--json").json
    assert (told["feed"], told["seq"], told["entries"]) == (shown["feed"], shown["seq"], 2)
    assert len(shown["entries"]) == 2
    assert run("show", ward, told["block"][:17], "--json").json == shown


def test_records_come_from_stdin(run: Run, ward: Path) -> None:
    """One value as one block; with --lines a block a line, each told when it is durable."""
    run("append", ward, "reading", "-", stdin=f"[{READING},\n{READING}]")
    done = run("append", ward, "reading", "-", "--lines", "--json", stdin=f"{READING}\n\n{READING}\n")
    assert [line["seq"] for line in done.lines] == [3, 4]


def test_a_bad_line_stops_and_says_which(run: Run, ward: Path) -> None:
    """What stood before it is written, and said to be."""
    done = run("append", ward, "reading", "-", "--lines", stdin=f"{READING}\n{{\n{READING}\n", code=2)
    assert len(done.out.splitlines()) == 1
    assert "line 2: this is not JSON" in done.err
    assert "before it are written" in done.err


def test_time_and_subject_are_options_or_fields(run: Run, ward: Path) -> None:
    """What stands in the record comes before the option."""
    run("append", ward, "reading", READING, "--time", "2020-01-02T03:04:05Z", "--subject", SUBJECT)
    own = '{"device": "A", "time": "2020-01-02T03:04:06Z", "subject": null}'
    run("append", ward, "reading", own, "--subject", SUBJECT)
    found = run("log", ward, "--since", "2020-01-02", "--until", "2020-01-03", "--json").lines
    assert [(line["time"], line["subject"]) for line in found] == [
        ("2020-01-02T03:04:05.000Z", SUBJECT),
        ("2020-01-02T03:04:06.000Z", None),
    ]


def test_a_log_can_be_appended_again(run: Run, ward: Path) -> None:
    """The content of `log --json` is what `append` reads, to the digit."""
    run("append", ward, "dispense", DISPENSE, "--subject", SUBJECT)
    entry = run("log", ward, "--type", "dispense", "--json").json
    assert entry["content"]["quantity"] == "13.50"
    run("append", ward, "dispense", json.dumps({**entry["content"], "subject": entry["subject"]}))
    first, second = run("log", ward, "--type", "dispense", "--json").lines
    assert first["content"] == second["content"]
    assert first["subject"] == second["subject"] == SUBJECT


def test_the_log_is_filtered(run: Run, ward: Path) -> None:
    """By type, subject, author, time; --limit gives the newest, still oldest first."""
    for second in range(5):
        run("append", ward, "reading", READING, "--time", f"2020-01-01T00:00:0{second}Z")
    run("append", ward, "dispense", DISPENSE, "--subject", SUBJECT)
    assert len(run("log", ward, "--type", "reading", "--json").lines) == 6
    assert len(run("log", ward, "--subject", SUBJECT, "--json").lines) == 1
    assert len(run("log", ward, "--author", "Hospital", "--json").lines) == 9
    assert run("log", ward, "--type", "nothing", "--json").out == ""
    limited = run("log", ward, "--until", "2020-01-02", "--limit", "2", "--json").lines
    assert [line["time"][-5:] for line in limited] == [".000Z", ".000Z"]
    assert [line["time"][17:19] for line in limited] == ["03", "04"]


def test_the_log_for_people_is_a_table(run: Run, ward: Path) -> None:
    """Columns stand under their headings, and values as they were measured."""
    run("append", ward, "dispense", DISPENSE)
    heading, *lines = run("log", ward).out.splitlines()
    at = heading.index("WHAT")
    assert [line[at:] for line in lines[2:]] == [
        "MON-7: 8867-4 72 /min",
        "13.50 mL of 09506000134352, lot A7, for rx-1, completed",
    ]
    assert all(line[at - 2 : at] == "  " for line in lines)
    assert not any(line.endswith(" ") for line in (heading, *lines))


def test_void_entries_are_shown_with_their_reason_when_asked_for(run: Run, ward: Path) -> None:
    """An entry of an unknown type is on the ledger, counts for nothing, and cannot take over a terminal."""
    forge(ward, "reeding", {"note": "\x1b[2Jhello"})
    forge(ward, "reading", {"device": "A", "samples": [], "name": "Jane"})
    assert "reeding" not in run("log", ward).out
    done = run("log", ward, "--void")
    assert "[void: unknown-type]" in done.out
    assert "[void: schema: content has a field that this type does not know" in done.out
    assert "\x1b" not in done.out
    void = {line["type"]: line["void"] for line in run("log", ward, "--void", "--json").lines if line["void"]}
    assert void["reeding"] == "unknown-type"
    shown = run("show", ward, "Hospital/2")
    assert "[void: unknown-type]" in shown.out
    assert "\x1b" not in shown.out
    assert run("show", ward, "Hospital/3", "--json").json["entries"][0]["void"].startswith("schema: ")


def forge(ledger: Path, type_name: str, content: object) -> None:
    """Write what the library would refuse to: as other, older or hostile software could."""
    from medledger import writer

    class Anything:
        TYPE, CONTROL, subject, time = type_name, False, None, None

        def to_content(self) -> object:
            return content

    patch = pytest.MonkeyPatch()
    patch.setattr(writer.Writer, "_check_rights", lambda *_: None)
    with Ledger.open(ledger, Identity.load(ledger.with_suffix(".key"))) as opened:
        opened.append(Anything())  # type: ignore[arg-type]
    patch.undo()


def test_what_a_role_may_not_write_is_void(run: Run, ward: Path) -> None:
    """The reason is the membership's."""
    forge(ward, "patient.note", {})
    forge(ward, "dispense", json.loads(DISPENSE) | {"quantity": [1, 0], "status": "completed"})
    assert NOT_ALLOWED not in run("log", ward, "--void").out


def test_show_prints_a_block_in_full(run: Run, ward: Path) -> None:
    """Header, entries and every sample, each value as written."""
    sample = '{"code": "8310-5", "value": 37.50, "unit": "Cel", "status": "questionable"}'
    run("append", ward, "reading", f'{{"device": "T-1", "samples": [["8867-4", "72", "/min"], {sample}]}}')
    text = run("show", ward, "Hospital", "2").out
    for expected in ("block Hospital/2", "8867-4 72 /min", "8310-5 37.50 Cel  [status questionable]", "device   T-1"):
        assert expected in text
    enrolment = run("show", ward, "Hospital/0").out
    assert "gov.enrol" in enrolment
    assert "approve act" in enrolment
    assert max(map(len, enrolment.splitlines())) < 180


def test_times_are_utc_whatever_the_machine_thinks(program: Run, ward: Path) -> None:
    """TZ changes nothing."""
    program("append", ward, "reading", READING, "--time", "2020-06-01T12:00:00", TZ="America/New_York")
    found = program("log", ward, "--until", "2021-01-01", "--json", TZ="Asia/Tokyo").json
    assert found["time"] == "2020-06-01T12:00:00.000Z"


def test_a_backup_is_a_ledger_to_read(run: Run, ward: Path) -> None:
    """The copy holds the same, and leaves nothing half written behind."""
    told = run("backup", ward, "copy.db", "--json").json
    assert run("verify", "copy.db", "--json").json["digest"] == told["digest"]
    assert sorted(os.listdir()) == sorted(["copy.db", "ward.db", "ward.key", witness(ward)])


def witness(ledger: Path) -> str:
    """The name of the founder's witness."""
    return next(path.name for path in ledger.parent.iterdir() if path.name.endswith(".witness"))


def test_keys_and_requests_are_for_their_owner_alone(run: Run, ward: Path) -> None:
    """Whatever the umask, nobody else reads a key or a waiting request."""
    run("member", "request", "--key", "box.key", "--label", "box")
    for name in ("ward.key", "box.key", "box.key.request"):
        assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600
