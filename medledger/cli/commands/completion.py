"""`medledger completion`: the script that teaches a shell our commands and options."""

from __future__ import annotations

import click

from ..command import Command
from ..output import say


@click.command(
    cls=Command,
    examples=(
        "medledger completion bash >> ~/.bashrc",
        "medledger completion zsh >> ~/.zshrc",
        "medledger completion fish > ~/.config/fish/completions/medledger.fish",
    ),
)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL: bash, zsh or fish."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # one of the three
    root = ctx.find_root()
    say(kind(root.command, {}, "medledger", "_MEDLEDGER_COMPLETE").source())
