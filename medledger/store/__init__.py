"""The store: one SQLite file that holds a replica, and that an auditor opens with any SQLite tool.

- An append is acknowledged only after its transaction has been committed with `synchronous=FULL`.
- One connection, in exclusive locking mode: SQLite before 3.51.3 can lose a commit when two connections meet in a
  WAL reset. Other programs read a copy (`Ledger.backup`) or the file of a ledger that is closed.
- Blocks lie under `feed number << 40 | seq`, in the order they were written. What is found by a random key (a block's
  id) or by meaning (entries) lies in indexes that lag and are filled in sorted batches, because keeping a random index
  up to date inside an import costs more than validating the blocks.
"""

from .connection import CHECK_DISK
from .database import BlockRow, Feed, Store

__all__ = ["CHECK_DISK", "BlockRow", "Feed", "Store"]
