"""Verifying a bundle with nothing but its bytes: what it holds, and each thing that is not as it says."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from forge import Chain, small_entry
from medledger import Identity, Ledger, cbor
from medledger.bundle import (
    MANIFEST_NAME,
    BundleReport,
    Manifest,
    Segment,
    Span,
    encode_manifest,
    export_directory,
    open_bundle,
    read_manifest,
    split_segment,
    verify_bundle,
)
from medledger.errors import MalformedError, MedledgerError, SignatureError, StoreError
from medledger.fork import make_proof
from worlds import found, join, reading, sync


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary replicas are made; nothing is left there. Segments are small here: a dozen blocks."""
    monkeypatch.setattr("medledger.bundle.segments.BUNDLE_SEGMENT_BYTES", 6000)
    directory = tmp_path / "scratch"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    yield directory
    assert list(directory.iterdir()) == []


@pytest.fixture
def founder(tmp_path: Path) -> Iterator[Ledger]:
    """A governor's replica with two feeds."""
    with found(tmp_path) as ledger, join(ledger, tmp_path, "box") as box:
        for n in range(30):
            box.append(reading(n))
        sync(box, ledger)
        for n in range(20):
            ledger.append(reading(n))
        yield ledger


def verified(bundle: Path, **options: object) -> BundleReport:
    """The report."""
    with open_bundle(bundle) as source:
        return verify_bundle(source, **options)  # type: ignore[arg-type]


def problems(bundle: Path) -> list[str]:
    """What is wrong with a bundle, in the order it was found."""
    return [problem.what for problem in verified(bundle).problems]


def rewritten(bundle: Path, change: Callable[[Manifest, list[list[bytes]]], Manifest | None]) -> None:
    """Let a forger who has all tools change the blocks of the segments, and the manifest."""
    with open_bundle(bundle) as source:
        manifest = read_manifest(source)
    blocks = [list(split_segment((bundle / each.name).read_bytes())) for each in manifest.segments]
    manifest = change(manifest, blocks) or manifest
    segments = []
    for segment, raws in zip(manifest.segments, blocks, strict=True):
        data = b"".join(map(cbor.encode, raws))
        made = Segment(sha256(data).digest(), len(data), segment.blocks, segment.spans)
        (bundle / made.name).write_bytes(data)
        segments.append(made)
    (bundle / MANIFEST_NAME).write_bytes(encode_manifest(replace(manifest, segments=tuple(segments))))


def test_an_honest_bundle_is_consistent(founder: Ledger, tmp_path: Path) -> None:
    """As a file and unpacked, and its digest is the one that a replica shows."""
    founder.export_bundle(tmp_path / "all.bundle")
    export_directory(founder, tmp_path / "all")
    for bundle in (tmp_path / "all.bundle", tmp_path / "all"):
        report = verified(bundle, ledger_id=founder.id[:8], every_signature=True)
        assert report.problems == []
        assert report.digest == founder.digest()
        assert (report.members, report.revoked, report.feeds, report.blocks) == (2, 0, 2, 52)
        assert (report.forks, report.branches, report.hidden, report.through_successor) == ([], 0, 0, [])
        assert report.genesis.name == founder.name
        assert report.genesis.founder == founder.me


def test_a_founded_ledger_without_members_is_consistent(tmp_path: Path) -> None:
    """One block; and one without any."""
    with found(tmp_path) as ledger:
        export_directory(ledger, tmp_path / "one")
        assert (verified(tmp_path / "one").blocks, problems(tmp_path / "one")) == (1, [])
        with Ledger.replicate(tmp_path / "empty.db", ledger.genesis.raw) as empty:
            export_directory(empty, tmp_path / "none")
            report = verified(tmp_path / "none")
            assert (report.blocks, report.problems, report.digest) == (0, [], empty.digest())


def test_forks_and_branches_are_told(founder: Ledger, tmp_path: Path) -> None:
    """They are no inconsistency: the bundle says so itself."""
    assert founder.identity is not None
    branch = Chain(founder.identity, founder.id, list(founder.raw_blocks(founder.identity.public_key, 0, 2)))
    branch.grow(5)
    founder.import_blocks(branch.raws)
    export_directory(founder, tmp_path / "all")
    report = verified(tmp_path / "all")
    assert (report.problems, report.forks, report.digest) == ([], [founder.me], founder.digest())
    assert report.branches == len(founder.branches()) > 5


def test_another_ledger_than_the_one_that_is_meant(founder: Ledger, tmp_path: Path) -> None:
    """The id decides, and nothing else does: a forger's ledger of the same name is as consistent."""
    with found(tmp_path, "forger") as forged:
        export_directory(forged, tmp_path / "forged")
    assert verified(tmp_path / "forged").problems == []
    with pytest.raises(MalformedError, match=r"is of ledger [0-9a-f]{64}"):
        verified(tmp_path / "forged", ledger_id=founder.id)


def test_a_genesis_that_no_governor_signed(founder: Ledger, tmp_path: Path) -> None:
    """It is refused before a block is looked at."""
    export_directory(founder, tmp_path / "all")
    raw = founder.genesis.raw
    forged = raw[:-1] + bytes([raw[-1] ^ 1])
    rewritten(tmp_path / "all", lambda manifest, _: replace(manifest, genesis=forged))
    with pytest.raises(SignatureError):
        verified(tmp_path / "all")


def test_segments_that_are_damaged_or_missing_are_named(founder: Ledger, tmp_path: Path) -> None:
    """With what they should hold, and what is missing in consequence; the others are verified all the same."""
    manifest = export_directory(founder, tmp_path / "all")
    assert len(manifest.segments) > 2
    last, before = manifest.segments[-1], manifest.segments[-2]
    (tmp_path / "all" / last.name).unlink()
    place = tmp_path / "all" / before.name
    place.write_bytes(place.read_bytes()[:-1] + b"\0")
    found_ = problems(tmp_path / "all")
    assert any(last.name in what and "has no" in what and "blocks " in what for what in found_)
    assert any(before.name in what and "damaged" in what for what in found_)
    assert any("are missing" in what for what in found_)


def test_a_changed_block_is_named(founder: Ledger, tmp_path: Path) -> None:
    """By its author and number, though the segment was named by its new hash."""
    export_directory(founder, tmp_path / "all")

    def change(manifest: Manifest, blocks: list[list[bytes]]) -> None:
        assert manifest.segments
        blocks[0][5] = blocks[0][5].replace(b"MON-7", b"MON-8")

    rewritten(tmp_path / "all", change)
    report = verified(tmp_path / "all")
    assert [(problem.feed, problem.seq) for problem in report.problems[:1]] == [(founder.me, 5)]
    assert any(problem.what.startswith("blocks 5 to 21 are missing") for problem in report.problems)


def test_blocks_that_are_left_out_are_missing(founder: Ledger, tmp_path: Path) -> None:
    """The list of the segment still names them."""
    export_directory(founder, tmp_path / "all")
    rewritten(tmp_path / "all", lambda _, blocks: blocks[-1].pop() and None)
    found_ = problems(tmp_path / "all")
    assert any("blocks and not" in what for what in found_)
    assert "blocks 29 to 29 are missing" in found_


def test_a_list_that_leaves_out_blocks_is_wrong_too(founder: Ledger, tmp_path: Path) -> None:
    """More than promised: a list that names fewer blocks than the segments hold."""
    export_directory(founder, tmp_path / "all")

    def change(manifest: Manifest, blocks: list[list[bytes]]) -> Manifest:
        last = manifest.segments[-1]
        span = last.spans[-1]
        head = sha256(raw_header(blocks[-1][-2])).digest()
        shorter = last._replace(blocks=last.blocks - 1, spans=(*last.spans[:-1], Span(*span[:2], span.stop - 1, head)))
        return replace(manifest, segments=(*manifest.segments[:-1], shorter))

    rewritten(tmp_path / "all", change)
    found_ = problems(tmp_path / "all")
    assert any("more than the" in what for what in found_)
    assert "blocks 29 to 29 are not in its list" in found_


def raw_header(raw: bytes) -> bytes:
    """The header's bytes of an encoded block."""
    from medledger.block import split_block

    return split_block(raw)[0]


def test_another_order_than_listed(founder: Ledger, tmp_path: Path) -> None:
    """A replica would take them; the list would mislead whoever reads by it."""
    export_directory(founder, tmp_path / "all")
    rewritten(tmp_path / "all", lambda _, blocks: blocks[0].reverse())
    assert any("another block in place of" in what for what in problems(tmp_path / "all"))


def test_blocks_of_strangers_are_named(founder: Ledger, tmp_path: Path) -> None:
    """Signed, linked, and by nobody that the ledger has enrolled."""
    export_directory(founder, tmp_path / "all")
    stranger = Chain(Identity.generate(), founder.id).grow(3)

    def change(manifest: Manifest, blocks: list[list[bytes]]) -> Manifest:
        blocks.append(stranger.raws)
        head = stranger.head
        assert head is not None
        span = Span(stranger.author.public_key, 0, 3, head.id)
        return replace(manifest, segments=(*manifest.segments, Segment(bytes(32), 1, 3, (span,))))

    rewritten(tmp_path / "all", change)
    report = verified(tmp_path / "all")
    assert {problem.feed for problem in report.problems} == {stranger.author.public_key}
    assert any("no effective enrolment" in problem.what for problem in report.problems)


def test_a_fork_that_is_kept_silent_is_named(founder: Ledger, tmp_path: Path) -> None:
    """The blocks show it; so does each fork proof that proves nothing."""
    with join(founder, tmp_path, "clone") as box:
        assert box.identity is not None
        one, other = Chain(box.identity, box.id), Chain(box.identity, box.id)
        one.add([small_entry(1)])
        other.add([small_entry(2)])
        founder.import_blocks(one.raws)
    export_directory(founder, tmp_path / "all")
    assert problems(tmp_path / "all") == []

    def change(manifest: Manifest, blocks: list[list[bytes]]) -> Manifest:
        blocks.append(other.raws)
        return replace(manifest, segments=(*manifest.segments, Segment(bytes(32), 1, 1, ())))

    rewritten(tmp_path / "all", change)
    found_ = problems(tmp_path / "all")
    assert "the blocks show a fork of which it has no proof" in found_
    assert "blocks 0 to 0 are missing" in found_
    proof = make_proof(founder.id, [raw_header(one.raws[0])], [raw_header(other.raws[0])]).raw
    spoiled = proof[:-1] + bytes([proof[-1] ^ 1])
    rewritten(tmp_path / "all", lambda manifest, _: replace(manifest, fork_proofs=(spoiled,)))
    assert any(what.startswith("refused: ") for what in problems(tmp_path / "all"))


def test_a_block_beyond_its_list_hides_nothing(founder: Ledger, tmp_path: Path) -> None:
    """A segment that is not read since an earlier one held its blocks too is still an inconsistency."""
    export_directory(founder, tmp_path / "all")

    def change(manifest: Manifest, blocks: list[list[bytes]]) -> None:
        assert manifest.segments
        blocks[0] += blocks[1]

    rewritten(tmp_path / "all", change)
    assert any("more than the" in what for what in problems(tmp_path / "all"))


def test_blocks_that_hold_only_through_a_later_one_are_counted(founder: Ledger, tmp_path: Path) -> None:
    """With every signature checked they are named; they are no inconsistency."""
    with join(founder, tmp_path, "weak") as box:
        assert box.identity is not None
        chain = Chain(box.identity, box.id)
        chain.add(sign=False)
        chain.grow(1)
        founder.import_blocks(chain.raws)
        export_directory(founder, tmp_path / "all")
        report = verified(tmp_path / "all", every_signature=True)
        assert (report.problems, report.through_successor) == ([], [(box.me, 0)])


def test_no_room_for_the_temporary_replica(
    founder: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scratch: Path
) -> None:
    """It says so, as an error of the disk, and not of the bundle."""
    export_directory(founder, tmp_path / "all")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(StoreError, match="temporary"):
        verified(tmp_path / "all")
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))


def test_nothing_but_our_errors(founder: Ledger, tmp_path: Path) -> None:
    """Rubbish in place of each file."""
    manifest = export_directory(founder, tmp_path / "all")
    for name in (manifest.segments[0].name, MANIFEST_NAME):
        for rubbish in (b"", b"\0", os.urandom(4096), b"\x9f" * 100):
            (tmp_path / "all" / name).write_bytes(rubbish)
            try:
                assert verified(tmp_path / "all").problems
            except MedledgerError:
                assert name == MANIFEST_NAME
