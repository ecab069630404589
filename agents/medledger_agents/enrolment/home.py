"""The directory of a box: where it is, and the configuration that `setup` writes there.

Rules:

- One directory holds all of a box: `agent.toml`, the key, the replica, the inbox, the pseudonyms' secret. It is made
  for its owner alone (0700). One that others can write to is refused: they could put their files in the place of ours.
- The configuration is made from the declarations that also refuse bad keys (`settings.sample`), so every key stands in
  it with what it is for. It is read back before it is written. A file that exists is never overwritten.
- Root works as the user that the directory belongs to, and makes the system's for the user `medledger` where there is
  one, as the agents' units have it: what root makes the agent could not read.
- Two setups of one directory at the same time would make two requests: the second is refused.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from medledger import files
from medledger.errors import ConfigurationError, InUseError, StoreError, UsageError

from .. import settings
from ..auditor.config import AuditorConfig
from ..bedside.config import BedsideConfig
from ..config import GossipSection, ReplicaConfig
from ..pharmacy.config import PharmacyConfig

CONFIG_NAME: Final = "agent.toml"
SYSTEM_DIRECTORY: Final = Path("/var/lib/medledger")
USER: Final = "medledger"  # of the agents' units
_HEADING: Final = re.compile(r"^\[(\w+)\]$")
_ASSIGNMENT: Final = re.compile(r"^#?(\w+) = ")

Values = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of box: its configuration, the role it asks for, and the entries that it is there to write, if any."""

    name: str
    config: type[Any]
    entry_type: str | None
    does: str

    def load(self, path: Path) -> ReplicaConfig:
        """The configuration in a file: an `AgentConfig` where it writes entries. Raises `ConfigurationError`."""
        loaded: ReplicaConfig = self.config.load(path)
        return loaded


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("bedside", BedsideConfig, "reading", "takes readings from monitors"),
        Kind("pharmacy", PharmacyConfig, "dispense", "records what a counter supplies"),
        Kind("auditor", AuditorConfig, None, "holds and checks what all others write, and writes nothing"),
    )
}


def default_directory() -> Path:
    """Where a box lives: of the system, where we may make that, else of the current user."""
    if os.geteuid() == 0 or os.access(SYSTEM_DIRECTORY, os.W_OK):
        return SYSTEM_DIRECTORY
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "medledger"


def become_owner(directory: Path) -> str | None:
    """As root, go on as the user that the directory belongs to, or is to; that user's name where we changed to it.

    Raises `UsageError` where that user cannot read this program, `StoreError`.
    """
    if os.geteuid() != 0:
        return None
    try:
        if not directory.exists() and directory == SYSTEM_DIRECTORY and (owner := _user(USER)) is not None:
            directory.mkdir(mode=0o700, parents=True)
            os.chown(directory, owner.pw_uid, owner.pw_gid)
        status = directory.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{directory} cannot be used: {error.strerror or error}") from error
    if status.st_uid == 0:
        return None
    name = next((each.pw_name for each in pwd.getpwall() if each.pw_uid == status.st_uid), str(status.st_uid))
    _check_readable(name, status.st_uid)
    os.setgroups([])
    os.setgid(status.st_gid)
    os.setuid(status.st_uid)
    return name


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _check_readable(name: str, uid: int) -> None:
    """That user runs the agent later, and needs this Python as we do for what is imported from now on."""
    os.seteuid(uid)
    try:
        hidden = [
            path
            for path in (os.__file__, files.__file__, sys.executable)
            if not os.access(path, os.R_OK, effective_ids=True)
        ]
    finally:
        os.seteuid(0)
    if hidden:
        raise UsageError(
            f"the user {name}, to whom the directory belongs, cannot read {hidden[0]}",
            hint="Install medledger where everybody can read it, such as /opt/medledger.",
        )


@contextmanager
def entered(directory: Path) -> Iterator[None]:
    """The directory, made where it is missing, and no other setup's meanwhile. Raises `StoreError`, `UsageError`."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_mode & 0o022:
            raise UsageError(
                f"others can write to {directory}, and put their own files there for a box's",
                hint=f"Choose another with --directory; or look at what is in it, and run: chmod 700 {directory}",
            )
        descriptor = os.open(directory / ".setup.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(
            f"{directory} cannot be used: {error.strerror or error}",
            hint="Choose another with --directory, or run this as the user that it belongs to.",
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InUseError(
                f"another setup is at work in {directory}", hint="Go on there, or end it: nothing is lost."
            ) from error
        yield
    finally:
        os.close(descriptor)


def kinds_of(path: Path) -> list[Kind]:
    """Whose configuration a file can be, by its sections: the one that alone has one of them, or several kinds.

    All of them where it has sections of different kinds: each then says what is wrong. Raises `ConfigurationError` for
    a file that is empty or not TOML.
    """
    try:
        document = settings.document(path)
    except ConfigurationError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise ConfigurationError(
            f"there is no configuration {path}",
            hint="Name it with --config; or make the box one: medledger agent setup.",
        ) from error
    known = {kind.name: {each.name for each in fields(kind.config)} for kind in KINDS.values()}
    named = document.keys() & set.union(*known.values())
    found = [KINDS[name] for name, sections in known.items() if named <= sections]
    return found or list(KINDS.values())


def kind_of(path: Path) -> Kind | None:
    """Whose configuration a file is; None where it could be that of several kinds. Raises `ConfigurationError`."""
    found = kinds_of(path)
    return found[0] if len(found) == 1 else None


def config_text(kind: Kind, values: Values) -> str:
    """A configuration file with every key explained, and with these values in the place of the defaults."""
    lines, section, left = [], "", {(name, key) for name, keys in values.items() for key in keys}
    for line in settings.sample(kind.config).splitlines():
        heading, assignment = _HEADING.match(line), _ASSIGNMENT.match(line)
        section = heading[1] if heading else section
        if assignment and (section, assignment[1]) in left:
            left.remove((section, assignment[1]))
            lines.append(f"{assignment[1]} = {_toml(values[section][assignment[1]])}")
        else:
            lines.append(line)
    if left:
        raise UsageError(f"a {kind.name} box has no key {sorted(left)[0]}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A string, or an array of them: written as JSON does, but for pairs of surrogates and DEL, which TOML forbids."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def write_config(path: Path, kind: Kind, values: Values) -> None:
    """Write a new configuration, for its owner alone. Raises `ConfigurationError` for values that it may not hold."""
    text = config_text(kind, values)
    settings.read(tomllib.loads(text), kind.config, path)
    try:
        files.create(path, text.encode())
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error


def account(section: GossipSection, password: str | None = None) -> dict[str, Any]:
    """How a broker is to be greeted, as `Gossip` and `Rendezvous` take it. Raises `ConfigurationError`."""
    return {
        "username": section.username,
        "password": settings.first_line(section.password_file, "password_file") or password,
        "ca": section.ca_file,
        "certificate": section.certificate_file,
        "key": section.certificate_key_file,
        "protocol": section.protocol,
    }
