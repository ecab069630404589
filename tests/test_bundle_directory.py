"""Unpacked bundles: brought up to date with what is new, whole at every moment, and copied from anywhere."""

from __future__ import annotations

import errno
import os
import random
import stat
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from bundles import SEGMENT_BYTES, check, contents, founded, grow, manifest_of, small_segments, total_blocks, written
from forge import Chain, small_entry
from medledger import Ledger
from medledger.block import Hidden, encode_body, join_block, split_block, split_body
from medledger.bundle import (
    MANIFEST_NAME,
    Manifest,
    Progress,
    encode_manifest,
    export_directory,
    fetch_bundle,
    open_bundle,
    verify_bundle,
)
from medledger.errors import CorruptError, MalformedError, NeedsNewerError, StoreError
from worlds import found, join


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    small_segments(monkeypatch)


@pytest.fixture
def founder(tmp_path: Path) -> Iterator[Ledger]:
    """A governor's replica with three feeds and 62 blocks."""
    with founded(tmp_path) as ledger:
        yield ledger


def test_the_zip_file_unpacks_to_the_directory(founder: Ledger, tmp_path: Path) -> None:
    """The same names and bytes, so that `unzip` makes what a web server needs."""
    file = founder.export_bundle(tmp_path / "all.bundle")
    assert founder.export_bundle(tmp_path / "all", unpacked=True) == file
    with zipfile.ZipFile(tmp_path / "all.bundle") as archive:
        archive.extractall(tmp_path / "unzipped")
    assert contents(tmp_path / "unzipped") == contents(tmp_path / "all")
    assert len(file.segments) > 3


def test_a_later_export_writes_what_is_new(founder: Ledger, tmp_path: Path) -> None:
    """Segments that were there stay; a directory that is up to date is not touched."""
    target = tmp_path / "all"
    first = export_directory(founder, target)
    before = contents(target)
    assert written(founder, target).kept_blocks == total_blocks(founder)
    assert contents(target) == before
    grow(founder, 12)
    progress = written(founder, target)
    assert progress.blocks == progress.total_blocks == total_blocks(founder)
    assert progress.blocks - progress.kept_blocks < 12 + 14  # the last segment is written again where it is small
    after = manifest_of(target)
    kept = [segment for segment in first.segments if segment in after.segments]
    assert kept == list(first.segments[: len(kept)])
    assert len(kept) >= len(first.segments) - 1
    check(target, founder)


def test_many_small_exports_leave_few_segments(founder: Ledger, tmp_path: Path) -> None:
    """Their number is logarithmic, and so is what each export writes again; superseded ones are removed."""
    target = tmp_path / "all"
    total = 0
    for _ in range(40):
        grow(founder, 1)
        progress = written(founder, target)
        total += progress.blocks - progress.kept_blocks
    manifest = manifest_of(target)
    full = manifest.size_bytes // (SEGMENT_BYTES // 2)
    assert len(manifest.segments) <= full + 5
    assert total < total_blocks(founder) + 40 * 6
    # Those of the manifest before are kept for whoever fetches with it.
    assert len(contents(target)) <= len(manifest.segments) + 1 + 4
    check(target, founder)


def test_each_import_of_a_grown_bundle_reads_what_is_new(founder: Ledger, tmp_path: Path) -> None:
    """A replica that follows a directory reads no segment twice; one that begins late gets the same."""
    target = tmp_path / "all"
    export_directory(founder, target)
    with Ledger.replicate(tmp_path / "follower.db", founder.genesis.raw) as follower:
        follower.import_bundle(target)
        for _ in range(5):
            grow(founder, 5)
            export_directory(founder, target)
            for path in (target / "segments").iterdir():
                if path.stem in held_names(target, follower):
                    path.write_bytes(b"never read")  # and its size differs, so that the next export repairs it
            told: list[Progress] = []
            report = follower.import_bundle(target, progress=told.append)
            assert (report.accepted, report.refused) == (5, [])
            assert told[-1].kept_blocks + report.accepted <= told[-1].total_blocks
            assert follower.digest() == founder.digest()
    export_directory(founder, target)
    check(target, founder)


def held_names(target: Path, replica: Ledger) -> set[str]:
    """The segments of which a replica holds everything."""
    frontier = replica.frontier()
    return {
        segment.hash.hex()
        for segment in manifest_of(target).segments
        if all(span.feed in frontier and frontier[span.feed].seq >= span.stop - 1 for span in segment.spans)
    }


def test_a_segment_that_may_fill_a_hole_is_read(founder: Ledger, tmp_path: Path) -> None:
    """Entries that were hidden from a replica come back from a bundle, though it holds every block."""
    export_directory(founder, tmp_path / "all")
    feed = founder.me
    assert feed is not None
    with Ledger.replicate(tmp_path / "replica.db", founder.genesis.raw) as replica:
        raws = [raw for each in founder.frontier() for raw in founder.raw_blocks(each)]
        header, body = split_block(raws[-1])
        hidden = [Hidden(sha256(b"\0" + entry).digest()) for entry in split_body(body) if isinstance(entry, bytes)]
        order = sorted(founder.frontier(), key=lambda each: each != feed)
        blocks = [raw for each in order for raw in founder.raw_blocks(each)]
        blocks[blocks.index(raws[-1])] = join_block(header, encode_body(hidden))
        replica.import_blocks(blocks)
        assert len(replica.holes()) == 1
        assert replica.import_bundle(tmp_path / "all").refused == []
        assert replica.holes() == []


def test_what_is_in_the_way_is_refused(founder: Ledger, tmp_path: Path) -> None:
    """Somebody's files, another ledger's bundle, one that has more, one of a later version: all stay as they are."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"")
    with pytest.raises(StoreError, match="something else"):
        export_directory(founder, tmp_path / "photos")
    target = tmp_path / "all"
    export_directory(founder, target)
    before = contents(target)
    with found(tmp_path, "stranger") as stranger, pytest.raises(StoreError, match="another ledger"):
        export_directory(stranger, target)
    with Ledger.replicate(tmp_path / "behind.db", founder.genesis.raw) as behind:
        with pytest.raises(StoreError, match="more blocks"):
            export_directory(behind, target)
        export_directory(behind, tmp_path / "nothing")
        with open_bundle(tmp_path / "nothing") as source, pytest.raises(StoreError, match="more blocks"):
            fetch_bundle(source, target)
    assert contents(target) == before
    (target / MANIFEST_NAME).write_bytes(b"\x81\x02")
    with pytest.raises(NeedsNewerError):
        export_directory(founder, target)
    with pytest.raises(StoreError):
        export_directory(founder, tmp_path / "missing" / "all")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError):
        export_directory(founder, tmp_path / "file")


def test_an_export_repairs_what_is_missing_or_cut_off(founder: Ledger, tmp_path: Path) -> None:
    """A lost manifest, a lost segment, one of another length, one with a bit flipped, and leftovers of a crash."""
    target = tmp_path / "all"
    manifest = export_directory(founder, target)
    (target / manifest.segments[1].name).unlink()
    export_directory(founder, target)
    check(target, founder)
    (target / manifest.segments[0].name).write_bytes(b"short")
    (target / "segments" / f"{'0' * 64}.partial").write_bytes(b"left over")
    export_directory(founder, target)
    check(target, founder)
    assert not list(target.rglob("*.partial"))
    flipped = bytearray((target / manifest.segments[1].name).read_bytes())
    flipped[len(flipped) // 2] ^= 1
    (target / manifest.segments[1].name).write_bytes(flipped)
    export_directory(founder, target)
    check(target, founder)
    (target / MANIFEST_NAME).unlink()
    first = target / manifest.segments[0].name
    first.write_bytes(b"\0" * first.stat().st_size)  # without a manifest each segment is held against its name
    export_directory(founder, target)
    check(target, founder)


def test_a_stick_has_no_links_and_does_not_flush_a_directory(
    founder: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is asked of it that FAT has not."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    fsync = os.fsync

    def flush(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) and str(target) in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    target = tmp_path / "stick"
    for name in ("link", "symlink", "chmod", "chown"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(os, "fsync", flush)
    for _ in range(2):
        export_directory(founder, target)
        with open_bundle(target) as source:
            fetch_bundle(source, tmp_path / "stick 2")
        founder.export_bundle(target / f"{total_blocks(founder)}.bundle")
        grow(founder, 20)
    monkeypatch.undo()
    with open_bundle(target) as source:
        assert verify_bundle(source).problems == []


def test_strangers_files_beside_the_segments_stay(founder: Ledger, tmp_path: Path) -> None:
    """Only what has the name of a segment is ever removed."""
    target = tmp_path / "all"
    export_directory(founder, target)
    for name in ("README.txt", "segments/index.html"):
        (target / name).write_text("kept")
    for _ in range(3):
        grow(founder, 20)
        export_directory(founder, target)
    assert {"README.txt", "segments/index.html"} <= contents(target).keys()


def test_a_fork_takes_its_blocks_out_again(founder: Ledger, tmp_path: Path) -> None:
    """Segments that hold what no longer stands are replaced; the proof is in the manifest."""
    target = tmp_path / "all"
    with join(founder, tmp_path, "clone") as box:
        assert box.identity is not None
        one, other = Chain(box.identity, box.id), Chain(box.identity, box.id)
        for n in range(30):
            one.add([small_entry(n)])
        other.add([small_entry(100)])
        founder.import_blocks(one.raws)
        assert box.me in export_directory(founder, target).frontier
        founder.import_blocks(other.raws)
        assert box.me in founder.forks
        manifest = export_directory(founder, target)
        assert box.me not in manifest.frontier
        assert len(manifest.fork_proofs) == 1
        check(target, founder)


def test_branches_lie_in_segments_of_their_own(founder: Ledger, tmp_path: Path) -> None:
    """And are written once, however often the directory is brought up to date."""
    assert founder.identity is not None
    branch = Chain(founder.identity, founder.id, list(founder.raw_blocks(founder.identity.public_key, 0, 2)))
    branch.grow(30)
    founder.import_blocks(branch.raws)
    assert founder.branches()
    target = tmp_path / "all"
    manifest = export_directory(founder, target)
    assert any(not segment.spans for segment in manifest.segments)
    check(target, founder)
    assert written(founder, target).kept_blocks == manifest.blocks
    check(target, founder)


def test_a_copy_follows_its_source(founder: Ledger, tmp_path: Path) -> None:
    """What is new is fetched, what was superseded goes, and a damaged segment is never kept."""
    source, copy = tmp_path / "all", tmp_path / "copy"
    for count in (0, 1, 9, 30):
        grow(founder, count)
        manifest = export_directory(founder, source)
        with open_bundle(source) as opened:
            fetch_bundle(opened, copy)
        check(copy, founder)
        assert manifest_of(copy) == manifest
    grow(founder, 30)
    last = export_directory(founder, source).segments[-1]
    data = (source / last.name).read_bytes()
    (source / last.name).write_bytes(data[:-1] + b"\0")
    with open_bundle(source) as opened, pytest.raises(CorruptError, match=last.hash.hex()):
        fetch_bundle(opened, copy)
    assert manifest_of(copy) == manifest
    assert not (copy / last.name).exists()
    (source / last.name).unlink()
    with open_bundle(source) as opened, pytest.raises(MalformedError, match="has no"):
        fetch_bundle(opened, copy)


def test_a_copy_that_cannot_fit_is_not_begun(founder: Ledger, tmp_path: Path) -> None:
    """The manifest says how much it will be."""
    manifest = founder.export_bundle(tmp_path / "all", unpacked=True)
    huge = tuple(
        segment._replace(size=8 * 2**20, hash=n.to_bytes(32, "big"), spans=(), blocks=1)
        for n, segment in enumerate(manifest.segments * 2**13)
    )
    (tmp_path / "all" / MANIFEST_NAME).write_bytes(encode_manifest(Manifest(manifest.genesis, huge, ())))
    with open_bundle(tmp_path / "all") as source, pytest.raises(StoreError, match="room"):
        fetch_bundle(source, tmp_path / "copy")


@pytest.mark.parametrize("kind", ["fifo", "directory", "link to a device", "longer"])
def test_a_stick_that_somebody_else_filled(founder: Ledger, tmp_path: Path, kind: str) -> None:
    """A segment that is no file, or a longer one, is read to its listed size at most, and refused."""
    target = tmp_path / "all"
    segment = export_directory(founder, target).segments[0]
    place = target / segment.name
    place.unlink()
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "directory":
        place.mkdir()
    elif kind == "link to a device":
        place.symlink_to("/dev/zero")
    else:
        place.write_bytes(bytes(segment.size + 1))
    with (
        Ledger.replicate(tmp_path / "replica.db", founder.genesis.raw) as replica,
        pytest.raises((StoreError, MalformedError)),
    ):
        replica.import_bundle(target)


def test_no_damage_brings_in_anything_else(founder: Ledger, tmp_path: Path, rng: random.Random) -> None:
    """Whatever byte of whatever file is changed: refused, or harmless."""
    target = tmp_path / "all"
    export_directory(founder, target)
    files = contents(target)
    for case in range(40):
        name = rng.choice([MANIFEST_NAME, rng.choice(sorted(files))])
        data = bytearray(files[name])
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        (target / name).write_bytes(data)
        with Ledger.replicate(tmp_path / f"{case}.db", founder.genesis.raw) as replica:
            try:
                replica.import_bundle(target)
            except (MalformedError, NeedsNewerError, StoreError):
                pass
            else:
                assert replica.digest() == founder.digest()
        (target / name).write_bytes(files[name])


def test_nothing_is_written_through_a_link_that_somebody_has_laid(founder: Ledger, tmp_path: Path) -> None:
    """A stick may hold links under the names that are about to be written: what they lead to stays as it is."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    stick = tmp_path / "stick"
    (stick / "segments").mkdir(parents=True)
    (stick / f"{MANIFEST_NAME}.partial").symlink_to(precious)
    first = founder.export_bundle(tmp_path / "all", unpacked=True).segments[0]
    (stick / f"{first.name}.partial").symlink_to(precious)
    founder.export_bundle(stick, unpacked=True)
    assert contents(stick) == contents(tmp_path / "all")
    assert not any(path.is_symlink() for path in stick.rglob("*"))
    for lay in (Path.symlink_to, Path.hardlink_to):
        link = tmp_path / "all.bundle.partial"
        lay(link, precious)
        with pytest.raises(StoreError, match=r"all\.bundle"):
            founder.export_bundle(tmp_path / "all.bundle")
        link.unlink()
    assert precious.read_bytes() == b"precious"


@pytest.mark.parametrize("dangling", [False, True])
def test_segments_that_lie_elsewhere_are_refused(founder: Ledger, tmp_path: Path, dangling: bool) -> None:
    """A link in the place of the directory of segments: nothing is written where it leads to, and nothing removed."""
    elsewhere = tmp_path / "elsewhere"
    if not dangling:
        elsewhere.mkdir()
        (elsewhere / f"{'0' * 64}.partial").write_bytes(b"precious")
        (elsewhere / ("1" * 64)).write_bytes(b"precious")
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "segments").symlink_to(elsewhere)
    with pytest.raises(StoreError, match="segments is a link"):
        export_directory(founder, stick)
    founder.export_bundle(tmp_path / "all", unpacked=True)
    with open_bundle(tmp_path / "all") as source, pytest.raises(StoreError, match="segments is a link"):
        fetch_bundle(source, stick)
    assert [path.name for path in stick.iterdir()] == ["segments"]
    assert dangling or sorted(contents(elsewhere).values()) == [b"precious"] * 2


def test_two_exports_to_one_directory(founder: Ledger, tmp_path: Path) -> None:
    """The second is refused at once, and so is a copy into it; the first one ends well."""
    target = tmp_path / "all"
    refused: list[str] = []
    founder.export_bundle(tmp_path / "source", unpacked=True)

    def write_again(_: Progress) -> None:
        with pytest.raises(StoreError, match="another process") as caught:
            founder.export_bundle(target, unpacked=True)
        refused.append(str(caught.value))
        with open_bundle(tmp_path / "source") as source, pytest.raises(StoreError, match="another process"):
            fetch_bundle(source, target)

    founder.export_bundle(target, unpacked=True, progress=write_again)
    assert refused
    check(target, founder)


def test_two_exports_to_one_file(founder: Ledger, tmp_path: Path) -> None:
    """The second is refused while the first one writes, and takes nothing away from it."""
    target = tmp_path / "all.bundle"
    refused: list[str] = []

    def export_again(_: Progress) -> None:
        with pytest.raises(StoreError, match="another process") as caught:
            founder.export_bundle(target)
        refused.append(str(caught.value))

    founder.export_bundle(target, progress=export_again)
    assert refused
    with open_bundle(target) as source:
        assert verify_bundle(source).digest == founder.digest()
    assert not list(tmp_path.glob("*.partial"))


def test_fetching_again_repairs_a_copy(founder: Ledger, tmp_path: Path) -> None:
    """A segment that was damaged where it lies, though its size is right, is fetched again."""
    source, copy = tmp_path / "all", tmp_path / "copy"
    manifest = founder.export_bundle(source, unpacked=True)
    with open_bundle(source) as opened:
        fetch_bundle(opened, copy)
    damaged = copy / manifest.segments[1].name
    data = bytearray(damaged.read_bytes())
    data[100] ^= 1
    damaged.write_bytes(data)
    moved: list[int] = []
    with open_bundle(source) as opened:
        fetch_bundle(opened, copy, lambda progress: moved.append(progress.bytes - progress.kept_bytes))
    assert moved[-1] == manifest.segments[1].size
    assert contents(copy) == contents(source)
