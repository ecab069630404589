"""`medledger bundle`: a whole ledger in a file, to carry where no network goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medledger.errors import StoreError, UsageError

from .. import imports, keyring
from ..command import Group
from ..opening import is_owned, reading, signing
from ..options import json_option, key_option, ledger_argument
from ..output import count_text, emit, facts, number_text, say, short, size_text

if TYPE_CHECKING:
    from medledger.ledger import Ledger


@click.group(
    cls=Group,
    examples=(
        "medledger bundle export ward.db ward.bundle",
        "medledger bundle import audit.db ward.bundle",
        "medledger bundle info ward.bundle",
    ),
)
def bundle() -> None:
    """Carry a ledger in a file.

    A bundle proves nothing by itself and needs no trust: every block in it is validated as if it came over a network.
    """


@bundle.command("export", examples=("medledger bundle export ward.db ward.bundle",))
@ledger_argument()
@click.argument("target", metavar="BUNDLE", type=click.Path(path_type=Path))
@key_option
@json_option
def export_bundle(ledger: Path, target: Path, key: Path | None, as_json: bool) -> None:
    """Write all of LEDGER to the new file BUNDLE.

    Where the ledger was made with a key, that key is needed: its witness has to know what has left this machine.
    """
    with _to_release(ledger, key) as opened:
        manifest = opened.export_bundle(target)
        digest = opened.digest().hex()
    size = target.stat().st_size
    if as_json:
        emit(
            {
                "bundle": str(target),
                "bytes": size,
                "blocks": manifest.blocks,
                "feeds": len(manifest.frontier),
                "digest": digest,
            }
        )
    else:
        feeds = count_text(len(manifest.frontier), "feed")
        say(f"Wrote {target}: {count_text(manifest.blocks, 'block')} of {feeds}, {size_text(size)}.")


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
    ),
)
@ledger_argument()
@click.argument("source", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option("--new", is_flag=True, help="Make LEDGER from the bundle: compare the ledger id with the one you know.")
@click.option("--id", "ledger_id", metavar="HEX", help="With --new: the ledger id, or its start; another is refused.")
@key_option
@json_option
def import_bundle(
    ledger: Path, source: Path, new: bool, ledger_id: str | None, key: Path | None, as_json: bool
) -> None:
    """Take what is valid of BUNDLE into LEDGER.

    Bad blocks change nothing: they are named, and the command ends with 1.
    """
    from medledger.bundle import read_manifest
    from medledger.ledger import Ledger

    if ledger_id is not None and not new:
        raise UsageError("--id goes with --new", hint="A ledger that is there knows its own id.")
    if new and ledger.exists():
        raise StoreError(f"{ledger} exists already", hint="Leave out --new to import into it.")
    if not new and not ledger.is_file():
        raise StoreError(
            f"there is no ledger at {ledger}", hint="Join one, or make a replica from the bundle with --new."
        )
    manifest = read_manifest(source)
    with _to_import(ledger, key, manifest.genesis if new else None, ledger_id) as opened:
        assert isinstance(opened, Ledger)
        report = imports.run(opened, source, manifest)
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


@bundle.command(examples=("medledger bundle info ward.bundle", "medledger bundle info ward.bundle --json"))
@click.argument("source", metavar="BUNDLE", type=click.Path(path_type=Path))
@json_option
def info(source: Path, as_json: bool) -> None:
    """Show what BUNDLE says it holds. Nothing but its list of contents is read, and nothing verified."""
    from medledger.bundle import read_manifest
    from medledger.governance import read_genesis

    manifest = read_manifest(source)
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
                "bytes": source.stat().st_size,
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
            ("size", size_text(source.stat().st_size)),
        ],
        indent="  ",
    )
