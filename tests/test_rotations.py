"""Which transport key is in use, in whatever order it is heard who handed out which; and the keys of a ledger."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance_history import History
from governance_world import World, enrolment, key, revocation, trio
from medledger import Identity, Ledger, governing, make_request
from medledger.acts import GovTransport
from medledger.ballot import Handing, Place
from medledger.errors import MembershipError
from medledger.governance import NOTHING
from medledger.keychain import Keychain
from medledger.keys import seal_to
from medledger.limits import MAX_HELD_KEYS, MAX_INT, MAX_SEALED_PER_ENTRY
from medledger.rekeying import DAY_MS
from medledger.rotations import Rotation, Rotations
from medledger.transport_key import TransportKey
from worlds import found, join, sync

seeds = st.integers(0, 2**64 - 1)


def name_of(label: str) -> bytes:
    """A key's name."""
    return sha256(label.encode()).digest()


def hand(world: World, who: str, label: str, *to: str, generation: int = 1, epoch: int = 0, after: Any = None) -> None:
    """A governor hands a key out."""
    boxes = sorted([key(name), bytes(80)] for name in to)
    content = {"epoch": epoch, "generation": generation, "key": name_of(label), "boxes": boxes}
    world.write(who, ("gov.transport", content), after=after)


def used(world: World) -> bytes | None:
    """The name of the key in use."""
    current = world.fold().transport.current
    return None if current is None else current.key


class TestWhichIsInUse:
    """The rules, one at a time."""

    def test_the_highest_generation_is(self) -> None:
        """Whatever the order in which keys are handed out."""
        world = World("ada")
        hand(world, "ada", "second", "ada", generation=2)
        hand(world, "ada", "first", "ada", generation=1)
        assert used(world) == name_of("second")

    def test_of_two_at_once_the_smaller_name_is(self) -> None:
        """Two governors that rotate at once, apart, end on one key."""
        world = trio()
        hand(world, "ada", "one", "ada", "ben", "cyd")
        hand(world, "ben", "two", "ada", "ben", "cyd")
        assert used(world) == min(name_of("one"), name_of("two"))

    def test_only_governors_hand_out_keys(self) -> None:
        """Not a member, not a governor of an epoch that is not effective, not one named in another epoch."""
        world = World("ada")
        world.decide("gov.enrol", enrolment("box"), "ada")
        hand(world, "box", "box's", "ada", "box")
        hand(world, "ada", "ada's", "ada", epoch=1)
        assert used(world) is None

    def test_a_governor_that_left_hands_out_no_more(self) -> None:
        """What lies within its closing counts, what comes after it does not, nor another branch."""
        world = trio()
        hand(world, "cyd", "before", "ada", "ben")
        closing = {"cyd": world.heads[key("cyd")]}
        world.decide("gov.epoch", world.successor("ada", "ben", closing=closing), "ada", "ben")
        hand(world, "cyd", "after", "ada", "ben", generation=2)
        hand(world, "cyd", "branch", "ada", "ben", generation=3, after=NOTHING)
        assert used(world) == name_of("before")
        assert [each.counts for each in world.fold().transport.ranked] == [False, False, True]

    def test_beyond_its_cut_a_governor_hands_out_nothing(self) -> None:
        """The thief of a revoked governor's key cannot make a key, whatever its number."""
        world = trio()
        hand(world, "ada", "good", "ada", "ben", "cyd")
        world.decide("gov.revoke", revocation("ben", world.heads.get(key("ben"), NOTHING)), "ada", "cyd")
        hand(world, "ada", "better", "ada", "cyd", generation=2)
        hand(world, "ben", "thief's", "ada", "ben", "cyd", generation=9)
        assert used(world) == name_of("better")

    def test_a_revoked_governors_number_does_not_bind(self) -> None:
        """A thief takes the highest number there is; once its key is revoked, the next key gets an ordinary one."""
        world = trio()
        hand(world, "ada", "good", "ada", "ben", "cyd")
        hand(world, "ben", "thief's", "ada", "ben", "cyd", generation=MAX_INT)
        assert used(world) == name_of("thief's")
        assert world.fold().transport.next_generation is None
        world.decide("gov.revoke", revocation("ben", world.heads[key("ben")]), "ada", "cyd")
        assert world.fold().transport.next_generation == 2
        hand(world, "cyd", "better", "ada", "cyd", generation=2)
        assert used(world) == name_of("better")

    def test_who_had_not_heard_of_a_revocation_does_not_displace_its_key(self) -> None:
        """A later generation that was sealed to the revoked box too comes after the one that was not."""
        world = trio()
        world.decide("gov.enrol", enrolment("box"), "ada", "ben")
        world.decide("gov.revoke", revocation("box"), "ada", "cyd")
        hand(world, "ada", "without box", "ada", "ben", "cyd")
        hand(world, "ben", "with box", "ada", "ben", "box", "cyd", generation=2)
        assert used(world) == name_of("without box")

    def test_where_every_key_is_leaked_the_newest_is(self) -> None:
        """It is said that it is leaked, and to whom."""
        world = World("ada")
        world.decide("gov.enrol", enrolment("box"), "ada")
        hand(world, "ada", "one", "ada", "box")
        hand(world, "ada", "two", "ada", "box", generation=2)
        assert world.fold().transport.leaked == ()
        world.decide("gov.revoke", revocation("box"), "ada")
        assert used(world) == name_of("two")
        assert world.fold().transport.leaked == (key("box"),)

    def test_the_first_key_is_known_to_whoever_was_ever_enrolled(self) -> None:
        """Generation 0 came with replies, of which the ledger does not tell."""
        world = World("ada")
        world.decide("gov.enrol", enrolment("box"), "ada")
        assert world.fold().transport.leaked == ()
        world.decide("gov.revoke", revocation("box"), "ada")
        assert world.fold().transport.leaked == (key("box"),)

    def test_further_entries_reach_further_members(self) -> None:
        """Of several governors, and told by generation and name."""
        world = trio()
        hand(world, "ada", "one", "ada", "ben")
        hand(world, "ben", "one", "cyd")
        current = world.fold().transport.current
        assert current is not None
        assert all(current.reaches(key(name)) for name in ("ada", "ben", "cyd"))
        assert not current.reaches(key("box"))


@given(seeds)
def test_a_key_in_use_is_leaked_only_where_every_counting_one_is(seed: int) -> None:
    """Over random histories, with what is listed, ranked and leaked derived once more, plainly."""
    membership = History(seed, 30).world.fold()
    transport = membership.transport
    for each in transport.ranked:
        holders = {feed for other in transport.ranked if other.key == each.key for feed in holders_of(other)}
        assert set(each.leaked) == holders & membership.cuts.keys()
    counting = [each for each in transport.ranked if each.counts]
    if counting:
        assert transport.current is not None
        assert bool(transport.current.leaked) == all(each.leaked for each in counting)
        rivals = [each for each in counting if bool(each.leaked) == bool(transport.current.leaked)]
        assert transport.current.generation == max(each.generation for each in rivals)
    else:
        assert transport.current is None


def holders_of(rotation: Rotation) -> set[bytes]:
    """Who was sent a rotation's key, or wrote it."""
    return {feed for each in rotation.handings for feed in (each.place.feed, *each.boxes)}


def test_the_histories_hold_what_is_to_be_judged() -> None:
    """Rotations that count and that do not, leaked and not, of several entries."""
    seen: Counter[str] = Counter()
    for seed in range(150):
        for each in History(seed, 30).world.fold().transport.ranked:
            seen["counts" if each.counts else "does not"] += 1
            seen["leaked"] += bool(each.leaked)
            seen["several"] += len(each.handings) > 1
    assert min(seen[what] for what in ("counts", "does not", "leaked", "several")) > 10, seen


# --- one member's keys --------------------------------------------------------------------------------------------


def rotation(identity: Identity, key: TransportKey, generation: int, box: bytes | None = None) -> Rotation:
    """A rotation with one copy, for one member."""
    sealed = seal_to(identity.kem_public_key, key.key) if box is None else box
    place = Place(bytes(32), generation, bytes(32), 0)
    handing = Handing(place, 0, generation, key.name, {identity.public_key: sealed})
    return Rotation(generation, key.name, (handing,), (), ())


def test_copies_that_give_nothing_are_passed_over_and_told_of() -> None:
    """One sealed to another, one of another key: the keys that open are used, in order."""
    me, other = Identity.generate(), Identity.generate()
    first, second, third, fourth = (TransportKey(bytes([n]) * 32) for n in range(1, 5))
    keychain = Keychain(me, first)
    ranked = (
        rotation(me, second, 1),
        rotation(me, third, 2, seal_to(other.kem_public_key, third.key)),
        rotation(me, fourth, 3, seal_to(me.kem_public_key, third.key)),
    )
    keychain.refresh(Rotations(ranked))
    assert list(keychain.keys) == [first, second]
    assert len(keychain.problems) == 2
    keychain.refresh(Rotations((*ranked, rotation(me, fourth, 4))))
    assert list(keychain.keys) == [first, second, fourth]


def test_a_reply_with_a_later_key_has_that_keys_place() -> None:
    """The key that joining brought is known by its name among those handed out."""
    me = Identity.generate()
    first, second, third = (TransportKey(bytes([n]) * 32) for n in range(1, 4))
    keychain = Keychain(me, second)
    keychain.refresh(Rotations(tuple(rotation(me, each, at) for at, each in enumerate((first, second, third), 1))))
    assert keychain.keys == (first, second, third)


def test_what_does_not_count_comes_first() -> None:
    """A key beyond a governor's cut is understood, and never spoken before any other."""
    me = Identity.generate()
    first, second = (TransportKey(bytes([n]) * 32) for n in range(1, 3))
    stray = rotation(me, second, 7)
    keychain = Keychain(me, first)
    keychain.refresh(Rotations((replace(stray, handings=(), strays=stray.handings),)))
    assert keychain.keys == (second, first)


def test_only_the_best_are_kept() -> None:
    """However many keys there were."""
    me = Identity.generate()
    keys = [TransportKey(bytes([n]) * 32) for n in range(2 * MAX_HELD_KEYS)]
    keychain = Keychain(me, keys[0])
    keychain.refresh(Rotations(tuple(rotation(me, each, at) for at, each in enumerate(keys[1:], 1))))
    assert keychain.keys == tuple(keys[-MAX_HELD_KEYS:])


# --- ledgers ------------------------------------------------------------------------------------------------------


def feed_of(ledger: Ledger) -> bytes:
    """A member's own feed."""
    assert ledger.me is not None
    return ledger.me


def test_a_revocation_brings_a_key_that_the_revoked_lacks(tmp_path: Path) -> None:
    """In the same transaction, for everybody else; the revoked member stays on the old one."""
    with found(tmp_path) as founder, join(founder, tmp_path, "box") as box, join(founder, tmp_path, "ward") as ward:
        old = founder.transport_key
        lengths: list[int] = []
        founder.watch(lambda advance: lengths.append(advance.last - advance.first + 1))
        founder.revoke(feed_of(box), reason="lost")
        assert lengths == [2]
        for ledger in (box, ward):
            sync(founder, ledger)
        assert founder.transport_keys == ward.transport_keys
        assert founder.transport_keys[0] == old != founder.transport_key
        assert box.transport_keys == (old,)
        status = ward.key_status()
        assert (status.generation, status.held, status.lacking, status.leaked) == (1, True, (), ())
        assert not box.key_status().held
        for ledger in (founder, ward):
            ledger.verify(every_signature=True)


def test_an_enrolment_brings_the_key_in_use(tmp_path: Path) -> None:
    """Nothing more in generation 0; later a copy on the ledger, so that the next governor knows who has it."""
    with found(tmp_path) as founder, join(founder, tmp_path, "early") as early:
        assert [entry.type for entry in founder.entries("gov.transport")] == []
        founder.rotate_transport_key()
        with join(founder, tmp_path, "late") as late:
            sync(founder, early)
            assert late.transport_keys == (founder.transport_key,)
            assert early.transport_keys == founder.transport_keys
            assert founder.key_status().lacking == ()
            assert len(list(founder.entries("gov.transport"))) == 2


def test_a_ledger_without_an_identity_has_no_keys_and_can_tell_of_them(tmp_path: Path) -> None:
    """An auditor's copy says which key is in use, since when, and does not hold it."""
    with found(tmp_path) as founder:
        genesis = founder.genesis.raw
        founder.rotate_transport_key()
        with Ledger.replicate(tmp_path / "audit.db", genesis) as audit:
            sync(founder, audit)
            assert audit.transport_keys == ()
            status = audit.key_status()
            assert (status.generation, status.held, status.by) == (1, False, founder.me)
            assert status.since == founder.key_status().since
            assert status.id == (founder.transport_key and founder.transport_key.id)


def test_who_is_no_governor_hands_out_nothing(tmp_path: Path) -> None:
    """By hand; and what another member's acts say is not followed by keys."""
    with found(tmp_path) as founder, join(founder, tmp_path, "box") as box:
        for attempt in (box.rotate_transport_key, box.share_transport_key):
            with pytest.raises(MembershipError, match="only a governor"):
                attempt()


def test_two_governors_that_rotate_apart_agree(tmp_path: Path) -> None:
    """Whichever they hear first, all three end with the same keys, in the same order."""
    with (
        found(tmp_path) as founder,
        join(founder, tmp_path, "second") as second,
        trio_of_ledgers(tmp_path, founder, second) as third,
    ):
        founder.rotate_transport_key()
        second.rotate_transport_key()
        for source, target in ((founder, second), (second, founder), (founder, third), (second, third)):
            sync(source, target)
        assert founder.transport_keys == second.transport_keys == third.transport_keys
        assert len(founder.transport_keys) == 3


def trio_of_ledgers(directory: Path, founder: Ledger, second: Ledger) -> Ledger:
    """A third member, and an epoch in which all three govern, two at a time."""
    third: Ledger = join(founder, directory, "third")
    governing.change_epoch(founder, governors=[feed_of(each) for each in (founder, second, third)])
    for ledger in (second, third):
        sync(founder, ledger)
    return third


def test_the_approval_that_completes_a_revocation_brings_the_key(tmp_path: Path) -> None:
    """The proposal alone does not; and who is about to be revoked gets no copy of a key it lacks."""
    with (
        found(tmp_path) as founder,
        join(founder, tmp_path, "second") as second,
        join(founder, tmp_path, "box") as box,
        trio_of_ledgers(tmp_path, founder, second) as third,
    ):
        founder.revoke(feed_of(box))
        assert founder.transport_keys == second.transport_keys
        sync(founder, second)
        [pending] = second.membership.pending
        second.approve(pending.id)
        sync(second, founder)
        sync(second, third)
        assert len(second.transport_keys) == 2
        assert founder.transport_keys == third.transport_keys == second.transport_keys
        assert founder.key_status().leaked == ()


def test_a_revocation_that_two_completed_unknowingly_is_mended_by_the_next_act(tmp_path: Path) -> None:
    """Two governors apart propose the same: neither knows of the other, and neither makes a new key. It is said so."""
    with (
        found(tmp_path) as founder,
        join(founder, tmp_path, "second") as second,
        join(founder, tmp_path, "box") as box,
        trio_of_ledgers(tmp_path, founder, second) as third,
    ):
        sync(founder, third)
        for ledger in (founder, third):
            ledger.revoke(feed_of(box))
        sync(founder, third)
        sync(third, founder)
        assert founder.key_status().leaked == (feed_of(box),)
        with join(founder, tmp_path, "next") as _:
            assert founder.key_status().leaked == ()
            assert founder.key_status().generation == 1
            sync(founder, third)
            assert third.transport_keys == founder.transport_keys


def test_a_member_that_lacks_the_key_is_told_of_and_given_it(tmp_path: Path) -> None:
    """Let in by a governor that had not heard of the rotation: the approval that completes it gives it a copy."""
    with (
        found(tmp_path) as founder,
        join(founder, tmp_path, "second") as second,
        trio_of_ledgers(tmp_path, founder, second) as third,
    ):
        identity = Identity.generate()
        reply = founder.enrol(make_request(identity, secret=bytes(16), label="late", roles=["bedside"]))
        third.rotate_transport_key()
        sync(third, second)
        sync(founder, third)
        sync(founder, second)
        second.approve(second.membership.pending[0].id)
        assert second.key_status().lacking == ()
        with Ledger.join(tmp_path / "late.db", identity, reply, bytes(16)) as late:
            assert late.transport_key == founder.transport_key != third.transport_key
            for ledger in (founder, second, third):
                sync(ledger, late)
            assert late.transport_key == third.transport_key


def test_sharing_by_hand(tmp_path: Path) -> None:
    """Nobody lacks it: nothing is written. Somebody does: it gets a copy, once."""
    with found(tmp_path) as founder, join(founder, tmp_path, "box") as box:
        assert founder.share_transport_key() == ()
        key = TransportKey(b"k" * 32)
        boxes = [(feed_of(founder), seal_to(founder.identity.kem_public_key, key.key))]
        founder.append(GovTransport(epoch=0, generation=1, key=key.name, boxes=boxes))
        assert founder.key_status().lacking == (feed_of(box),)
        assert founder.share_transport_key() == (feed_of(box),)
        assert founder.share_transport_key() == ()
        sync(founder, box)
        assert box.transport_key == key


def test_many_members_take_several_blocks(tmp_path: Path) -> None:
    """More than one entry holds: all in one transaction, and everybody has a copy."""
    with found(tmp_path) as founder:
        for n in range(MAX_SEALED_PER_ENTRY + 5):
            identity = Identity.from_seed(sha256(b"%d" % n).digest())
            founder.enrol(make_request(identity, secret=bytes(16), roles=["bedside"]))
        first = founder.rotate_transport_key()
        head = founder.head(feed_of(founder))
        assert head is not None
        assert head.seq == first.seq + 1
        assert founder.key_status().lacking == ()


def test_an_old_key_is_overdue(tmp_path: Path) -> None:
    """A month after its block's claimed time, and not before."""
    with found(tmp_path) as founder:
        status = founder.key_status()
        assert status.since is not None
        assert (status.generation, status.held, status.by) == (0, True, None)
        assert not status.overdue(status.since + 31 * DAY_MS)
        assert status.overdue(status.since + 31 * DAY_MS + 1)


def test_a_governor_that_revokes_itself_leaves_the_key_to_the_others(tmp_path: Path) -> None:
    """Beyond its own cut it hands out nothing; it is said that the key is leaked."""
    with found(tmp_path) as founder:
        founder.revoke(feed_of(founder))
        assert list(founder.entries("gov.transport", void=True)) == []
        assert founder.key_status().leaked == (feed_of(founder),)


def test_a_reopened_ledger_has_the_same_keys(tmp_path: Path) -> None:
    """They are opened from the acts again; only the first lies in the database."""
    with found(tmp_path) as founder:
        for _ in range(3):
            founder.rotate_transport_key()
        keys = founder.transport_keys
    assert len(keys) == 4
    with Ledger.open(tmp_path / "founder.db", Identity.load(tmp_path / "founder.key")) as again:
        assert again.transport_keys == keys
