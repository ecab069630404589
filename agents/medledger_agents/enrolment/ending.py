"""The last words of setup: what the box is now, how to start it, and what to look at then."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Final

from medledger.cli.gossiping import PASSWORD
from medledger.cli.output import emit, facts, printable, remark, say, style

from .arriving import Standing
from .home import Kind

if TYPE_CHECKING:
    from medledger.keys import Identity

    from ..config import GossipSection

UNITS: Final = (Path("/etc/systemd/system"), Path("/usr/lib/systemd/system"), Path("/lib/systemd/system"))


def unit_of(kind: Kind, config: Path) -> str | None:
    """The systemd unit that runs a box with this configuration, where one is installed."""
    name = f"medledger-{kind.name}.service"
    for directory in UNITS:
        try:
            if str(config) in (directory / name).read_text(encoding="utf-8"):
                return name
        except (OSError, UnicodeDecodeError):
            continue
    return None


def start_command(kind: Kind, config: Path) -> str:
    """What starts the agent."""
    unit = unit_of(kind, config)
    if unit is not None:
        return f"sudo systemctl enable --now {unit}"
    return f"medledger agent {kind.name} --config {quote(str(config))}"


def report(found: Standing, kind: Kind, config: Path, identity: Identity, *, as_json: bool) -> None:
    """Say what the box is a member of, and what is next."""
    command = start_command(kind, config)
    if as_json:
        emit(
            {
                "state": "enrolled" if found.lacks is None else "joined",
                "lacks": found.lacks,
                "ledger": {"id": found.ledger_id.hex(), "name": found.name},
                "label": found.label,
                "roles": list(found.roles),
                "fingerprint": identity.fingerprint,
                "feed": identity.public_key.hex(),
                "broker": found.broker,
                "config": str(config),
                "start": command,
            }
        )
        return
    name = printable(found.name)
    if found.lacks is None:
        say(style(f"This box is a member of {name}.", bold=True))
    elif found.dead:
        say(style(f"This box has joined {name}, and may not write there: {printable(found.lacks)}.", bold=True))
    else:
        say(style(f"This box has joined {name}; {printable(found.lacks)}.", bold=True))
    facts(
        [
            ("ledger", f"{name}, {found.ledger_id.hex()[:16]}"),
            ("called", printable(found.label) or "not known yet"),
            ("role", ", ".join(found.roles) or "not known yet"),
            ("fingerprint", identity.fingerprint),
            ("broker", printable(bare(found.broker)) if found.broker else "as configured, if any"),
            ("configuration", str(config)),
        ],
        indent="  ",
    )
    _next(found, kind, command, config)


def _next(found: Standing, kind: Kind, command: str, config: Path) -> None:
    if found.dead:
        remark("\nA governor has to change that: `medledger member list`, `medledger governance show`.")
        return
    if found.lacks is not None:
        remark("\nIt can be started all the same, and takes nothing until that has come.")
    if kind.entry_type is None:
        say("\nBring what the others hold, whenever you want to read it:")
        loaded = kind.load(config)
        password, login = _login(loaded.gossip)
        say(f"  {password}medledger audit sync {quote(str(loaded.ledger.path))}{login}")
        say("Or, where this machine is always there, keep it in step:")
    else:
        say("\nLook through its settings, then start it:")
    say(f"  {command}")
    say("And see that all is well:")
    say(f"  medledger agent doctor --config {quote(str(config))}")


def _login(section: GossipSection) -> tuple[str, str]:
    """What a command needs to log in at the broker as the agent does: before it, and after it."""
    file = section.password_file
    options = {
        "--username": section.username,
        "--ca": section.ca_file,
        "--certificate": section.certificate_file,
        "--certificate-key": section.certificate_key_file,
    }
    return (
        "" if file is None else f'{PASSWORD}="$(head -n 1 {quote(str(file))})" ',
        "".join(f" {option} {quote(str(value))}" for option, value in options.items() if value is not None),
    )


def bare(url: str) -> str:
    """Addresses without their accounts."""
    from medledger.transport import BrokerAddress

    return ", ".join(str(each) for each in BrokerAddress.parse_all(url))
