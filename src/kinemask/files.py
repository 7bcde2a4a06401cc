"""Files that are either complete or absent, and locks that end with the process that holds them."""

from __future__ import annotations

import glob
import os
import re
import secrets
import shutil
import socket
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, and so nothing is swept
    fcntl = None


def write_atomically(path: Path, write: Callable[[Path], object], former: Path | None = None) -> None:
    """Call `write` with a temporary path beside `path`, then rename; nothing is left behind when it fails.

    The content is on the disk before it has its name. former: the name that the file at `path` takes then. What
    processes that were killed left of earlier writes is removed.
    """
    sweep(path.parent, path.name)
    partial = partial_path(path)
    try:
        with naming(path), partial.open("wb") as file:
            try_lock(file.fileno())
            write(partial)
            os.fsync(file.fileno())
            if former is not None and path.exists():
                os.replace(path, former)
            os.replace(partial, path)
            sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def partial_path(path: Path) -> Path:
    """A new hidden name beside `path`, for what is not whole yet; whoever writes there locks it (`try_lock`)."""
    return path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")


def sync_folder(folder: Path) -> None:
    """Have the names in a folder reach the disk, where the file system can do that."""
    if fcntl is None:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes left half-written in a folder, of the file or folder `name` or of any."""
    pattern = "*" if name is None else glob.escape(name)
    for partial in folder.glob(f".{pattern}.partial-*"):
        if re.fullmatch(r"[0-9a-f]+", partial.name.rpartition("-")[2]) and not in_use(partial):
            remove(partial)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def in_use(path: Path) -> bool:
    """Whether a living process holds a lock on a file, or on one in a folder; also where that cannot be found out."""
    try:
        if path.is_dir():
            return any(in_use(inside) for inside in path.iterdir())
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        return not try_lock(descriptor)
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file until it is closed, at the latest with the process; returns whether it could be had.

    False: another process has it, or another opening in this one. None: there are no locks on this file system.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@contextmanager
def lock_file(path: Path, what: str) -> Generator[None]:
    """Hold a lock file while the context lasts, then remove it. A killed process's file is taken over.

    Raises ValueError that says who holds it where another process does. what: "the run runs/a".
    """
    descriptor, locked = _open_and_lock(path)
    try:
        if locked is False:
            holder = os.read(descriptor, 300).decode(errors="replace").strip() or "another process"
            raise ValueError(f"{what} is in use by {holder}; wait for it to end, or stop it")
        if locked is None:
            warnings.warn(f"{path}: no file locks here, so nothing keeps a second process off {what}", stacklevel=4)
        since = time.strftime("%Y-%m-%d %H:%M:%S %z")
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()} since {since}\n".encode())
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # before the lock ends with closing
    finally:
        os.close(descriptor)


def _open_and_lock(path: Path) -> tuple[int, bool | None]:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        locked = try_lock(descriptor)
        with suppress(FileNotFoundError):
            if locked is False or os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor, locked
        os.close(descriptor)  # its holder removed it after it was opened here


@contextmanager
def naming(path: Path) -> Generator[None]:
    """Has an OSError of writing (a full disk) say which file it was."""
    try:
        yield
    except OSError as error:
        reason = f"cannot write {path} ({error.strerror or error}); the last good state is kept"
        raise OSError(error.errno, reason) from error
