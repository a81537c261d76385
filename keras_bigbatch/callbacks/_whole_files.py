"""Files that are there whole or not at all, whenever the process is killed."""

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

# Longer than the moments in which a file that is being written has no lock, before and after.
_UNLOCKED_SECONDS = 5.0


def write_whole(path: str, write: Callable[[IO[bytes]], None]) -> None:
    """Makes the file at `path` of what `write` writes; until then the one before stays.

    The content is on the disk before the file has its name, so that a power cut leaves the old or
    the new one too.
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
    """Removes what killed runs have left of a `write_whole`, but not what a live one writes."""
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
            file.close()  # Nothing that is open can be removed there, by whomever.
        if dead:
            os.remove(path)


def _lock(file: IO[bytes]) -> bool:
    """Takes the file until it is closed or the process dies; False if another one has it."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False  # Also where the file system has no locks: what is there may be live.
    return True


def _sync_folder(folder: str) -> None:
    """Puts a rename on the disk, where the system lets a folder be opened for that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
