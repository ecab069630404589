"""`medledger governance`: who decides, and what each role may write; and proposing the epoch that follows."""

from __future__ import annotations

from pathlib import Path

import click

from medledger.errors import UsageError

from .. import govern
from ..command import Group
from ..naming import find_feed
from ..opening import reading, signing
from ..options import json_option, key_option, ledger_argument, yes_option
from ..output import emit, facts, say, table, warn
from .init import read_policy


@click.group(
    cls=Group,
    examples=(
        "medledger governance show ward.db",
        "medledger governance change ward.db --add-governor 'Pharmacy' --threshold 2",
    ),
)
def governance() -> None:
    """Who decides, and which role may write what.

    Governance is a chain of epochs; each names the governors, how many of them it takes, and the policy.
    """


@governance.command(examples=("medledger governance show ward.db", "medledger governance show ward.db --json"))
@ledger_argument()
@json_option
def show(ledger: Path, as_json: bool) -> None:
    """Show the epoch in force: governors, threshold and policy."""
    from ..describe import Names

    with reading(ledger) as opened:
        membership = opened.membership
        names = Names(membership)
        epoch, void = membership.epoch, membership.void
        if as_json:
            emit(
                {
                    "epoch": epoch.number,
                    "governors": [feed.hex() for feed in epoch.governors],
                    "threshold": epoch.threshold,
                    "notaries": [feed.hex() for feed in epoch.notaries],
                    "policy": {role: sorted(types) for role, types in epoch.policy.items()},
                    "void_after": None if void is None else void.epoch,
                    "double_approvers": [] if void is None else [feed.hex() for feed in void.double_approvers],
                }
            )
            return
        facts(
            [
                ("epoch", str(epoch.number)),
                ("governors", ", ".join(sorted(map(names.both, epoch.governors)))),
                ("threshold", f"{epoch.threshold} of {len(epoch.governors)}"),
                ("notaries", ", ".join(sorted(map(names.both, epoch.notaries))) or "none"),
            ]
        )
        say()
        rows = [(role, ", ".join(sorted(types)) or "nothing") for role, types in sorted(epoch.policy.items())]
        table(("ROLE", "MAY WRITE"), rows)
        if void is not None:
            who = ", ".join(map(names.both, void.double_approvers))
            warn(f"Governance is void after epoch {void.epoch}: {who} approved two successors.")


@governance.command(
    examples=(
        "medledger governance change ward.db --policy policy.toml",
        "medledger governance change ward.db --add-governor 'Pharmacy' --add-governor 5f3a91c2 --threshold 2",
    )
)
@ledger_argument()
@click.option("--add-governor", "added", multiple=True, metavar="MEMBER", help="Who decides from now on, too.")
@click.option("--remove-governor", "removed", multiple=True, metavar="MEMBER", help="Who decides no more.")
@click.option("--threshold", type=click.IntRange(min=1), help="How many governors it takes: more than half of them.")
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='All roles and what each may write, as TOML lines (bedside = ["reading"]) or a JSON object.',
)
@key_option
@yes_option
@json_option
def change(
    ledger: Path,
    added: tuple[str, ...],
    removed: tuple[str, ...],
    threshold: int | None,
    policy: Path | None,
    key: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Propose the next epoch, as a governor. What is not given stays as it is."""
    from medledger.governance import act_id
    from medledger.governing import change_epoch

    from ..describe import Names, summary

    if not (added or removed or threshold or policy):
        raise UsageError(
            "nothing is to change", hint="Give --add-governor, --remove-governor, --threshold or --policy."
        )
    roles_may = None if policy is None else read_policy(policy)
    with signing(ledger, key) as opened:
        now = set(opened.membership.governors)
        governors = (now | {find_feed(opened, who) for who in added}) - {find_feed(opened, who) for who in removed}
        names = Names(opened.membership)
        listed = ", ".join(sorted(map(names.both, governors)))
        govern.confirm(f"Propose epoch {opened.membership.epoch.number + 1}, governed by {listed}?", yes=yes)
        block = change_epoch(
            opened, governors=None if governors == now else governors, threshold=threshold, policy=roles_may
        )
        entry = govern.first_entry(block)
        act = act_id(opened.id, entry.type, entry.content)
        pending = govern.outcome(opened, act)
        if as_json:
            emit({"act": act.hex(), "effective": pending is None, "epoch": entry.content[0]})
        else:
            govern.report(pending, f"Done: {summary(entry.type, entry.content, names)}")
