"""One transaction of a tool on the local file: all of it or nothing, and no other writer in between."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

PATIENCE_S = 3.0
"""For the record's writer, which holds the file for milliseconds, and for other tools."""


@contextmanager
def transaction(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of its own, locked for writing from its first statement to the end of the block. Rows have names.

    Raises `sqlite3.OperationalError` when the file stays locked for longer than the patience.
    """
    with closing(sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None)) as db:
        db.row_factory = sqlite3.Row
        db.execute("pragma foreign_keys = on")
        db.execute("begin immediate")
        try:
            yield db
        except BaseException:
            db.execute("rollback")
            raise
        db.execute("commit")
