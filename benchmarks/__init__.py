"""What the library costs, always as a ratio to what it cannot do without: one signature check, one plain commit.

`python -m benchmarks` measures every line of `docs/performance.md`; `--quick` takes smaller ledgers. Each line's module
says how it measures. Rules of all of them:

- Subject and reference are taken in turns, in the same process and run, so that both meet the same machine.
- Blocks are really signed, files really lie on the disk that the temporary directory is on, commits are really flushed.
- Sizes are parameters: the tests run every line with small ones, look at its form and result, and never at its time.
"""
