"""The folder an export goes to: it appears whole or not at all, and nobody else's is touched."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from limbeck.errors import Problem, UserError
from limbeck.manifest import MANIFEST, read_manifest
from limbeck.storage import reason

T = TypeVar("T")


_ALLOWED = "give a folder that is new, empty, or an earlier export"
_NAMED = 3


def check_target(to: Path) -> None:
    """Raise UserError unless `to` is new, empty, or an earlier export to which nothing was added."""
    if to.exists() and not to.is_dir():
        raise UserError(Problem(str(to), f"is a file; {_ALLOWED}"))
    if not to.is_dir():
        return
    manifest = read_manifest(to)
    ours = set() if manifest is None else {MANIFEST, *manifest.get("files", ())}
    if others := sorted({path.name for path in to.iterdir()} - ours):
        named = ", ".join(others[:_NAMED]) + (f" and {len(others) - _NAMED} more" if len(others) > _NAMED else "")
        raise UserError(Problem(str(to), f"holds other files ({named}); {_ALLOWED}"))


def whole_or_nothing(to: Path, fill: Callable[[Path], T]) -> T:
    """Fill a folder beside `to` and put it in its place only when that succeeded.

    UserError: it cannot be written, or somebody put something else at `to` meanwhile.
    """
    to = to.absolute()
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{to.name}-", dir=to.parent))
    except OSError as error:
        raise UserError(Problem(str(to), f"cannot be written: {reason(error)}")) from error
    try:
        done = fill(work)
        # mkdtemp's folder is for its owner alone; an export is made to be handed on.
        work.chmod(0o755)
        check_target(to)
        _swap(work, to)
    except OSError as error:
        shutil.rmtree(work, ignore_errors=True)
        raise UserError(Problem(str(to), f"cannot be written: {reason(error)}")) from error
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return done


def _swap(work: Path, to: Path) -> None:
    """Rename `work` to `to`; an earlier export there goes only when the new one has taken its place."""
    old = work.with_name(f"{work.name}-old")
    if to.exists():
        to.rename(old)
    try:
        work.rename(to)
    except OSError:
        if old.exists():
            old.rename(to)
        raise
    shutil.rmtree(old, ignore_errors=True)
