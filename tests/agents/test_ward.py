"""The ward's beds: what is shown is live, how old it is, and whose; a dead sensor never looks like a calm patient."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from devices import Instrument
from medledger import Association, Cadence, DeviceStatus, Ledger, Reading, Sample
from medledger_agents.ward.beds import Row, Ward
from worlds import found

NOON = 1_767_268_800_000
ANNA, BERTA = bytes(range(16)), bytes(range(1, 17))


class Beds:
    """A ledger on which a box writes, and the ward that is folded from it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def say(self, *records: Any) -> None:
        """Log."""
        self.ledger.append(*records)

    def row(self, at: int = NOON) -> Row:
        """The only bed."""
        (row,) = self.rows(at)
        return row

    def rows(self, at: int = NOON) -> list[Row]:
        """All beds."""
        ward = Ward()
        ward.take(sorted(self.ledger.entries(void=True), key=lambda each: (each.seq, each.index)))
        return ward.rows(at)


@pytest.fixture
def beds(tmp_path: Path) -> Iterator[Beds]:
    """A founder's ledger."""
    with closing(found(tmp_path)) as ledger:
        yield Beds(ledger)


def measured(rate: int | None = 72, **fields: Any) -> Reading:
    """A heart rate, or why there is none."""
    sample = Sample("8867-4", absent="error") if rate is None else ("8867-4", str(rate), "/min")
    return Reading(**{"device": "MON-7", "samples": [sample], "subject": ANNA, "time": NOON, **fields})


def begin(subject: bytes = ANNA, **fields: Any) -> Association:
    """A patient comes."""
    said = {"device": "MON-7", "action": "begin", "location": "ICU-3", "time": NOON, **fields}
    return Association(subject=subject, **said)


def test_a_live_bed_shows_its_values_and_their_age(beds: Beds) -> None:
    """With the place of its association, and the start of the pseudonym."""
    beds.say(begin())
    beds.say(measured())
    row = beds.row(NOON + 5000)
    assert (row.location, row.device, row.patient, row.state) == ("ICU-3", "MON-7", ANNA.hex()[:8], "live")
    assert (row.cells["HR"], row.cells["SpO2"], row.age) == ("72", "", 5000)


@pytest.mark.parametrize("state", ["lost", "stale", "fault", "off", "standby"])
def test_what_is_not_live_has_no_values(beds: Beds, state: str) -> None:
    """The last value is never shown as the present one."""
    beds.say(begin())
    beds.say(measured())
    beds.say(DeviceStatus(device="MON-7", state=state, time=NOON))
    row = beds.row(NOON + 1000)
    assert row.state == state
    assert set(row.cells.values()) == {""}


def test_a_broken_promise_is_silence(beds: Beds) -> None:
    """The agent, its network or its power: nobody knows from here, and no value is shown."""
    beds.say(begin())
    beds.say(Cadence(device="MON-7", interval=60_000, time=NOON))
    beds.say(measured())
    assert beds.row(NOON + 60_000).state == "live"
    row = beds.row(NOON + 60_001)
    assert (row.state, row.cells["HR"]) == ("silent", "")


def test_without_a_promise_an_old_value_is_stale(beds: Beds) -> None:
    """After five minutes."""
    beds.say(begin())
    beds.say(measured())
    assert beds.row(NOON + 300_000).state == "live"
    assert beds.row(NOON + 300_001).state == "stale"


def test_the_next_patient_does_not_get_the_last_ones_values(beds: Beds) -> None:
    """An association clears them, whatever device it is."""
    beds.say(begin())
    beds.say(measured(alarm="TACHY"))
    beds.say(begin(BERTA))
    row = beds.row()
    assert (row.patient, row.cells["HR"], row.alarm) == (BERTA.hex()[:8], "", None)


def test_a_discharge_frees_the_bed(beds: Beds) -> None:
    """What the device still measures is shown as nobody's by nobody."""
    beds.say(begin())
    beds.say(measured())
    beds.say(Association(device="MON-7", action="end", reason="discharge", subject=ANNA, time=NOON))
    assert beds.row().state == "free"
    beds.say(measured(99, subject=None))
    row = beds.row()
    assert (row.state, row.patient, row.cells["HR"]) == ("free", "", "")


def test_what_is_told_about_another_patient_changes_nothing(beds: Beds) -> None:
    """The end of somebody else, and what a person says about the past, leave whoever is there now."""
    beds.say(begin())
    beds.say(measured())
    beds.say(Association(device="MON-7", action="end", subject=BERTA, reason="merge", time=NOON))
    past: dict[str, Any] = {"device": "MON-7", "subject": BERTA, "reason": "manual", "time": NOON}
    beds.say(Association(action="begin", at=NOON - 2000, **past))
    beds.say(Association(action="end", at=NOON - 1000, **past))
    row = beds.row()
    assert (row.patient, row.cells["HR"]) == (ANNA.hex()[:8], "72")


def test_a_reading_in_quarantine_is_shown_as_nobodys(beds: Beds) -> None:
    """Not under the name of the patient in the bed, whose it may not be."""
    beds.say(begin())
    beds.say(measured())
    beds.say(measured(99, subject=None, quarantine="conflict"))
    assert beds.row().cells["HR"] == ""


def test_a_reading_of_nobody_is_said_to_be_nobodys(beds: Beds) -> None:
    """It is quarantined, not guessed."""
    beds.say(measured(subject=None))
    assert beds.row().state == "nobody's"


def test_a_value_that_is_absent_says_why(beds: Beds) -> None:
    """And hides the one before."""
    beds.say(begin())
    beds.say(measured(72))
    beds.say(measured(None))
    assert beds.row().cells["HR"] == "(error)"


def test_a_box_that_was_revoked_has_no_beds(beds: Beds) -> None:
    """A monitor whose box was replaced stands there once: as the new box has it."""
    beds.say(begin())
    beds.say(measured())
    ward = Ward()
    ward.take(beds.ledger.entries())
    (row,) = ward.rows(NOON)
    assert ward.rows(NOON, {ANNA}) == [row]
    assert ward.rows(NOON, {row.author}) == []


def test_the_later_entry_counts_whatever_its_time_says(beds: Beds) -> None:
    """A clock that was set back does not bring back an old value."""
    beds.say(begin())
    beds.say(measured(72))
    beds.say(measured(80, time=NOON - 1000))
    assert beds.row().cells["HR"] == "80"


def test_what_a_device_signed_is_marked(beds: Beds) -> None:
    """A batch shows its last reading."""
    beds.say(Instrument("PO-1").batch(71, 75, time=NOON, subject=ANNA))
    row = beds.row()
    assert (row.signed, row.cells["HR"], row.state) == (True, "75", "live")


def test_blood_pressure_needs_both_and_lasts_longer(beds: Beds) -> None:
    """A cuff measures every half hour; half a pressure is none."""
    beds.say(begin())
    beds.say(measured(samples=[("8480-6", "120", "mm[Hg]"), ("8867-4", "72", "/min")]))
    assert beds.row().cells["NIBP"] == ""
    beds.say(measured(samples=[("8480-6", "120", "mm[Hg]"), ("8462-4", "80", "mm[Hg]")]))
    beds.say(Cadence(device="MON-7", interval=60_000, time=NOON))
    beds.say(measured(samples=[("9279-1", "14", "/min")], time=NOON + 1_800_000))
    row = beds.row(NOON + 1_800_000)
    assert (row.cells["NIBP"], row.cells["HR"], row.cells["RR"]) == ("120/80", "", "14")


def test_a_batch_of_nobody_is_not_shown_as_the_patients(beds: Beds) -> None:
    """What was sealed while nobody knows who lay there has no subject, and no quarantine to say so."""
    beds.say(begin(device="PO-1"))
    assert beds.row().state == "waiting"
    oximeter = Instrument("PO-1")
    beds.say(oximeter.batch(71, time=NOON))
    assert (beds.row().state, beds.row().cells["HR"]) == ("nobody's", "")
    beds.say(oximeter.batch(72, time=NOON, subject=ANNA))
    assert (beds.row().state, beds.row().cells["HR"]) == ("live", "72")


@pytest.mark.parametrize("promised", [True, False])
def test_a_value_from_the_future_is_not_shown(beds: Beds, promised: bool) -> None:
    """Of a box whose clock is ahead nobody knows how old a value is: it would look live for ever."""
    beds.say(begin())
    if promised:
        beds.say(Cadence(device="MON-7", interval=60_000, time=NOON))
    beds.say(measured(time=NOON + 61_000))
    assert (beds.row().state, beds.row().cells["HR"]) == ("clock", "")
    beds.say(measured(samples=[("9279-1", "14", "/min")], time=NOON))  # its clock was set
    row = beds.row()
    assert (row.state, row.cells["HR"], row.cells["RR"]) == ("live", "", "14")


def test_an_old_value_does_not_come_back_with_the_signal(beds: Beds) -> None:
    """Lost, and there again: what was measured before the loss is not the present value."""
    beds.say(begin())
    beds.say(measured())
    beds.say(DeviceStatus(device="MON-7", state="lost", time=NOON))
    beds.say(DeviceStatus(device="MON-7", state="live", time=NOON + 1000))
    assert beds.row(NOON + 2000).cells["HR"] == ""


def test_an_alarm_stays_until_it_ends(beds: Beds) -> None:
    """The numerics that come each second say nothing of it; its end does, or five minutes without a word of it."""
    beds.say(begin())
    beds.say(measured(alarm="SPO2 LOW (start)"), measured(alarm="TACHY", time=NOON + 1000))
    beds.say(measured(time=NOON + 2000))
    assert beds.row(NOON + 2000).alarm == "TACHY"
    beds.say(measured(alarm="TACHY (end)", time=NOON + 3000))
    assert beds.row(NOON + 3000).alarm == "SPO2 LOW (start)"
    beds.say(measured(time=NOON + 300_001))
    assert beds.row(NOON + 300_001).alarm is None


def test_two_halves_of_two_pressures_are_none(beds: Beds) -> None:
    """The systolic of one measurement with the diastolic of another."""
    beds.say(begin())
    beds.say(measured(samples=[("8480-6", "120", "mm[Hg]"), ("8462-4", "80", "mm[Hg]")]))
    beds.say(measured(samples=[("8480-6", "190", "mm[Hg]")], time=NOON + 1000))
    assert beds.row(NOON + 2000).cells["NIBP"] == ""


def test_of_two_codes_of_a_value_the_present_one_is_shown(beds: Beds) -> None:
    """The monitor's oximeter was taken off, a laboratory's saturation came."""
    beds.say(begin())
    beds.say(measured(samples=[("59408-5", "97", "%")]))
    beds.say(measured(samples=[("2708-6", "91", "%")], time=NOON + 300_000))
    assert beds.row(NOON + 300_001).cells["SpO2"] == "91"


# --- the command -----------------------------------------------------------------------------------------------------


def medledger(*arguments: object, encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
    """The real program, with a stdout of that encoding."""
    return subprocess.run(
        [sys.executable, "-m", "medledger", *map(str, arguments)],
        capture_output=True,
        encoding=encoding,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        timeout=60,
    )


def now() -> int:
    """UTC milliseconds."""
    return time.time_ns() // 1_000_000


def test_the_table_and_the_json_say_the_same(tmp_path: Path) -> None:
    """Where stdout is no terminal, what the replica holds is shown once."""
    with closing(found(tmp_path)) as ledger:
        ledger.append(begin(), measured(time=now(), alarm="TACHY"))
    text = medledger("ward", tmp_path / "founder.db").stdout
    assert "1 with an alarm, 1 live" in text
    cells = text.splitlines()[-1].split()
    assert cells[:9] == ["ICU-3", "MON-7", "00010203", "live", "72", "-", "-", "-", "-"]
    assert cells[-1] == "TACHY"
    (row,) = map(json.loads, medledger("ward", tmp_path / "founder.db", "--json").stdout.splitlines())
    assert (row["location"], row["values"], row["alarm"]) == ("ICU-3", {"HR": "72"}, "TACHY")


def test_an_empty_ledger_has_no_beds(tmp_path: Path) -> None:
    """And says so."""
    found(tmp_path).close()
    assert "No bed has said anything yet." in medledger("ward", tmp_path / "founder.db").stdout


@pytest.mark.parametrize("key", ["q", "Ctrl-C"])
def test_it_is_live_on_a_terminal_and_ends_with_a_key(tmp_path: Path, key: str) -> None:
    """On a real pseudo-terminal, with Ctrl-C and q; the screen before comes back, and the cursor."""
    with closing(found(tmp_path)) as ledger:
        ledger.append(begin(), measured(time=now()))
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "medledger", "ward", str(tmp_path / "founder.db"), "--offline"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "24"},
        start_new_session=True,
    )
    os.close(terminal)
    seen = b""
    until = time.monotonic() + 30
    while b"MON-7" not in seen and time.monotonic() < until:
        if select.select([main], [], [], 0.2)[0]:
            seen += os.read(main, 65536)
    assert b"MON-7" in seen
    if key == "q":
        os.write(main, key.encode())
    else:
        process.send_signal(signal.SIGINT)  # as the terminal that is its own would
    while process.poll() is None and time.monotonic() < until:
        if select.select([main], [], [], 0.2)[0]:
            try:
                seen += os.read(main, 65536)
            except OSError:
                break
    assert process.wait(60) == 0
    assert seen.rstrip().endswith(b"\x1b[?25h\x1b[?1049l")
    os.close(main)


def test_a_file_whose_encoding_lacks_a_character_is_no_error(tmp_path: Path) -> None:
    """What Latin-1 has no letters for is replaced in as many cells; nothing is cut, as it would be on a terminal."""
    place = "病室三号室 with a name longer than what 80 columns leave to it"
    with closing(found(tmp_path)) as ledger:
        ledger.append(begin(location=place), measured(time=now()))
    shown = medledger("ward", tmp_path / "founder.db", encoding="latin-1")
    assert (shown.returncode, shown.stderr) == (0, "")
    line = shown.stdout.splitlines()[-1]
    assert line.startswith("?" * 10 + place[5:])
    assert line.split()[-1] == "s"
