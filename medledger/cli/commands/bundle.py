"""`medledger bundle`: a whole ledger in files, to carry where no network goes, or to put on a web server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medledger.errors import BlockError, StoreError, UsageError

from .. import bundling, imports, keyring
from ..command import Group
from ..opening import is_owned, reading, signing
from ..options import json_option, key_option, ledger_argument
from ..output import count_text, emit, facts, number_text, say, short, size_text
from .verify import every_signature_option, processes_option

if TYPE_CHECKING:
    from medledger.bundle import Progress
    from medledger.ledger import Ledger


class InconsistentError(BlockError):
    """A bundle does not hold what it says; what is wrong has been shown."""


_source_argument = click.argument("source", metavar="BUNDLE")


@click.group(
    cls=Group,
    examples=(
        "medledger bundle export ward.db ward.bundle",
        "medledger bundle export ward.db /media/stick/ward --unpacked",
        "medledger bundle import audit.db ward.bundle",
        "medledger bundle verify https://ledger.example/ward --ledger 02f1b185f26f2241",
    ),
)
def bundle() -> None:
    """Carry a ledger in files.

    BUNDLE is a file, or an unpacked bundle: a directory, or the address of one on a web server (http:// or https://).
    A bundle proves nothing by itself and needs no trust: every block in it is validated as if it came over a network.
    """


@bundle.command(
    "export",
    examples=(
        "medledger bundle export ward.db ward.bundle",
        "medledger bundle export ward.db /srv/www/ward --unpacked     writes what is new since the last time",
    ),
)
@ledger_argument()
@click.argument("target", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option("--unpacked", is_flag=True, help="A directory of small files, for a stick or a web server.")
@key_option
@json_option
def export_bundle(ledger: Path, target: Path, unpacked: bool, key: Path | None, as_json: bool) -> None:
    """Write all of LEDGER to the new file BUNDLE, or to a directory, which may hold an earlier bundle of it.

    Stopped at any moment, a directory holds the bundle of before, and what was written is not written again. Where the
    ledger was made with a key, that key is needed: its witness has to know what has left this machine.
    """
    written = 0

    with _to_release(ledger, key) as opened, bundling.progress_line("Exporting") as show:

        def notify(progress: Progress) -> None:
            nonlocal written
            written = progress.bytes - progress.kept_bytes
            show(progress)

        manifest = opened.export_bundle(target, unpacked=unpacked, progress=notify)
        digest = opened.digest().hex()
    size = manifest.size_bytes if unpacked else bundling.size_on_disk(target)
    if as_json:
        emit(
            {
                "bundle": str(target),
                "bytes": size,
                "written": written if unpacked else size,
                "blocks": manifest.blocks,
                "feeds": len(manifest.frontier),
                "digest": digest,
            }
        )
        return
    blocks = f"{count_text(manifest.blocks, 'block')} of {count_text(len(manifest.frontier), 'feed')}"
    new = f", {size_text(written)} of it new" if unpacked else ""
    say(f"Wrote {target}: {blocks}, {size_text(size)}{new}.")


@contextmanager
def _to_release(ledger: Path, key: Path | None) -> Iterator[Ledger]:
    """The ledger, opened so that its blocks may leave."""
    with reading(ledger) as opened:
        owned = is_owned(opened)
        if not owned:
            yield opened
            return
    with signing(ledger, key) as opened:
        yield opened


@bundle.command(
    "import",
    examples=(
        "medledger bundle import box.db ward.bundle",
        "medledger bundle import audit.db ward.bundle --new          a replica without a key, for an auditor",
        "medledger bundle import audit.db https://ledger.example/ward",
    ),
)
@ledger_argument()
@_source_argument
@click.option("--new", is_flag=True, help="Make LEDGER from the bundle: compare the ledger id with the one you know.")
@click.option("--id", "ledger_id", metavar="HEX", help="With --new: the ledger id, or its start; another is refused.")
@key_option
@json_option
def import_bundle(ledger: Path, source: str, new: bool, ledger_id: str | None, key: Path | None, as_json: bool) -> None:
    """Take what is valid of BUNDLE into LEDGER.

    Of an unpacked bundle only the segments are read that hold something new; stopped at any moment, what has arrived is
    kept. Bad blocks change nothing: they are named, and the command ends with 1.
    """
    from medledger.bundle import read_manifest

    if ledger_id is not None and not new:
        raise UsageError("--id goes with --new", hint="A ledger that is there knows its own id.")
    if new and ledger.exists():
        raise StoreError(f"{ledger} exists already", hint="Leave out --new to import into it.")
    if not new and not ledger.is_file():
        raise StoreError(
            f"there is no ledger at {ledger}", hint="Join one, or make a replica from the bundle with --new."
        )
    with bundling.opened(source) as bundled:
        genesis = read_manifest(bundled).genesis if new else None
        with _to_import(ledger, key, genesis, ledger_id) as opened:
            report = imports.run(opened, bundled)
            imports.show(opened, report, as_json=as_json)


@contextmanager
def _to_import(ledger: Path, key: Path | None, genesis: bytes | None, ledger_id: str | None) -> Iterator[Ledger]:
    """The ledger to import into: made where a genesis is given; with its key where one is beside it, to recover."""
    from medledger.governance import read_genesis
    from medledger.ledger import Ledger

    if genesis is not None:
        found = read_genesis(genesis).ledger_id.hex()
        if ledger_id is not None and not found.startswith(ledger_id.lower()):
            raise UsageError(f"the bundle is of ledger {found}", hint="Ask whoever gave you the id, or the bundle.")
        with Ledger.replicate(ledger, genesis) as opened:
            yield opened
        return
    with reading(ledger) as opened:
        owned = is_owned(opened)
        if not owned or keyring.find_key(ledger, key) is None:
            yield opened
            return
    with signing(ledger, key) as opened:
        yield opened


@bundle.command(
    examples=(
        "medledger bundle fetch https://ledger.example/ward ward              and again, to go on, or for what is new",
        "medledger bundle fetch ward.bundle /media/stick/ward                 unpacks it",
    )
)
@_source_argument
@click.argument("directory", metavar="DIRECTORY", type=click.Path(path_type=Path))
@json_option
def fetch(source: str, directory: Path, as_json: bool) -> None:
    """Copy BUNDLE to an unpacked one in DIRECTORY, segment by segment.

    Stopped at any moment it goes on when it is called again, and a copy of an earlier time gets what is new. Segments
    are held against their hashes; the blocks in them are not looked at: verify or import the copy.
    """
    from medledger.bundle import fetch_bundle

    fetched = 0
    with bundling.opened(source) as bundled, bundling.progress_line("Fetching") as show:

        def notify(progress: Progress) -> None:
            nonlocal fetched
            fetched = progress.bytes - progress.kept_bytes
            show(progress)

        manifest = fetch_bundle(bundled, directory, notify)
    if as_json:
        emit(
            {
                "bundle": str(directory),
                "bytes": manifest.size_bytes,
                "fetched": fetched,
                "blocks": manifest.blocks,
                "feeds": len(manifest.frontier),
            }
        )
        return
    blocks = f"{count_text(manifest.blocks, 'block')} of {count_text(len(manifest.frontier), 'feed')}"
    say(f"{directory} holds {blocks}, {size_text(manifest.size_bytes)}, {size_text(fetched)} of it new.")


@bundle.command(
    examples=(
        "medledger bundle verify ward.bundle --ledger 02f1b185f26f2241",
        "medledger bundle verify https://ledger.example/ward --json",
    )
)
@_source_argument
@click.option("--ledger", "ledger_id", metavar="HEX", help="The id of the ledger you mean, or its start (8 digits).")
@every_signature_option
@processes_option
@json_option
def verify(source: str, ledger_id: str | None, every_signature: bool, processes: int, as_json: bool) -> None:
    """Verify BUNDLE from its bytes alone: every block, every fork proof, the genesis, and that nothing is missing of
    what it says it holds. It takes no ledger and no key.

    The digest is the one that a replica of it shows. Without --ledger this proves that the bundle is consistent, not
    that it is of the ledger you mean. Blocks are written to a temporary directory (in TMPDIR), which needs room for all
    of them. Ends with 1 where something is wrong, and names it.
    """
    from medledger.bundle import verify_bundle

    meant = None if ledger_id is None else _read_id(ledger_id)
    started = time.monotonic()
    with bundling.opened(source) as bundled, bundling.progress_line("Verifying") as notify:
        report = verify_bundle(
            bundled, ledger_id=meant, every_signature=every_signature, processes=processes, notify=notify
        )
    if as_json:
        emit(bundling.report_json(source, report, ledger_checked=meant is not None))
    else:
        bundling.print_report(source, report, time.monotonic() - started, ledger_checked=meant is not None)
    if report.problems:
        raise InconsistentError(
            f"{count_text(len(report.problems), 'thing')} in the bundle {'is' if len(report.problems) == 1 else 'are'} "
            "not as it says",
            hint="Copy it again, or ask whoever made it.",
        )


def _read_id(text: str) -> bytes:
    """A ledger's id, or a start of it that is long enough to mean something."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if not 4 <= len(found) <= 32:
        raise UsageError(f"{text!r} is no ledger id", hint="Give its 64 hexadecimal digits, or at least the first 8.")
    return found


@bundle.command(examples=("medledger bundle info ward.bundle", "medledger bundle info ward.bundle --json"))
@_source_argument
@json_option
def info(source: str, as_json: bool) -> None:
    """Show what BUNDLE says it holds. Nothing but its list of contents is read, and nothing verified."""
    from medledger.bundle import read_manifest
    from medledger.governance import read_genesis

    with bundling.opened(source) as bundled:
        manifest = read_manifest(bundled)
    genesis = read_genesis(manifest.genesis)
    if as_json:
        emit(
            {
                "ledger_id": genesis.ledger_id.hex(),
                "name": genesis.name,
                "blocks": manifest.blocks,
                "feeds": {feed.hex(): seq + 1 for feed, (seq, _) in manifest.frontier.items()},
                "segments": len(manifest.segments),
                "fork_proofs": len(manifest.fork_proofs),
                "bytes": manifest.size_bytes,
            }
        )
        return
    say(f"{source}: {genesis.name}")
    facts(
        [
            ("ledger id", genesis.ledger_id.hex()),
            ("founder", short(genesis.founder)),
            ("blocks", f"{number_text(manifest.blocks)} of {count_text(len(manifest.frontier), 'feed')}"),
            ("segments", str(len(manifest.segments))),
            ("fork proofs", str(len(manifest.fork_proofs))),
            ("size", size_text(manifest.size_bytes)),
        ],
        indent="  ",
    )
