"""Bundles: a whole replica in one file, believed no more than any other source."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from forge import Chain, small_entry
from medledger import Ledger
from medledger.bundle import decode_manifest, encode_manifest, read_manifest, split_segment
from medledger.errors import MalformedError, MedledgerError, StoreError
from worlds import found, join, reading, sync


@pytest.fixture
def founder(tmp_path: Path) -> Iterator[Ledger]:
    """A governor's replica with two feeds."""
    with found(tmp_path) as ledger, join(ledger, tmp_path, "box") as box:
        for n in range(30):
            box.append(reading(n))
        sync(box, ledger)
        yield ledger


def test_a_bundle_brings_a_replica_to_the_same_digest(founder: Ledger, tmp_path: Path) -> None:
    """Into an empty replica, twice, and into one that is ahead in another feed."""
    manifest = founder.export_bundle(tmp_path / "all.bundle")
    assert manifest == read_manifest(tmp_path / "all.bundle")
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


def test_a_manifest_has_one_encoding(founder: Ledger, tmp_path: Path) -> None:
    """And reads back as it was written."""
    manifest = founder.export_bundle(tmp_path / "all.bundle")
    assert decode_manifest(encode_manifest(manifest)) == manifest
    for bad in (b"", b"\x80", encode_manifest(manifest) + b"\x00", encode_manifest(manifest)[:-1]):
        with pytest.raises(MalformedError):
            decode_manifest(bad)


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
