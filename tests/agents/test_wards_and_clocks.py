"""A whole ward, and boxes with every kind of clock: nobody is ever given what was measured outside his stays.

What happens is drawn first: who lay in a bed and when, to the millisecond. Then how it is told (late, twice, out of
order, to the minute), what a monitor and a wired device measure and how long they keep it, how wrong the box's clock is
and when it is set, when the agent is started again and when the machine. All of it goes through the agent's own
decisions, and in the end an auditor's rule says whose each reading is. Nothing here sleeps or listens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from devices import Instrument
from medledger.associations import standing
from medledger.records import DeviceBatch, Reading
from medledger_agents.bedside.ward import logged_associations
from ward_world import BED, HOUR, MARGINS, MINUTE, NEXT, NINE, NTP, SECOND, SUBJECTS, Adt, Box, Clock, Measured, draft


@dataclass(frozen=True)
class Stay:
    """A patient in bed A; `numbers` are all that he has had in the end."""

    numbers: tuple[str, ...]
    begin: int
    end: int


EARLY = st.sampled_from((0, 0, SECOND, 30 * SECOND, 7 * MINUTE, 25 * MINUTE))
AROUND = st.sampled_from(
    (-HOUR, -10 * MINUTE, -2 * MINUTE, -20 * SECOND, -1, 0, 1, 20 * SECOND, 2 * MINUTE, 10 * MINUTE)
)
KEPT = st.sampled_from((0, 0, 0, SECOND, 50 * SECOND, 5 * MINUTE, 40 * MINUTE, 3 * HOUR))
OFF = st.sampled_from((0, 0, HOUR, -HOUR, 10 * MINUTE, -10 * MINUTE, 40 * SECOND, -40 * SECOND, 24 * HOUR, -NINE))


@dataclass
class Story:
    """Everything that happens, by when it reaches the box."""

    clock: Clock
    stays: list[Stay]
    events: list[tuple[int, Any]]


@st.composite
def measurements(draw: st.DrawFn, clock: Clock, turns: list[int]) -> tuple[int, Measured]:
    """One about when somebody came or went, and when it is decided on.

    A synchronised device is off by the bound at most. Any other says anything, but what is older than the delay does
    not happen to look as if it was not.
    """
    true, kept, waits = draw(st.sampled_from(turns)) + draw(AROUND), draw(KEPT), draw(st.sampled_from((0, 0, SECOND)))
    kind = draw(st.sampled_from(("wired", "batch", "ntp", "none")))
    claim, sync = None, None
    if kind == "ntp":
        claim, sync = true + draw(st.sampled_from((-5 * SECOND, 0, 5 * SECOND))), NTP
    elif kind == "none":
        claim = true + draw(st.sampled_from((0, 0, HOUR, -HOUR, -30 * SECOND)))
        assume(kept <= MARGINS.delay or abs(clock.read(true + kept)[0] - claim) > MARGINS.delay)
    elif kind == "wired":
        kept = min(kept, SECOND)
    device = "MON" if claim is not None else f"PO {kind}"
    return true + kept + waits, Measured(device, true, kept, claim, sync, waits)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """The clocks first; then patients one after the other, and what is told and measured of them."""
    begin = NINE - 10 * HOUR
    steps = sorted(draw(st.lists(st.integers(-60, 300), max_size=3)))
    offsets = [(begin, draw(OFF)), *((NINE + step * MINUTE + 13, draw(OFF)) for step in steps)]
    again = draw(st.lists(st.tuples(st.integers(-30, 300), st.booleans()), max_size=3))
    starts = [(NINE + minutes * MINUTE + 7, machine) for minutes, machine in again]
    clock = Clock(offsets, sorted([begin, *(at for at, machine in starts if machine)]))
    right = not any(offset for _, offset in offsets)
    behind = any(-NINE < offset < 0 for _, offset in offsets)
    late = st.just(0) if behind else st.sampled_from((0, 0, 0, SECOND, 3 * MINUTE, 40 * MINUTE))
    events: list[tuple[int, Any]] = []
    stays: list[Stay] = []

    def tell(message: Adt) -> None:
        for _ in range(draw(st.sampled_from((1, 1, 1, 2)))):
            events.append((message.sent + draw(late), message))

    def say(trigger: str, number: str, at: int, **more: Any) -> None:
        tell(Adt(trigger, number, at, at + draw(EARLY), minute=draw(st.booleans()), **more))

    at = NINE
    for turn in range(draw(st.integers(1, 4))):
        came = at + draw(st.sampled_from((0, 17 * SECOND, 4 * MINUTE, HOUR)))
        went = at = came + draw(st.sampled_from((40 * SECOND, 10 * MINUTE, HOUR, 2 * HOUR)))
        # A wrong clock can date what was after a patient's stay into another stay of the same patient.
        number = draw(st.sampled_from(("1", "2", f"3{turn}"))) if right else f"3{turn}"
        others = tuple(f"9{number}{each}" for each in range(draw(st.sampled_from((0, 0, 1)))))
        stays.append(Stay((number, *others), came, went))
        if draw(st.booleans()):
            say("A01", number, came)
        else:
            say("A02", number, came, prior="SURG^9")
        for other in others:
            say("A40", other, (came + went) // 2, merged=number)
        last = draw(st.sampled_from((number, *others)))
        # That a patient is elsewhere is remembered until the next start, where it is told before he was known here.
        match draw(st.sampled_from(("A03", "A03", "A02") if starts else ("A03", "A03", "A02", "A08"))):
            case "A03":
                say("A03", last, went)
            case "A02":
                say("A02", last, went, bed=NEXT, prior=BED if starts else draw(st.sampled_from((BED, ""))))
                say("A03", last, went + HOUR, bed=NEXT)
            case trigger:
                say(trigger, last, went, bed="SURG^9")
    for when, _ in [*offsets, *starts]:  # another ward's patient: the box hears when it is
        if behind or draw(st.booleans()):
            events.append((when + 1, Adt("A08", "other", when, when, bed="SURG^9")))
    turns = [at for stay in stays for at in (stay.begin, stay.end)]
    events += [draw(measurements(clock, turns)) for _ in range(draw(st.integers(4, 16)))]
    events += [(at, "start") for at, _ in starts]
    return Story(clock, stays, sorted(draw(st.permutations(events)), key=lambda each: each[0]))


def play(story: Story) -> list[tuple[Measured, list[bytes]]]:
    """Let it all happen. What was measured, and whose it is in the end: by the agent's rule, and by an auditor's.

    An auditor knows nothing of margins, and so is not asked about a device whose clock is off within its own.
    """
    box, instrument = Box(story.clock), Instrument("PO")
    logged = []
    for when, what in story.events:
        box.true = when
        if what == "start":
            box.start()
        elif isinstance(what, Adt):
            box.hear(what.raw())
        else:
            found = box.take(draft(what, box.clock.read(when - what.waits)[0], instrument))
            assert len([each for each in found if isinstance(each, Reading | DeviceBatch)]) == 1
            logged.append((what, (len(box.blocks) - 1, 0)))
    known, ruled = logged_associations(cast(Any, box)), box.attribution()
    found = []
    entries = {(each.seq, each.index): each for name in ("reading", "device.batch") for each in box.entries(name)}
    for what, place in logged:
        entry = entries[place]
        whose = []
        if entry.type == "reading":
            reading = Reading.from_content(entry.content, subject=entry.subject, time=entry.time)
            whose.append(standing(reading, known, MARGINS)[0])
        if what.sync is None or what.claim == what.true:
            whose.append(ruled.whose(place, entry)[0])
        found.append((what, [each for each in whose if each is not None]))
    return found


@settings(max_examples=400)
@given(stories())
def test_nobody_is_given_what_was_measured_outside_his_stays(story: Story) -> None:
    """Whatever is late, wrong, twice, or started again: by all that stands in the end, a reading is somebody's who lay
    there when it was measured, or nobody's.
    """
    names: dict[str, set[str]] = {}
    for stay in story.stays:
        names.setdefault(stay.numbers[0], set()).update(stay.numbers)
    for what, owners in play(story):
        event("somebody's" if owners else "nobody's")
        for whose in owners:
            there = {
                SUBJECTS.subject(number, "HOSP", at)
                for stay in story.stays
                if stay.begin <= what.true < stay.end
                for number in names[stay.numbers[0]]
                for at in (NINE, *(NINE + offset for _, offset in story.clock.offsets))
            }
            assert whose in there, what
