"""What a person sees of the demo: a live screen on a terminal, plain lines elsewhere, and the summary at the end."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from medledger.cli.cells import line_text

from ..ward.beds import Row
from ..ward.screen import everything
from .party import LEDGER_NAME

STYLES: Final = {"good": "green", "bad": "bold red", "alarm": "bold yellow", "quiet": "dim", "plain": ""}
FRAMES_PER_SECOND: Final = 10
ROWS_AROUND: Final = 5  # borders, a heading, a gap, and the line under all


class Screen(Protocol):
    """Where the demo tells what happens. Safe to call from several threads."""

    def party(self, name: str, *, role: str = "", process: int = 0, state: str = "", blocks: int = -1) -> None:
        """What is known of a party; what is left out stays as it was."""
        ...

    def progress(self, name: str, done: int, total: int) -> None:
        """How far something has come."""
        ...

    def happened(self, who: str, what: str, outcome: str = "", style: str = "plain") -> None:
        """Something that is worth a line."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(slots=True)
class _Party:
    role: str = ""
    process: int = 0
    state: str = ""
    blocks: int = -1


@dataclass(slots=True)
class _Progress:
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class _Event:
    seconds: float
    who: str
    what: str
    outcome: str
    style: str


@dataclass(slots=True)
class _State:
    parties: dict[str, _Party] = field(default_factory=dict)
    progress: dict[str, _Progress] = field(default_factory=dict)
    events: list[_Event] = field(default_factory=list)


class _Base:
    """What both screens know."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._state = _State()
        self._lock = threading.Lock()
        self._started = time.monotonic()

    def party(self, name: str, *, role: str = "", process: int = 0, state: str = "", blocks: int = -1) -> None:
        """What is known of a party; what is left out stays as it was."""
        with self._lock:
            known = self._state.parties.setdefault(name, _Party())
            known.role = role or known.role
            known.process = process or known.process
            known.state = state or known.state
            known.blocks = max(blocks, known.blocks)

    def progress(self, name: str, done: int, total: int) -> None:
        """How far something has come."""
        with self._lock:
            before = self._state.progress.get(name)
            most = done if before is None else max(done, before.done)  # several threads tell, not always in order
            self._state.progress[name] = _Progress(most, total)

    def happened(self, who: str, what: str, outcome: str = "", style: str = "plain") -> None:
        """Something that is worth a line."""
        event = _Event(time.monotonic() - self._started, who, what, outcome, style)
        with self._lock:
            self._state.events.append(event)
        self.show(event)

    def show(self, event: _Event) -> None:
        """Called for each event, outside the lock."""


class LiveScreen(_Base):
    """A screen that is drawn again a few times a second."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live = Live(
            console=console, refresh_per_second=FRAMES_PER_SECOND, get_renderable=self._draw, vertical_overflow="crop"
        )

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def _draw(self) -> RenderableType:
        with self._lock:
            seconds = time.monotonic() - self._started
            around = ROWS_AROUND + len(self._state.parties) + len(self._state.progress)
            return Group(
                Panel(
                    Group(self._parties(), Text(), self._bars()),
                    title="[bold]medledger[/] demo: four parties, one ledger, no server",
                    title_align="left",
                    subtitle=f"{seconds:4.1f} s",
                    subtitle_align="right",
                    border_style="cyan",
                ),
                self._latest(max(4, self.console.size.height - around)),
            )

    def _parties(self) -> Table:
        table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
        for heading, ratio in (("party", 6), ("role", 3), ("process", None), ("holds", 3), ("", 4)):
            right = heading == "process"
            table.add_column(heading, ratio=ratio, no_wrap=True, min_width=7, justify="right" if right else "left")
        for name, party in self._state.parties.items():
            table.add_row(
                Text(name, style="bold"),
                party.role,
                str(party.process or ""),
                f"{party.blocks} blocks" if party.blocks >= 0 else "",
                Text(party.state, style="dim"),
            )
        return table

    def _bars(self) -> Table:
        table = Table(box=None, expand=True, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True, width=26)
        table.add_column(ratio=1)
        table.add_column(no_wrap=True, width=9, justify="right")
        for name, progress in self._state.progress.items():
            done = progress.done >= progress.total
            table.add_row(
                name,
                ProgressBar(progress.total, progress.done, complete_style="green" if done else "cyan"),
                f"{progress.done}/{progress.total}",
            )
        return table

    def _latest(self, lines: int) -> Table:
        """As many of the latest events as have room: what does not fit on a line goes on below it."""
        events = self._state.events[-lines:]
        while len(events) > 1 and len(self.console.render_lines(self._events(events), pad=False)) > lines:
            events = events[1:]
        return self._events(events)

    def _events(self, events: list[_Event]) -> Table:
        table = Table(box=None, expand=True, pad_edge=False, show_header=False)
        table.add_column(width=6, no_wrap=True, style="dim", justify="right")
        table.add_column(width=8, no_wrap=True, style="cyan")
        table.add_column(ratio=8)  # of 80 columns, 38: a monitor's five values
        table.add_column(ratio=5)
        for event in events:
            style = STYLES[event.style]
            table.add_row(f"{event.seconds:.1f} s", event.who, Text(event.what, style), Text(event.outcome, style))
        return table


class PlainScreen(_Base):
    """A line for each event: for files, pipes and narrow terminals."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, event: _Event) -> None:
        """Print it."""
        line = f"{event.seconds:5.1f} s  {event.who:<9} {event.what}" + (f": {event.outcome}" if event.outcome else "")
        with self._lock:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def choose(console: Console, *, plain: bool) -> Screen:
    """The screen that suits the terminal."""
    return PlainScreen(console) if plain or not console.is_terminal or console.is_dumb_terminal else LiveScreen(console)


@dataclass(frozen=True, slots=True)
class Summary:
    """What is left to say at the end."""

    logged: list[tuple[str, str, str]]  # who, what, in how many blocks
    beds: list[Row]
    findings: list[str]
    verified: list[str]
    replica: str
    directory: str
    others: list[str]
    commands: list[tuple[str, str]]  # what for, and the command
    seconds: float

    def show(self, console: Console) -> None:
        """Print it. Paths and commands stay on one line each, so that they can be copied."""
        console.print()
        _heading(console, "What was logged, and by whom")
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(no_wrap=True, style="bold")
        table.add_column()
        for who, what, blocks in self.logged:
            table.add_row(f"  {who}", f"{what} [dim]({blocks})[/]")
        console.print(table, highlight=False)
        _heading(console, "The beds on the auditor's screen")
        beds = "\n".join(map(line_text, everything(LEDGER_NAME, self.beds)))
        console.print(Padding(Text.from_ansi(beds), (0, 0, 0, 2)))
        _heading(console, "What was verified")
        for line in self.verified:
            console.print(f"  [green]✓[/] {line}", highlight=False)
        _heading(console, "What the auditor is told (findings)")
        for sentence in self.findings or ["Nothing that does not fit together."]:
            console.print(Padding(Text(sentence), (0, 0, 0, 2)))
        _heading(console, "Where the replica is")
        console.print(f"  {self.replica}", highlight=False, soft_wrap=True)
        for other in self.others:
            console.print(f"  [dim]{other}[/]", highlight=False, soft_wrap=True)
        _heading(console, "Try next")
        for purpose, command in self.commands:
            console.print(f"  [dim]# {purpose}[/]", highlight=False, soft_wrap=True)
            console.print(f"  [bold]{command}[/]", highlight=False, soft_wrap=True)
        console.print(
            f"\n[dim]Took {self.seconds:.1f} s. To clean up: rm -r {self.directory}[/]", highlight=False, soft_wrap=True
        )


def _heading(console: Console, text: str) -> None:
    console.print(f"\n[bold cyan]{text}[/]")
