"""The genesis document, and what an epoch is."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from governance_world import POLICY, World, key, keys, person
from medledger import cbor, cose
from medledger.errors import (
    MalformedError,
    MedledgerError,
    MembershipError,
    NeedsNewerError,
    SchemaError,
    SignatureError,
)
from medledger.governance import NOTHING, Point, act_id, epoch_document, make_genesis, read_epoch, read_genesis

AAD = cbor.encode("medledger/genesis/1")


def epoch_zero(*governors: str, threshold: int = 1, notaries: tuple[str, ...] = ()) -> list[Any]:
    """The document of a first epoch."""
    return epoch_document(
        number=0, previous=None, governors=keys(governors), threshold=threshold, notaries=keys(notaries), policy=POLICY
    )


def genesis(*governors: str, threshold: int = 1, founder: str = "ada") -> bytes:
    """A genesis document."""
    return make_genesis(
        person(founder),
        nonce=b"n" * 16,
        name="ward 3",
        continues=None,
        epoch0=epoch_zero(*governors, threshold=threshold),
    )


class TestGenesis:
    def test_says_what_was_founded(self) -> None:
        """The ledger id is the hash of the whole document, and the founder is the governor who signed it."""
        raw = genesis("ada", "ben", "cyd", threshold=2, founder="ben")
        read = read_genesis(raw)
        assert read.ledger_id == sha256(raw).digest() == read.epoch.id
        assert (read.raw, read.name, read.nonce, read.continues) == (raw, "ward 3", b"n" * 16, None)
        assert read.founder == key("ben")
        assert read.epoch.governors == tuple(keys(["ada", "ben", "cyd"]))
        assert (read.epoch.number, read.epoch.threshold, read.epoch.previous) == (0, 2, None)
        assert read.epoch.policy["nurse"] == {"note", "reading"}

    def test_no_byte_can_be_changed(self) -> None:
        """A flip of any bit of the document is refused with an error of ours: nothing has a second name."""
        raw = genesis("ada")
        for at in range(len(raw)):
            for bit in (0, 5):
                with pytest.raises(MedledgerError):
                    read_genesis(raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :])
        for cut in range(len(raw)):
            with pytest.raises(MedledgerError):
                read_genesis(raw[:cut])
        with pytest.raises(MalformedError):
            read_genesis(raw + b"\x00")

    def test_other_encodings_of_the_same_signature_are_refused(self) -> None:
        """Without its tag, or with an unprotected header, the signature still holds and the bytes do not."""
        raw = genesis("ada")
        assert cose.verify1(raw[1:], key("ada"), external_aad=AAD)
        with pytest.raises(MalformedError):
            read_genesis(raw[1:])
        padded = raw.replace(b"\x43\xa1\x01\x32\xa0", b"\x43\xa1\x01\x32\xa1\x04\x41\x00", 1)
        assert cose.verify1(padded, key("ada"), external_aad=AAD)
        with pytest.raises(MalformedError):
            read_genesis(padded)

    def test_only_a_first_governor_founds(self) -> None:
        """A founder who does not govern cannot make a genesis, and one that exists is refused."""
        with pytest.raises(MembershipError, match="none of the first governors"):
            genesis("ada", founder="eve")
        payload = cbor.encode([1, b"n" * 16, "x", None, epoch_zero("ada")])
        with pytest.raises(SignatureError):
            read_genesis(cose.sign1(payload, person("eve"), external_aad=AAD))

    def test_a_signature_for_another_purpose_is_refused(self) -> None:
        """The external data keeps a genesis apart from whatever else its founder signs."""
        payload = cbor.encode([1, b"n" * 16, "x", None, epoch_zero("ada")])
        with pytest.raises(SignatureError):
            read_genesis(cose.sign1(payload, person("ada"), external_aad=b""))

    def test_a_later_version_is_not_called_malformed(self) -> None:
        """Version 2 needs newer software."""
        with pytest.raises(NeedsNewerError, match="version 2"):
            read_genesis(cose.sign1(cbor.encode([2, "whatever"]), person("ada"), external_aad=AAD))

    @pytest.mark.parametrize(
        "payload",
        [
            [],
            [1],
            ["1"],
            {"version": 1},
            None,
            [1, b"short", "x", None, epoch_zero("ada")],
            [1, b"n" * 16, "", None, epoch_zero("ada")],
            [1, b"n" * 16, "a\nb", None, epoch_zero("ada")],
            [1, b"n" * 16, "x", b"short", epoch_zero("ada")],
            [1, b"n" * 16, "x", None, epoch_zero("ada"), None],
            [1, b"n" * 16, "x", None, [*epoch_zero("ada")[:6], [[key("ada"), 0, b"i" * 32]]]],
            [1, b"n" * 16, "x", None, [1, b"p" * 32, *epoch_zero("ada")[2:]]],
            [0, b"n" * 16, "x", None, epoch_zero("ada")],
            [True, b"n" * 16, "x", None, epoch_zero("ada")],
        ],
    )
    def test_malformed_documents_are_refused(self, payload: Any) -> None:
        """Whatever is not the five fields of version 1 is malformed, though its founder signed it."""
        with pytest.raises(MalformedError):
            read_genesis(cose.sign1(cbor.encode(payload), person("ada"), external_aad=AAD))

    def test_a_document_beyond_the_limit_is_refused(self) -> None:
        """A policy that would not fit a join reply cannot be founded with."""
        policy = {f"role {number:02}": ["x" * 60] for number in range(64)}
        document = epoch_document(number=0, previous=None, governors=keys(["ada"]), threshold=1, policy=policy)
        make_genesis(person("ada"), nonce=b"n" * 16, name="x", continues=None, epoch0=document)
        document[5] = {role: [f"{'x' * 60}{number}" for number in range(4)] for role in policy}
        with pytest.raises(MembershipError, match="at most 8192"):
            make_genesis(person("ada"), nonce=b"n" * 16, name="x", continues=None, epoch0=document)


class TestEpoch:
    @pytest.mark.parametrize(
        ("threshold", "holds"), [(0, False), (1, False), (2, False), (3, True), (4, True), (5, False)]
    )
    def test_two_quorums_always_meet(self, threshold: int, holds: bool) -> None:
        """Of four governors at least three must approve, so that nobody can be outvoted twice without a name."""
        document = epoch_zero("ada", "ben", "cyd", "dot", threshold=threshold)
        if holds:
            assert read_epoch(document, id=b"i" * 32, parent=None).threshold == threshold
        else:
            with pytest.raises(SchemaError):
                read_epoch(document, id=b"i" * 32, parent=None)

    @pytest.mark.parametrize(
        "bad", [bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f", b"\x02" + bytes(31), b"\xff" * 32]
    )
    @pytest.mark.parametrize("place", [2, 4])
    def test_offices_go_to_usable_keys_only(self, bad: bytes, place: int) -> None:
        """A small-order or non-canonical key can hold no office: anybody could sign, or nobody."""
        document = epoch_zero("ada")
        document[place] = sorted([*document[place], bad])
        document[3] = 2 if place == 2 else 1
        with pytest.raises(SchemaError, match="not a usable Ed25519 key"):
            read_epoch(document, id=b"i" * 32, parent=None)

    def test_sets_have_one_form(self) -> None:
        """Unsorted or double governors, notaries and types are refused, and the builder sorts them."""
        document = epoch_zero("ada", "ben", "cyd", threshold=2)
        for governors in (document[2][::-1], [*document[2], document[2][2]]):
            with pytest.raises(SchemaError):
                read_epoch([*document[:2], governors, *document[3:]], id=b"i" * 32, parent=None)
        with pytest.raises(SchemaError):
            read_epoch([*document[:5], {"nurse": ["b", "a"]}, []], id=b"i" * 32, parent=None)

    def test_whoever_leaves_is_closed_and_nobody_else(self) -> None:
        """Leaving governors and notaries each need one closing; staying or unknown feeds must have none."""
        world = World("ada", "ben", "cyd", notaries=["ned", "ben"])
        parent, end = world.genesis.epoch, Point(4, b"e" * 32)

        def read(closing: dict[str, Point], *governors: str, notaries: tuple[str, ...] = ()) -> None:
            read_epoch(world.successor(*governors, notaries=notaries, closing=closing), id=b"i" * 32, parent=parent)

        read({"ned": end, "cyd": NOTHING, "ben": end}, "ada", "ben")  # ben stays a governor, and leaves the notaries
        read({"cyd": end}, "ada", "ben", "eve", notaries=("ned", "ben", "eve"))
        for closing in ({}, {"ned": end}, {"cyd": end, "ned": end}, dict.fromkeys(("ned", "cyd", "ben", "ada"), end)):
            with pytest.raises(SchemaError, match="clos"):
                read(closing, "ada", "ben")

    def test_it_follows_its_predecessor(self) -> None:
        """The number is one more and the predecessor's id is named."""
        world = World("ada")
        good = world.successor("ada")
        read_epoch(good, id=b"i" * 32, parent=world.genesis.epoch)
        for bad in ([2, *good[1:]], [1, b"x" * 32, *good[2:]], [0, None, *good[2:]]):
            with pytest.raises(SchemaError, match="does not follow"):
                read_epoch(bad, id=b"i" * 32, parent=world.genesis.epoch)


def test_an_act_is_its_content() -> None:
    """Equal contents are one act; another type, content or ledger is another act."""
    one = act_id(b"l" * 32, "gov.revoke", {"a": 1, "b": [2]})
    assert one == act_id(b"l" * 32, "gov.revoke", {"b": (2,), "a": 1})
    assert (
        len(
            {
                one,
                act_id(b"m" * 32, "gov.revoke", {"a": 1, "b": [2]}),
                act_id(b"l" * 32, "gov.enrol", {"a": 1, "b": [2]}),
            }
        )
        == 3
    )
    assert one == sha256(cbor.encode(["medledger/act/1", b"l" * 32, "gov.revoke", {"a": 1, "b": [2]}])).digest()
