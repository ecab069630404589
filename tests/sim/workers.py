"""Seeds shared out among processes, so that one that dies takes nothing with it but its seed, and that is told.

- Processes are forked: all run the code that was loaded when the first began, whatever is edited meanwhile.
- Each is replaced after some seeds, which gives its memory back.
- Which seed a process runs is known outside of it. One that ends, or says nothing for too long, is a failed run.
- An interrupt is heard by the caller alone; the processes end when the caller stops asking for results.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from .run import Result

SEEDS_PER_PROCESS = 50
SECONDS_PER_SEED = 1800.0
LOOK_SECONDS = 5.0

Run = Callable[[int], Result]


@dataclass
class _Worker:
    process: BaseProcess
    seed: int
    since: float
    runs: int = 0


def run_all(seeds: Iterable[int], run: Run, processes: int, *, patience: float = SECONDS_PER_SEED) -> Iterator[Result]:
    """What becomes of each seed, as it is known."""
    waiting = iter(seeds)
    workers: dict[Connection, _Worker] = {}
    try:
        while True:
            while len(workers) < processes and (seed := next(waiting, None)) is not None:
                line, process = _start(run, workers)
                line.send(seed)
                workers[line] = _Worker(process, seed, time.monotonic())
            if not workers:
                return
            ready = wait(list(workers), min(LOOK_SECONDS, patience))
            for line, worker in list(workers.items()):
                if line not in ready and time.monotonic() - worker.since < patience:
                    continue
                yield _hear(line, worker) if line in ready else _stop(worker, f"no end after {patience:.0f} s")
                worker.runs += 1
                following = None
                if worker.process.is_alive() and worker.runs < SEEDS_PER_PROCESS:
                    following = next(waiting, None)
                if following is None:
                    _end(line, worker)
                    del workers[line]
                else:
                    worker.seed, worker.since = following, time.monotonic()
                    line.send(following)
    finally:
        for line, worker in workers.items():
            worker.process.kill()
            _end(line, worker)


def _start(run: Run, others: Iterable[Connection]) -> tuple[Connection, BaseProcess]:
    ours, theirs = get_context("fork").Pipe()
    not_its = [*others, ours]  # it would hold them open, and nobody could see that this side has closed them
    process = get_context("fork").Process(target=_work, args=(theirs, not_its, run), daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _work(line: Connection, not_ours: Iterable[Connection], run: Run) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for each in not_ours:
        each.close()
    while True:
        try:
            seed = line.recv()
        except EOFError:
            return
        line.send(run(seed))


def _hear(line: Connection, worker: _Worker) -> Result:
    try:
        result = line.recv()
    except (EOFError, OSError):
        worker.process.join()
        return _stop(worker, f"ended with code {worker.process.exitcode}")
    assert isinstance(result, Result)
    return result


def _stop(worker: _Worker, why: str) -> Result:
    worker.process.kill()
    worker.process.join()
    return Result(worker.seed, "", failure=f"the process of this run: {why}")


def _end(line: Connection, worker: _Worker) -> None:
    line.close()
    worker.process.join()
