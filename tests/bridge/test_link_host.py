"""The host takes each batch once, in order, from a device that it accepted, and says what it refuses and why."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices_on_lines import BOOT, KEY, UNFIT, device, frames, measure, signed
from medledger import cbor
from medledger.errors import MedledgerError, UsageError
from medledger.records import DeviceBatch
from medledger_bridge.errors import LinkBatchError, LinkRollbackError
from medledger_bridge.link import batch as batches
from medledger_bridge.link.batch import SignedBatch, UnfitBatch
from medledger_bridge.link.frames import Deframer, wrap
from medledger_bridge.link.host import Duplicate, Event, Link, Missing, Refused
from medledger_bridge.link.messages import ACK, ASK, BATCH, ERROR, HELLO, Ack, Hello, Refusal

OTHER_SEED = bytes(32)
HOUR = 3_600_000


def hello(following: int = 1, *, boot: bytes = BOOT, key: bytes = KEY, name: str = "SIM-1", sequence: int = 0) -> bytes:
    """A hello on the line."""
    return wrap(HELLO, sequence, Hello(name, key, boot, following, 1, 0, "model", "1").encode())


def said(batch: SignedBatch, *, oldest: int = 1, sequence: int = 1) -> bytes:
    """A batch on the line."""
    return wrap(BATCH, sequence, batches.encode(oldest, batch))


def replies(link: Link) -> list[Ack | Refusal | str]:
    """What the host says."""
    kinds = {ACK: Ack.decode, ERROR: Refusal.decode, ASK: lambda _: "ask"}
    return [kinds[frame.kind](frame.body) for frame in Deframer().feed(link.outgoing())]


def accepted(durable: int = 0, following: int = 1000) -> Link:
    """A host that takes batches of the device."""
    link = Link()
    link.opened()
    link.feed(hello(following))
    link.accept(durable)
    link.outgoing()
    return link


def counters(events: list[Event]) -> list[int]:
    """The batches among the events."""
    return [event.counter for event in events if isinstance(event, SignedBatch)]


def test_a_device_is_heard_from_its_hello_to_the_acknowledgement() -> None:
    """The host asks, the device says who it is, sends, and forgets what is acknowledged: only that."""
    link, instrument = Link(), device()
    measure(instrument, 3)
    link.opened()
    frames(instrument)
    instrument.receive(link.outgoing(), 0)
    first, *rest = frames(instrument)
    assert link.feed(first) == [instrument.hello()]
    assert instrument.hello().key == KEY
    link.accept(0)
    assert counters([event for frame in rest for event in link.feed(frame)]) == [1, 2, 3]
    assert replies(link) == [Ack(BOOT, 0)]
    link.acknowledge(2)
    instrument.receive(link.outgoing(), 0)
    assert instrument.oldest == 3
    link.acknowledge(3)
    instrument.receive(link.outgoing(), 0)
    assert instrument.idle


def test_what_comes_out_is_a_record_of_the_ledger() -> None:
    """Subject and time are the agent's, the rest is what the device signed."""
    [batch] = accepted().feed(said(signed(1)))
    assert isinstance(batch, SignedBatch)
    record = batch.to_record(subject=b"s" * 16, time=5)
    assert isinstance(record, DeviceBatch)
    assert (record.subject, record.time) == (b"s" * 16, 5)
    assert record.to_content() == batch.content()


def test_batches_before_the_acceptance_stay_with_the_device() -> None:
    """An unknown sender is asked for its hello; a known one waits for the driver."""
    link = Link()
    assert link.feed(said(signed(1))) == []
    assert replies(link) == ["ask"]
    link.feed(hello(2))
    assert link.feed(said(signed(1))) == []
    assert link.counts.early == 2
    assert replies(link) == []
    link.accept(0)
    assert replies(link) == [Ack(BOOT, 0), Refusal(0, "order", 1)]  # come back at once, not after the device's timer
    with pytest.raises(UsageError):
        Link().accept(0)
    with pytest.raises(UsageError):
        Link().acknowledge(0)


def test_a_host_that_starts_anew_goes_on_where_the_ledger_ends() -> None:
    """The device hears at once what it may forget, and nothing that is durable comes out a second time unsaid."""
    link = Link()
    link.feed(hello(9))
    link.accept(5)
    assert replies(link) == [Ack(BOOT, 5)]
    events = link.feed(said(signed(5)) + said(signed(6)))
    assert events == [Duplicate(signed(5), known=False), signed(6)]


def test_a_batch_ahead_of_one_that_the_line_lost_is_not_taken() -> None:
    """The host asks for the one that is missing, once for each gap; nothing is named as lost that still can come."""
    link = accepted()
    assert counters(link.feed(said(signed(1)))) == [1]
    assert link.feed(said(signed(3), sequence=3) + said(signed(4), sequence=4)) == []
    assert replies(link) == [Refusal(3, "order", 2)]
    assert (link.counts.ahead, link.counts.lost) == (2, 1)
    assert counters(link.feed(said(signed(2)) + said(signed(3)))) == [2, 3]


def test_a_batch_that_the_device_no_longer_keeps_is_named() -> None:
    """The counters that will never come stand before the batch that comes instead, once."""
    link = accepted()
    link.feed(said(signed(1)))
    assert link.feed(said(signed(5), oldest=5)) == [Missing(2, 4), signed(5)]
    assert link.feed(said(signed(6), oldest=6)) == [signed(6)]


def test_what_is_missing_is_told_apart_from_what_the_line_lost() -> None:
    """Dropped by the device: named. Kept by the device: asked for."""
    link = accepted()
    assert link.feed(said(signed(7), oldest=5, sequence=9)) == [Missing(1, 4)]
    assert replies(link) == [Refusal(9, "order", 5)]
    assert link.feed(said(signed(5), oldest=5)) == [signed(5)]


def test_a_repeated_batch_is_acknowledged_again_and_comes_out_once() -> None:
    """The acknowledgement was lost, not the batch."""
    link = accepted()
    link.feed(said(signed(1)))
    link.acknowledge(1)
    link.outgoing()
    assert link.feed(said(signed(1))) == [Duplicate(signed(1), known=True)]
    assert replies(link) == [Ack(BOOT, 1)]
    assert link.counts.duplicates == 1


def test_a_repetition_is_not_acknowledged_before_the_commit() -> None:
    """The acknowledgement names what is durable, whatever the device repeats."""
    link = accepted()
    link.feed(said(signed(1)) + said(signed(2)))
    link.acknowledge(1)
    link.outgoing()
    link.feed(said(signed(2)))
    assert replies(link) == [Ack(BOOT, 1)]


def test_another_batch_under_a_counter_that_was_used_is_left_to_the_driver() -> None:
    """Two devices under one key: the second's batch is handed over as evidence and not acknowledged by itself."""
    link = accepted()
    first, second = signed(1), signed(1, start=99)
    assert first.signature != second.signature
    link.feed(said(first))
    link.acknowledge(1)
    link.outgoing()
    assert link.feed(said(second)) == [Duplicate(second, known=False)]
    assert replies(link) == []
    link.acknowledge(1)
    assert replies(link) == [Ack(BOOT, 1)]


def test_nothing_is_acknowledged_that_did_not_come_out() -> None:
    """A driver that mixes up two lines is told so."""
    link = accepted()
    link.feed(said(signed(1)))
    with pytest.raises(UsageError):
        link.acknowledge(2)


@pytest.mark.parametrize("field", range(2, 7))
def test_a_batch_that_was_altered_is_refused(field: int) -> None:
    """Whatever field an agent or a cable changes, the signature no longer fits; the device keeps the true one."""
    link = accepted()
    fields = [getattr(signed(1), name) for name in batches.FIELDS]
    fields[field] = {
        2: b"boot-id2",
        3: 2,
        4: 2,
        5: [[1, [["8867-4", [200, 0], "/min"]]]],
        6: bytes(64),
    }[field]
    raw = cbor.encode([1, 0, fields])
    [refused] = link.feed(wrap(BATCH, 1, raw))
    assert isinstance(refused, Refused)
    assert refused.reason == "batch"
    assert replies(link) == [Refusal(1, "batch", 1)]
    assert link.feed(said(signed(1))) == [signed(1)]
    with pytest.raises(LinkBatchError):
        batches.decode(raw)


def test_a_signed_batch_that_no_entry_can_hold_takes_its_place() -> None:
    """It comes out as it came, with the field that does not conform, is acknowledged, and holds up none behind it."""
    link, instrument = accepted(), device()
    measure(instrument, 1)
    instrument.measure(5, UNFIT)
    measure(instrument, 1, 6)
    frames_said = frames(instrument, 6)
    first, unfit, third = link.feed(b"".join(frames_said))[1:]
    assert isinstance(unfit, UnfitBatch)
    assert [first.counter, unfit.counter, third.counter] == [1, 2, 3]
    assert (unfit.device, unfit.key) == ("SIM-1", KEY)
    assert unfit.problem.startswith("content.readings[0][1][0][2] must be")
    assert cbor.decode(unfit.body, max_size=4096)[5] == [[5, [["8867-4", [72, 0], "beats a minute"]]]]
    assert link.feed(frames_said[2]) == [Duplicate(unfit, known=True)]
    link.acknowledge(3)
    instrument.receive(link.outgoing(), 6)
    assert instrument.idle


@pytest.mark.parametrize("place", range(len(batches.FIELDS)))
def test_what_does_not_conform_and_is_not_signed_is_refused(place: int) -> None:
    """Whoever holds the line cannot make the device forget a batch, whatever is in the place of a field."""
    instrument = device()
    instrument.measure(5, UNFIT)
    frame = frames(instrument, 5)[1]
    [parsed] = Deframer().feed(frame)
    oldest, age, fields = cbor.decode(parsed.body, max_size=4096)
    link = accepted()
    for other in (None, [], {}, {"a": 1}, -1, 0, 2**53, 2**63 - 1, "", "x" * 65, b"", bytes(32), bytes(64), True):
        changed = [*fields[:place], other, *fields[place + 1 :]]
        [refused] = link.feed(wrap(BATCH, 1, cbor.encode([oldest, age, changed])))
        assert isinstance(refused, Refused)
        assert refused.reason in ("batch", "body", "key")
    assert isinstance(link.feed(frame)[0], UnfitBatch)


def test_a_batch_of_another_key_or_name_is_refused() -> None:
    """A line speaks for one device at a time, the one that said hello."""
    link = accepted()
    for other in (signed(1, seed=OTHER_SEED), signed(1, name="SIM-2")):
        [refused] = link.feed(said(other))
        assert isinstance(refused, Refused)
        assert refused.reason == "key"


def test_a_forged_batch_under_the_devices_key_is_refused() -> None:
    """Signed by somebody else, in the name of the device."""
    forged = signed(1, seed=OTHER_SEED)
    raw = cbor.encode([1, 0, [forged.device, KEY, *[getattr(forged, name) for name in batches.FIELDS[2:]]]])
    [refused] = accepted().feed(wrap(BATCH, 1, raw))
    assert isinstance(refused, Refused)
    assert refused.reason == "batch"


def test_a_device_whose_counter_went_back_is_refused_and_named() -> None:
    """Its memory was restored, or its key copied: its batches would pass as repetitions, so none is taken."""
    link = Link()
    link.feed(hello(5))
    with pytest.raises(LinkRollbackError) as caught:
        link.accept(5)
    assert caught.value.hint is not None
    assert replies(link) == [Refusal(0, "rolled-back", 0)]
    assert link.feed(said(signed(6))) == []


def test_a_device_that_is_reset_goes_on_and_one_that_goes_back_is_refused() -> None:
    """After a reset the counter goes on under another boot id; acknowledgements are for that boot."""
    link = accepted(following=3)
    link.feed(said(signed(1)) + said(signed(2)))
    link.acknowledge(2)
    assert [type(event) for event in link.feed(hello(3, boot=b"boot-id2"))] == [Hello]
    assert replies(link) == [Ack(b"boot-id2", 2)]
    assert counters(link.feed(said(signed(3, boot=b"boot-id2"), oldest=3))) == [3]
    events = link.feed(hello(2, boot=b"boot-id3"))
    assert [type(event) for event in events] == [Hello, Refused]
    assert replies(link) == [Refusal(0, "rolled-back", 0)]
    assert link.feed(said(signed(4), oldest=4)) == []


def test_a_device_that_went_back_is_not_accepted_by_a_hasty_driver() -> None:
    """Even when the batches that give it away are not committed yet."""
    link = accepted(following=3)
    link.feed(said(signed(1)) + said(signed(2)))
    link.feed(hello(2, boot=b"boot-id2"))
    with pytest.raises(LinkRollbackError):
        link.accept(0)
    link.feed(hello(3, boot=b"boot-id3"))
    link.accept(0)
    assert counters(link.feed(said(signed(3)))) == [3]


def test_a_batch_sealed_after_a_hello_does_not_make_its_device_one_that_went_back() -> None:
    """Both come in one read, and the driver answers the hello when the batch has come out."""
    link = accepted(following=5, durable=4)
    events = link.feed(hello(5) + said(signed(5)))
    assert [type(event) for event in events] == [Hello, SignedBatch]
    link.accept(4)
    link.acknowledge(5)
    assert replies(link)[-1] == Ack(BOOT, 5)


def test_a_frame_that_waited_while_the_line_was_closed_does_not_count() -> None:
    """Its age is that of the moment when it was made. The device says hello, and the batch again."""
    link = accepted()
    link.opened()
    assert link.feed(said(signed(1))) == []
    link.outgoing()
    link.feed(hello(2))
    link.accept(0)
    assert replies(link) == [Ack(BOOT, 0), Refusal(0, "order", 1)]
    assert link.feed(said(replace(signed(1), age=HOUR))) == [signed(1)]


def test_another_device_on_the_line_begins_anew() -> None:
    """The cable was moved: nothing of the first device's counters is applied to the second."""
    link = accepted(durable=40, following=41)
    other = signed(1, seed=OTHER_SEED)
    link.feed(hello(2, key=other.key))
    assert link.accepted is False
    assert link.feed(said(other)) == []
    link.accept(0)
    assert link.feed(said(other)) == [other]
    assert replies(link) == [Ack(BOOT, 0), Refusal(0, "order", 1)]


def test_a_device_that_gives_itself_another_name_is_accepted_anew() -> None:
    """Under the same key too: the name says whose readings these are, and the driver has not judged it yet."""
    link = accepted(durable=4)
    batch = said(signed(5, name="SIM-2"), oldest=5)
    assert [type(event) for event in link.feed(hello(6, name="SIM-2") + batch)] == [Hello]
    assert link.accepted is False
    link.accept(4)
    assert counters(link.feed(batch)) == [5]
    link.feed(hello(5))
    with pytest.raises(LinkRollbackError):  # another name does not make it forget what came under the key
        link.accept(4)


def test_a_device_that_is_refused_is_told_so_and_heard_no_more() -> None:
    """Its key is not enrolled, or retired: it keeps what it has."""
    link = accepted()
    link.refuse()
    assert replies(link) == [Refusal(0, "refused", 0)]
    assert link.feed(said(signed(1))) == []


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (wrap(BATCH, 1, b"\x80", version=2), "version"),
        (wrap(0x3F, 1, b"\x80"), "kind"),
        (wrap(BATCH, 1, b"\x80"), "body"),
        (wrap(HELLO, 1, b"\xa0"), "body"),
        (wrap(BATCH, 1, b"\x9f\xff"), "body"),
        (wrap(BATCH, 1, b"\xd8\x23\x63(a+"), "body"),
        (wrap(BATCH, 1, b"\xfb" + bytes(8)), "body"),
        (wrap(BATCH, 1, b"\x82\x01\x80\x00"), "body"),
        (wrap(BATCH, 1, b"\x81" * 200 + b"\x80"), "body"),
        (wrap(BATCH, 1, cbor.encode([1, 0, [None] * 7])), "batch"),
        (wrap(BATCH, 1, cbor.encode([1, [None] * 7])), "body"),
        (wrap(BATCH, 1, cbor.encode([True, 0, [None] * 7])), "body"),
        (wrap(BATCH, 1, cbor.encode([1, 0, ["SIM-1", KEY, BOOT, True, 1, [[1, []]], bytes(64)]])), "batch"),
        (wrap(BATCH, 1, cbor.encode([1, 0, ["SIM-1", KEY, BOOT, 1, 1, [[1, [{1: 2}]]], bytes(64)]])), "batch"),
        (wrap(BATCH, 1, cbor2.dumps([1.5, 0, [None] * 7], canonical=True)), "body"),
        (wrap(BATCH, 1, cbor2.dumps([1, 0, ["SIM-1", KEY, BOOT, 1.5, 1, [], bytes(64)]], canonical=True)), "body"),
        (said(replace(signed(3), age=-1)), "body"),
        (said(replace(signed(3), age=2**53 - 3)), "body"),  # it was sealed at an uptime of 3 ms
        (said(replace(signed(3), age=True)), "body"),
        (said(signed(3), oldest=4), "body"),
        (hello(2**53 + 1), "body"),
        (hello(name=""), "body"),
        (hello(name="x" * 65), "body"),
        (hello(name="SIM-1\x1b[2J"), "body"),  # what a device calls itself is shown on a terminal
        (hello(name="SIM-1\nall is well"), "body"),
    ],
)
def test_what_a_device_may_not_say_is_refused_by_name(frame: bytes, reason: str) -> None:
    """The device is told the reason and the frame; nothing else changes."""
    link = accepted()
    [refused] = link.feed(frame)
    assert isinstance(refused, Refused)
    assert refused.reason == reason
    [reply] = replies(link)
    assert isinstance(reply, Refusal)
    assert (reply.reason, reply.counter) == (reason, 1)
    assert counters(link.feed(said(signed(1)))) == [1]


def test_a_line_that_is_looped_back_is_counted() -> None:
    """The host hears its own frames and answers none, or the two would talk for ever."""
    link = accepted()
    for frame in (wrap(ACK, 1, Ack(BOOT, 9).encode()), wrap(ASK, 1, b"\x80"), wrap(ERROR, 1, b"\x80")):
        assert link.feed(frame) == []
    assert link.counts.echoes == 3
    assert link.outgoing() == b""


def test_the_replies_of_a_host_are_bounded_whatever_it_hears() -> None:
    """A thousand bad frames leave one report to send."""
    link = accepted()
    for number in range(1000):
        link.feed(wrap(0x3F, number, b"\x80"))
    assert replies(link) == [Refusal(999, "kind", 1)]
    assert link.counts.refused == 1000


@given(
    st.lists(
        st.sampled_from([HELLO, BATCH, ACK, 7]).flatmap(
            lambda kind: st.tuples(st.just(kind), st.binary(min_size=1, max_size=80))
        )
    )
)
def test_no_frames_make_the_host_raise(messages: list[tuple[int, bytes]]) -> None:
    """Frames whose CRC is right are as hostile as any bytes."""
    link = accepted()
    for kind, content in messages:
        for event in link.feed(wrap(kind, 0, content)):
            assert isinstance(event, Refused)
    for message in (Hello, Ack, Refusal):
        for _, content in messages:
            with contextlib.suppress(MedledgerError):
                message.decode(content)


def test_an_age_is_of_the_transmission_and_not_of_the_batch() -> None:
    """As the device said it, or none where it does not know; it is in no entry and makes no other batch."""
    link = accepted()
    for counter, age in ((1, 0), (2, HOUR), (3, None), (4, 2**53 - 5)):
        [batch] = link.feed(said(replace(signed(counter), age=age)))
        assert isinstance(batch, SignedBatch)
        assert batch.age == age
        assert "age" not in batch.content()
        assert link.feed(said(replace(signed(counter), age=17))) == [Duplicate(batch, known=True)]
