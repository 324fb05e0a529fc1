"""What a dashboard may read loads without what trains."""

import subprocess
import sys
from pathlib import Path

import limbeck.analysis

MODULES = sorted(path.stem for path in Path(limbeck.analysis.__file__).parent.glob("*.py") if path.stem != "__init__")


def test_analysis_loads_neither_torch_nor_ray() -> None:
    imports = "\n".join(f"import limbeck.analysis.{name}" for name in MODULES)
    source = Path(limbeck.analysis.__file__).parents[2]
    code = f"import sys\nsys.path.insert(0, {str(source)!r})\n{imports}\n"
    code += "print({'torch', 'ray', 'transformers', 'datasets', 'optuna', 'streamlit'} & sys.modules.keys())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
    assert {"ablation", "retention", "confirm", "scaling", "costs", "outlook"} <= set(MODULES)
