"""Write files that another process may be reading."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, text: str) -> None:
    """Replace a file atomically: a reader finds the old content or the new, also after a crash.
    Keeps the permissions and owner of an existing file, and a link to it. Raises OSError, also when
    something other than a file has this path."""
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise OSError(0, "is not a file")
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    new = Path(name)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            _take_after(target, handle)
            os.fsync(handle)
        new.replace(target)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _take_after(target: Path, handle: int) -> None:
    """Give an open new file the permissions and owner of the file that it replaces."""
    try:
        former = target.stat()
    except FileNotFoundError:
        os.fchmod(handle, 0o666 & ~_umask())
        return
    with suppress(PermissionError):  # Only root may change the owner; the content is right anyway.
        os.fchown(handle, former.st_uid, former.st_gid)
    os.fchmod(handle, former.st_mode & 0o7777)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make the rename durable: until then a crash of the machine may bring the old file back."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_private(path: Path, text: str) -> None:
    """Write a file atomically, readable only by its owner (mode 0600)."""
    unfinished = path.with_suffix(".new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode=0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    unfinished.rename(path)
