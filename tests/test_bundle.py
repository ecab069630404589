"""Bundles: a whole replica in one file, believed no more than any other source."""

from __future__ import annotations

import contextlib
import os
import random
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from forge import Chain, small_entry
from medledger import Ledger, cbor, make_request
from medledger.block import split_block
from medledger.bundle import (
    MANIFEST_NAME,
    Manifest,
    decode_manifest,
    encode_manifest,
    open_bundle,
    read_manifest,
    split_segment,
)
from medledger.errors import (
    BlockSignatureError,
    LimitError,
    MalformedBlockError,
    MalformedError,
    MedledgerError,
    NewerBlockError,
    StoreError,
    UnknownAuthorError,
)
from medledger.fork import make_proof
from medledger.keys import Identity
from worlds import found, join, reading, sync


@pytest.fixture
def founder(tmp_path: Path) -> Iterator[Ledger]:
    """A governor's replica with two feeds."""
    with found(tmp_path) as ledger, join(ledger, tmp_path, "box") as box:
        for n in range(30):
            box.append(reading(n))
        sync(box, ledger)
        yield ledger


def manifest_of(bundle: Path) -> Manifest:
    """What a bundle says it holds."""
    with open_bundle(bundle) as source:
        return read_manifest(source)


def test_a_bundle_brings_a_replica_to_the_same_digest(founder: Ledger, tmp_path: Path) -> None:
    """Into an empty replica, twice, and into one that is ahead in another feed."""
    manifest = founder.export_bundle(tmp_path / "all.bundle")
    assert manifest == manifest_of(tmp_path / "all.bundle")
    assert manifest.blocks == 32
    with Ledger.replicate(tmp_path / "replica.db", manifest.genesis) as replica:
        assert replica.import_bundle(tmp_path / "all.bundle").accepted == 32
        assert replica.import_bundle(tmp_path / "all.bundle").duplicates == 32
        assert replica.digest() == founder.digest()


def test_equal_replicas_write_equal_bundles(founder: Ledger, tmp_path: Path) -> None:
    """So that segments can be shared by name."""
    founder.export_bundle(tmp_path / "one.bundle")
    with Ledger.replicate(tmp_path / "replica.db", founder.genesis.raw) as replica:
        replica.import_bundle(tmp_path / "one.bundle")
        replica.export_bundle(tmp_path / "two.bundle")
    assert (tmp_path / "one.bundle").read_bytes() == (tmp_path / "two.bundle").read_bytes()


def test_fork_proofs_travel_along(founder: Ledger, tmp_path: Path) -> None:
    """A replica that learns of a fork from a bundle ends like the one that saw both branches."""
    with join(founder, tmp_path, "clone") as box:
        assert box.identity is not None
        one, other = Chain(box.identity, box.id), Chain(box.identity, box.id)
        one.add([small_entry(1)])
        other.add([small_entry(2)])
        founder.import_blocks([*one.raws, *other.raws])
        assert box.me in founder.forks
        founder.export_bundle(tmp_path / "all.bundle")
        with Ledger.replicate(tmp_path / "replica.db", founder.genesis.raw) as replica:
            replica.import_bundle(tmp_path / "all.bundle")
            assert replica.digest() == founder.digest()


def test_branches_of_governors_feeds_travel_along(founder: Ledger, tmp_path: Path) -> None:
    """Approvals on them count: who has only the bundle knows the same members, and writes the same bundle.

    Here a member whose blocks come earlier in the bundle is enrolled on a branch.
    """
    assert founder.identity is not None
    founder.append(reading())
    with join(founder, tmp_path, "late") as late:
        branch = Chain(founder.identity, founder.id, list(founder.raw_blocks(founder.identity.public_key, 0, 1)))
        branch.add(sign=False)  # holds only by the next one, and has the same seq as a block of the other branch
        branch.grow(2)
        founder.import_blocks(branch.raws)
        assert late.me is not None
        assert founder.knows(late.me)
        assert len(founder.branches()) > 3
    manifest = founder.export_bundle(tmp_path / "all.bundle")
    with Ledger.replicate(tmp_path / "replica.db", founder.genesis.raw) as replica:
        report = replica.import_bundle(tmp_path / "all.bundle")
        # The side that proves the fork is kept at once, and known again as a branch's block when its turn comes.
        assert (report.accepted + report.duplicates, report.waiting, report.refused) == (manifest.blocks, 0, [])
        assert (replica.digest(), replica.membership) == (founder.digest(), founder.membership)
        replica.export_bundle(tmp_path / "again.bundle")
        replica.fsck()
    assert (tmp_path / "again.bundle").read_bytes() == (tmp_path / "all.bundle").read_bytes()


def test_a_fork_proof_that_is_refused_is_reported_like_a_bad_block(founder: Ledger, tmp_path: Path) -> None:
    """Damaged, unsigned, newer, or about a stranger: all else of the bundle goes in."""
    manifest = founder.export_bundle(tmp_path / "all.bundle")
    stranger = Identity.generate()
    chains = [Chain(stranger, founder.id), Chain(stranger, founder.id)]
    headers = [[split_block(chain.add([b"%d" % n * 40]))[0]] for n, chain in enumerate(chains)]
    proof = make_proof(founder.id, *headers).raw
    unsigned = proof[:-1] + bytes([proof[-1] ^ 1])
    proofs = (b"no proof", unsigned, cbor.encode([2, *cbor.decode(proof, max_size=10_000)[1:]]), proof)
    with zipfile.ZipFile(tmp_path / "all.bundle") as good, zipfile.ZipFile(tmp_path / "bad.bundle", "w") as bad:
        for info in good.infolist():
            if info.filename != MANIFEST_NAME:
                bad.writestr(info, good.read(info))
        bad.writestr(MANIFEST_NAME, encode_manifest(replace(manifest, fork_proofs=proofs)))
    with Ledger.replicate(tmp_path / "replica.db", founder.genesis.raw) as replica:
        report = replica.import_bundle(tmp_path / "bad.bundle")
        assert report.accepted == manifest.blocks
        expected = [MalformedBlockError, BlockSignatureError, NewerBlockError, UnknownAuthorError]
        assert [type(error) for error in report.refused] == expected
        assert replica.digest() == founder.digest()


def test_a_bundle_tells_a_newcomer_how_much_of_its_feed_others_hold(founder: Ledger, tmp_path: Path) -> None:
    """Nothing of it, for one that has never written, and just what it holds, for one that lost its database."""
    identity, secret = Identity.load_or_create(tmp_path / "new.key"), os.urandom(16)
    reply = founder.enrol(make_request(identity, secret=secret, roles=["bedside"]))
    founder.export_bundle(tmp_path / "first.bundle")
    with Ledger.join(tmp_path / "new.db", identity, reply, secret) as member:
        member.import_bundle(tmp_path / "first.bundle")
        assert member.state == "ready"
        member.append(reading(61))
        sync(member, founder)
        member.append(reading(62))
        sync(member, founder)
    founder.export_bundle(tmp_path / "second.bundle")
    (tmp_path / "new.db").unlink()
    with Ledger.join(tmp_path / "new.db", identity, reply, secret) as member:
        member.import_bundle(tmp_path / "first.bundle")
        assert member.state == "recovering"
        member.import_bundle(tmp_path / "second.bundle")
        assert member.state == "ready"
        assert member.append(reading(63)).seq == 2


def test_a_bundle_is_durable_under_its_name(founder: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory is flushed after the bundle got its name."""
    target = tmp_path / "out" / "all.bundle"
    target.parent.mkdir()
    flushed: list[tuple[str, bool]] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        flushed.append((os.readlink(f"/proc/self/fd/{descriptor}"), target.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    founder.export_bundle(target)
    mine = [each for each in flushed if each[0].startswith(str(target.parent))]
    assert mine == [(f"{target}.partial", False), (str(target.parent), True)]


def test_what_is_no_bundle_of_this_ledger_is_refused(founder: Ledger, tmp_path: Path) -> None:
    """With the reason."""
    founder.export_bundle(tmp_path / "all.bundle")
    with pytest.raises(StoreError, match="exists already"):
        founder.export_bundle(tmp_path / "all.bundle")
    with found(tmp_path, "another") as another, pytest.raises(MalformedError, match="another ledger"):
        another.import_bundle(tmp_path / "all.bundle")
    (tmp_path / "text").write_text("not a bundle")
    with pytest.raises(MalformedError):
        founder.import_bundle(tmp_path / "text")
    with pytest.raises(StoreError):
        founder.import_bundle(tmp_path / "missing")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(MalformedError, match=r"manifest\.cbor"):
        founder.import_bundle(tmp_path / "empty.zip")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("manifest.cbor", bytes(10_000_000))
    with pytest.raises(MalformedError):
        founder.import_bundle(tmp_path / "bomb.zip")


def test_damage_is_found_or_harmless(founder: Ledger, tmp_path: Path, rng: random.Random) -> None:
    """No flipped bit brings in anything that the honest bundle would not; only our errors are raised."""
    founder.export_bundle(tmp_path / "all.bundle")
    whole = (tmp_path / "all.bundle").read_bytes()
    digest = founder.digest()
    refused = 0
    for case in range(120):
        at = rng.randrange(len(whole))
        damaged = tmp_path / f"{case}.bundle"
        damaged.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :])
        with Ledger.replicate(tmp_path / f"{case}.db", founder.genesis.raw) as replica:
            try:
                replica.import_bundle(damaged)
            except MedledgerError:
                refused += 1
            else:
                assert replica.digest() == digest
            replica.fsck()
    assert refused > 60


@pytest.mark.parametrize("round_no", range(4))
def test_no_bytes_make_anything_but_our_errors(
    founder: Ledger, tmp_path: Path, rng: random.Random, round_no: int
) -> None:
    """Changed, inserted and lost bytes, mostly in the lists that an archive is found by."""
    founder.export_bundle(tmp_path / "all.bundle")
    whole = (tmp_path / "all.bundle").read_bytes()
    digest = founder.digest()
    damaged = tmp_path / "damaged.bundle"
    for _ in range(100):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 1, 2, 4])):
            at = rng.choice([rng.randrange(60), rng.randrange(len(data) - 300, len(data)), rng.randrange(len(data))])
            if rng.random() < 0.7:
                data[at] = rng.choice([0, 0x7F, 0x80, 0xFF, rng.randrange(256)])
            elif rng.random() < 0.5:
                del data[at : at + rng.randrange(1, 9)]
            else:
                data[at:at] = rng.randbytes(rng.randrange(1, 9))
        damaged.write_bytes(data)
        with contextlib.suppress(MedledgerError):
            founder.import_bundle(damaged)
    assert founder.digest() == digest


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (6, 0xFF),  # the version that is needed to extract it
        (8, 0x01),  # encrypted
        (8, 0x20),  # compressed patched data
        (10, 0x63),  # compressed by a method that nobody has
        (46, 0xFF),  # a name that is not text
    ],
)
def test_an_archive_of_a_kind_we_do_not_read_is_refused(founder: Ledger, tmp_path: Path, at: int, value: int) -> None:
    """Whatever each member's entry in the archive's directory says."""
    founder.export_bundle(tmp_path / "all.bundle")
    data = bytearray((tmp_path / "all.bundle").read_bytes())
    entry = -1
    while (entry := data.find(b"PK\x01\x02", entry + 1)) >= 0:
        data[entry + at] = value
        if at == 46:
            data[entry + 9] |= 0x08  # the name is UTF-8
    (tmp_path / "odd.bundle").write_bytes(data)
    with pytest.raises((MalformedError, StoreError)):
        founder.import_bundle(tmp_path / "odd.bundle")


def test_an_archive_with_countless_members_is_not_listed(tmp_path: Path) -> None:
    """`zipfile` makes an object of each member of an archive, before anybody can ask how many there are."""
    entry = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, *[0] * 14)
    count = 2**19
    size = count * len(entry)
    with (tmp_path / "all.bundle").open("wb") as file:
        file.write(entry * count)
        file.write(struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, size, 0))
        file.write(struct.pack("<IIQI", 0x07064B50, 0, size, 1))
        file.write(struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))
    with pytest.raises(MalformedError, match="list of members"):
        manifest_of(tmp_path / "all.bundle")


def test_a_manifest_has_one_encoding(founder: Ledger, tmp_path: Path) -> None:
    """And reads back as it was written."""
    manifest = founder.export_bundle(tmp_path / "all.bundle")
    assert decode_manifest(encode_manifest(manifest)) == manifest
    for bad in (b"", b"\x80", encode_manifest(manifest) + b"\x00", encode_manifest(manifest)[:-1]):
        with pytest.raises(MalformedError):
            decode_manifest(bad)


@pytest.mark.parametrize("item", [b"\x00", b"\x40", b"\x80", b"\x81\x00", b"\xa0"])
def test_a_manifest_of_countless_small_items_is_not_decoded(item: bytes) -> None:
    """Each byte of it could become a hundred in memory: items are counted before anything is made of them."""
    count = 2**23 // len(item)
    data = b"".join((b"\x84\x01\x41x", cbor.head(cbor.ARRAY, count), item * count, b"\x80"))
    with pytest.raises(LimitError, match="more items than any bundle"):
        decode_manifest(data)


@pytest.mark.parametrize("data", [b"\x00", b"\x58", b"\x58\x00", b"\x58\x05abc", b"\x5a\xff\xff\xff\xff", b"\x83"])
def test_a_segment_is_byte_strings_and_nothing_else(data: bytes) -> None:
    """Bounded, and complete."""
    with pytest.raises(MalformedError):
        list(split_segment(data))


def test_a_cut_export_leaves_nothing_behind(founder: Ledger, tmp_path: Path) -> None:
    """A reader sees the whole bundle or none."""
    target = tmp_path / "missing-folder" / "all.bundle"
    with pytest.raises(StoreError):
        founder.export_bundle(target)
    assert not list(tmp_path.glob("*.partial"))
