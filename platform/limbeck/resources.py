"""Where the files that ship with the package lie: plans and the dashboard."""

from pathlib import Path

from limbeck.errors import Problem, UserError, did_you_mean

_PACKAGE = Path(__file__).parent


def _shipped(name: str) -> Path:
    """Return the folder inside an installed package, or at the root of a checkout."""
    installed = _PACKAGE / "_shipped" / name
    return installed if installed.is_dir() else _PACKAGE.parent.parent / name


def search_spaces() -> Path:
    """Return the folder of the shipped plans."""
    return _shipped("search_spaces")


def dashboards() -> Path:
    """Return the folder of the dashboard's files."""
    return _shipped("dashboards")


def shipped_plans() -> dict[str, Path]:
    """Return every shipped plan by its bare name: `quickstart`, `ablations/mate`."""
    folder = search_spaces()
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))}


def find_plan(word: str) -> Path:
    """Return the file that `word` names: a path, or a shipped plan as `mate` or `search_spaces/mate.yaml`."""
    path = Path(word)
    if path.is_file():
        return path
    plans = shipped_plans()
    name = word.removesuffix(".yaml").removeprefix("search_spaces/")
    if name in plans:
        return plans[name]
    if path.is_dir():
        raise UserError(Problem(word, "is a folder, not a plan file"))
    raise UserError(Problem(word, f"no such plan file, and no shipped plan of that name. {did_you_mean(name, plans)}"))
