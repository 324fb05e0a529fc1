"""The model card of an export: an export's manifest, told to people and to the hub's index."""

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

DEFAULT_TEACHER = "minilm-l6"


def model_card(manifest: Mapping[str, Any]) -> str:
    """Return README.md for a model folder: the hub's metadata header, then Markdown."""
    parts = [_header(manifest), _what(manifest), _use(manifest), _results(manifest), _size(manifest)]
    parts += [_making(manifest), _limits(manifest), _licences(manifest)]
    return _without_folders("\n\n".join(part.strip() for part in parts) + "\n", manifest)


def _without_folders(text: str, manifest: Mapping[str, Any]) -> str:
    """Shorten the user's own data files to their names: a card is published, the folders of a machine are not."""
    files = (manifest["spec"].get("task") or {}).get("files") or {}
    for path in (value for value in files.values() if value):
        text = text.replace(path, PurePath(path).name)
    return text


def _header(manifest: Mapping[str, Any]) -> str:
    """The YAML header. Every value is written as JSON, which YAML reads without surprises."""
    task = manifest["task"]
    value = manifest["export"][f"test/{task['metric']}"]
    result = {
        "task": {"type": "text-classification"},
        "dataset": {"name": task["name"], "type": task["name"], "split": "test"},
        "metrics": [{"type": task["metric"], "value": value}],
    }
    fields = {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "license": "other",
        "license_name": "see-the-sources-below",
        "tags": ["limbeck", "knowledge-distillation", manifest["spec"]["method"]["name"]],
        "metrics": [task["metric"]],
        "model-index": [{"name": f"{manifest['sweep']}-{manifest['trial']}", "results": [result]}],
    }
    return "\n".join(["---", *(f"{key}: {json.dumps(value)}" for key, value in fields.items()), "---"])


def _what(manifest: Mapping[str, Any]) -> str:
    task, spec = manifest["task"], manifest["spec"]
    kind = f"{len(task['classes'])} classes: {', '.join(task['classes'])}" if task["classes"] else "regression"
    kept = manifest["retention"]
    sentence = "" if kept is None else f" On the held-out test split it keeps {kept:.1%} of its teacher's score."
    return (
        f"# {manifest['sweep']}: a small classifier for {task['name']}\n\n"
        f"A text classifier ({kind}) distilled with `{spec['method']['name']}` from {_teacher(spec)}.{sentence}"
    )


def _teacher(spec: Mapping[str, Any]) -> str:
    teacher = spec["teacher"]
    if teacher.get("checkpoint"):
        return f"the fitted classifier `{teacher['checkpoint']}`"
    return f"`{teacher.get('base') or DEFAULT_TEACHER}`, fine-tuned on the task"


def _use(manifest: Mapping[str, Any]) -> str:
    texts = "text" if manifest["task"]["text_columns"] == 1 else "first, second"
    return f"""## Use

```python
from transformers import AutoModelForSequenceClassification, AutoTokenizer

model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
logits = model(**tokenizer({texts}, truncation=True, return_tensors="pt")).logits
```

or `limbeck predict FOLDER < lines.txt`."""


def _results(manifest: Mapping[str, Any]) -> str:
    metrics, metric = manifest["metrics"], manifest["task"]["metric"]
    splits = [name.split("/")[1] for name in metrics if name.startswith("teacher/") and name.endswith(f"/{metric}")]
    order = sorted(splits, key=lambda s: (s != "test", s == "selection", s))
    rows = [
        [
            split,
            *(
                _number(metrics.get(name))
                for name in (f"{split}/{metric}", f"teacher/{split}/{metric}", f"{split}/retention")
            ),
            *(_number(metrics.get(f"{split}/{name}")) for name in ("agreement", "ece")),
        ]
        for split in order
    ]
    table = _table(["split", metric, "teacher", "retention", "agreement", "calibration error"], rows)
    export = manifest["export"]
    return f"""## Results

{table}

As measured when the trial ended. The selection split chose the student, the test split did not. The exported folder,
reloaded in a new process, reaches {metric} {_number(export[f"test/{metric}"])} on the {export["rows"]:,} test rows; its
logits differ from the trained student's by at most {export["difference"]:.1e}."""


def _size(manifest: Mapping[str, Any]) -> str:
    metrics = manifest["metrics"]
    rows = [
        [label, _count(metrics.get(name)), _count(metrics.get(f"teacher/{name}"))]
        for label, name in (
            ("parameters", "parameters"),
            ("parameters outside embeddings", "parameters_non_embedding"),
        )
    ]
    seconds = metrics.get("train_seconds")
    words = "" if seconds is None else f"{seconds:,.0f}" if seconds >= 10 else f"{seconds:.2g}"
    cost = f"\n\nTraining took {words} seconds, evaluations left out." if words else ""
    return f"## Size and cost\n\n{_table(['', 'student', 'teacher'], rows)}{cost}{_latency(metrics)}"


def _latency(metrics: Mapping[str, float | None]) -> str:
    """Say how long the student takes, for every batch size that was measured."""
    sizes = sorted(int(name.split("/")[1].removeprefix("batch")) for name in metrics if name.endswith("/p50"))
    lines = [
        f"- {size} text{'s' if size > 1 else ''} of median length at once: "
        f"{_milliseconds(metrics, size, 'p50')} (p50), {_milliseconds(metrics, size, 'p95')} (p95)"
        for size in sizes
    ]
    if not lines:
        return ""
    return "\n\nTime of one forward pass in torch, on the machine and threads of the trial:\n\n" + "\n".join(lines)


def _milliseconds(metrics: Mapping[str, float | None], size: int, share: str) -> str:
    value = metrics.get(f"latency_ms/batch{size}/{share}")
    return "–" if value is None else f"{value:.3g} ms"


def _making(manifest: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in manifest["versions"].items())
    seed, created = manifest["spec"]["seed"], manifest["created"]
    return f"""## How it was made

Sweep `{manifest["sweep"]}`, trial `{manifest["trial"]}`, seed {seed}, exported {created}
with {versions}. Plan `{manifest["plan_hash"][:12]}`; data `{manifest["task"]["fingerprint"]}`.

The trial:

```json
{json.dumps(manifest["spec"], indent=1, ensure_ascii=False)}
```

The plan it belongs to:

```yaml
{manifest["plan"].strip()}
```"""


def _limits(manifest: Mapping[str, Any]) -> str:
    lines = ["It knows the classes, the language and the kind of text it was trained on, and no others."]
    if manifest["chosen_from"] > 1:
        lines.append(
            f"It is the best of {manifest['chosen_from']} trials on the selection split: one trial with one seed, so a "
            "repetition may come out lower."
        )
    if manifest["task"]["classes"]:
        lines.append("Its probabilities are those of the network, not calibrated afterwards.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _licences(manifest: Mapping[str, Any]) -> str:
    rows = [[source["name"], source["licence"], source["origin"]] for source in manifest["sources"]]
    return f"## Data, base models and their licences\n\n{_table(['what', 'licence', 'from'], rows)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [list(head), ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
