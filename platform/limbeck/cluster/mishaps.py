"""What can go wrong around a trial without being its doing."""

import errno
import shutil
from pathlib import Path

from limbeck.cluster.messages import Refused
from limbeck.errors import Problem, UserError
from limbeck.storage import Storage, reason

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_LEAST_BYTES = 2**20


def disk_is_full(error: BaseException, folder: Path) -> bool:
    """Say whether it was for want of room that something could not be written in `folder`."""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return True
    # safetensors tells the system's number in words, numpy tells how many items it wrote.
    if any(f"(os error {number})" in str(error) or f"[Errno {number}]" in str(error) for number in _NO_ROOM):
        return True
    return isinstance(error, OSError) and error.errno is None and shutil.disk_usage(folder).free < _LEAST_BYTES


def explained(error: Exception, storage: Storage) -> Exception:
    """Return a fault of the disk or the store that holds the runs as a UserError, any other error as it is."""
    if disk_is_full(error, storage.folder):
        return no_room(storage.folder).error()
    if isinstance(error, OSError):
        what = f"runs cannot be kept here: {reason(error)}; when they can, go on with limbeck sweep --resume"
        return UserError(Problem(storage.shown(storage.folder), what))
    return error


def no_room(folder: Path) -> Refused:
    """Return what breaks the sweep off that writes to `folder`."""
    return Refused(problems=[(str(folder), "the disk is full: make room, and go on with limbeck sweep --resume")])
