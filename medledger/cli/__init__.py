"""The command line: arguments in, calls on the ledger, plain words and exit codes out.

Rules:

- What was asked for goes to stdout, remarks about it to stderr; so `medledger ... > file` holds what the file is for.
- A mistake of the person at the keyboard is one sentence and what to do next, never a traceback. An exception outside
  our family is a bug of ours: one line says so, and `medledger --debug` shows the rest.
- `--json` is for programs: one object, or one a line for lists. Its fields only ever grow.
- A passphrase is typed at a prompt or comes from MEDLEDGER_PASSPHRASE, never from an argument that others can list.
- Nothing is loaded before it is needed: `medledger --help` imports no cryptography and no database.

One file of `commands/` a group of commands; `root` knows them by name. Installed packages add their own through the
entry point group `medledger.commands`: each a function that is handed the root group.
"""

from __future__ import annotations


def main() -> None:
    """The `medledger` program."""
    from .root import medledger

    medledger.main(prog_name="medledger")
