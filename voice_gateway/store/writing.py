"""One transaction on the local file: all of it or nothing, and no other writer in between."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE_S = 3.0
"""For the record's writer, which holds the file for milliseconds, and for other tools."""


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Lock the file for writing from the first statement to the end of the block. db: in autocommit mode.

    Raises `sqlite3.OperationalError` when the file stays locked for longer than the connection's patience.
    """
    db.execute("begin immediate")
    try:
        yield db
        db.execute("commit")
    except BaseException:
        if db.in_transaction:  # some faults have rolled it back already
            db.execute("rollback")
        raise
