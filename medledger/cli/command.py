"""Commands and groups as this program makes them: each shows examples in its `--help`.

An example is a line that a person can type, kept beside the command so that it cannot be forgotten; the tests run
what the documentation shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click

WHOLE: Final = 200
"""Characters of a command's first sentence, of which the first line of a docstring has 116 at most."""


class Command(click.Command):
    """A command with examples."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, under the options."""
        write_examples(formatter, self.examples)
        super().format_epilog(ctx, formatter)


class Group(click.Group):
    """A group of commands with examples."""

    command_class = Command

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands, each with its whole first sentence."""
        names = self.list_commands(ctx)
        found = [(name, command) for name in names if (command := self.get_command(ctx, name)) and not command.hidden]
        if found:
            with formatter.section("Commands"):
                formatter.write_dl([(name, command.get_short_help_str(WHOLE)) for name, command in found])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, under the commands."""
        write_examples(formatter, self.examples)
        super().format_epilog(ctx, formatter)


def write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    """Examples as they are typed: never wrapped."""
    if examples:
        with formatter.section("Example" if len(examples) == 1 else "Examples"):
            for example in examples:
                formatter.write(f"  {example}\n")
