"""`python -m medledger` is the `medledger` command."""

from __future__ import annotations

from medledger.cli import main

if __name__ == "__main__":
    main()
