"""The shape of the repository: names that hide nothing, a wheel that is complete, texts that fit any machine."""

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DASHBOARDS = sorted((ROOT / "dashboards").rglob("*.py"))
DASHBOARDS_MAY_IMPORT = {"analysis", "store", "compare", "report", "errors", "resources", "storage"}
HEAVY = {"torch", "ray", "transformers", "datasets", "optuna"}
MACHINE_PATH = re.compile(r"(?<![\w.}])/(work|root|Users|home/(?!ray\b)|mnt|opt/(wheels|pypi))\b/?\w*")
PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][0-9A-Za-z.]*")


def test_the_source_root_hides_no_standard_module() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    code = "import platform; print(platform.system())"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() in {"Linux", "Darwin", "Windows"}


def test_no_dashboard_file_has_the_name_of_a_standard_module() -> None:
    names = {path.stem for path in DASHBOARDS} | {p.name for p in (ROOT / "dashboards").iterdir() if p.is_dir()}
    assert not names & sys.stdlib_module_names


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_the_dashboards_read_results_and_need_neither_torch_nor_ray() -> None:
    for path in DASHBOARDS:
        imports = _imports(path)
        assert not {name.split(".")[0] for name in imports} & HEAVY, path
        ours = {name.split(".")[1] for name in imports if name.startswith("limbeck.")}
        assert ours <= DASHBOARDS_MAY_IMPORT, path


def test_what_a_dashboard_may_import_loads_without_torch_and_ray() -> None:
    present = [n for n in sorted(DASHBOARDS_MAY_IMPORT) if list((ROOT / "platform" / "limbeck").glob(f"{n}*"))]
    modules = ", ".join(f"limbeck.{name}" for name in present)
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'platform')!r})\nimport {modules}\n"
    code += f"print(*{HEAVY!r} & sys.modules.keys())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def _tracked() -> list[Path]:
    run = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode:
        pytest.skip("not a checkout")
    paths = [ROOT / name for name in run.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and path != Path(__file__).resolve()]


def test_no_text_names_a_path_of_some_machine() -> None:
    found = []
    for path in _tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if match := MACHINE_PATH.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {match.group()}")
    assert found == []


def test_constraints_are_exact_and_fit_any_index() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [line for line in pins if not PIN.fullmatch(line)] == []
    names = [re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in pins]
    assert len(set(names)) == len(names)
    assert "torch" in names


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, capture_output=True, text=True, check=True)
    (path,) = out.glob("limbeck-*.whl")
    return path


def test_the_wheel_holds_the_plans_and_the_dashboard(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("search_spaces", "dashboards"):
        ours = [p for p in (ROOT / folder).rglob("*") if p.is_file() and p.suffix in {".yaml", ".py", ".md"}]
        shipped = {f"limbeck/_shipped/{p.relative_to(ROOT).as_posix()}" for p in ours}
        assert ours
        assert shipped <= names
    assert "limbeck/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "platform/"))]


def test_a_shipped_plan_is_found_by_name_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from limbeck.resources import dashboards, find_plan\n"
        "print(find_plan('quickstart'), find_plan('search_spaces/quickstart.yaml'), dashboards(), sep='\\n')\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    plan = tmp_path / "limbeck/_shipped/search_spaces/quickstart.yaml"
    assert run.stdout.split() == [str(plan), str(plan), str(tmp_path / "limbeck/_shipped/dashboards")]
