"""Files that exist whole or not at all, whenever the process is killed."""

import contextlib
import os
import re
import sys
import time
import uuid
from collections.abc import Callable
from typing import IO

if sys.platform != "win32":
    import fcntl

# Longer than a file that is being written stays without a lock, before and after.
_UNLOCKED_SECONDS = 5.0


def write_whole(path: str, write: Callable[[IO[bytes]], None]) -> None:
    """Replaces the file at `path` with what `write` writes; until then the old file stays.

    The content is on disk before the file gets its name, so a power cut, too, leaves the old file
    or the new one.
    """
    folder = os.path.dirname(path) or os.curdir
    os.makedirs(folder, exist_ok=True)
    # In the same folder, since a rename is atomic only within one file system.
    temporary = f"{path}.{uuid.uuid4().hex}.tmp"
    try:
        with open(temporary, "xb") as file:
            _lock(file)
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            os.remove(temporary)
    _sync_folder(folder)


def remove_leftovers(*paths: str) -> None:
    """Removes what killed runs left behind in `write_whole`, but not what a live one writes."""
    folder = os.path.dirname(paths[0]) or os.curdir
    names = "|".join(re.escape(os.path.basename(path)) for path in paths)
    leftover = re.compile(rf"({names})\.[0-9a-f]{{32}}\.tmp")
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if leftover.fullmatch(name):
                _remove_unless_live(os.path.join(folder, name))


def _remove_unless_live(path: str) -> None:
    with contextlib.suppress(OSError), open(path, "rb+") as file:
        idle = time.time() - os.fstat(file.fileno()).st_mtime
        dead = idle > _UNLOCKED_SECONDS and _lock(file)
        if sys.platform == "win32":
            file.close()  # Nobody can remove an open file there.
        if dead:
            os.remove(path)


def _lock(file: IO[bytes]) -> bool:
    """Locks the file until it is closed or the process dies. False if another process has it."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False  # Also where the file system has no locks: the file may be live.
    return True


def _sync_folder(folder: str) -> None:
    """Flushes a rename to disk, where the system lets a folder be opened for that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
