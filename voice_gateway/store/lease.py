"""Which of the processes that share a store's file does a work that only one should do."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import structlog


class Lease:
    """Held until it is closed, or its process ends, however that ends."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def take_lease(store: Path, work: str) -> Lease | None:
    """None: another process has it. The lock is on a file beside the store's, named after the work.

    Where there are no locks everybody has it: works are such that this does no harm.
    """
    path = lock_path(store, work)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError:
        return Lease(None)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        structlog.get_logger().warning("store.no_lock", path=str(path))  # a disk without locks
    return Lease(descriptor)


def is_taken(store: Path, work: str) -> bool:
    """Whether a process is at it now."""
    try:
        descriptor = os.open(lock_path(store, work), os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def lock_path(store: Path, work: str) -> Path:
    return store.with_name(f"{store.name}-{work}")
