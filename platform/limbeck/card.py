"""The model card of an export: an export's manifest, told to people and to the hub's index."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

DEFAULT_TEACHER = "minilm-l6"
_GRAPH = "onnx"


def model_card(manifest: Mapping[str, Any]) -> str:
    """Return README.md for a model folder: the hub's metadata header, then Markdown."""
    parts = [_header(manifest), _what(manifest), _use(manifest), _results(manifest), _classes(manifest)]
    parts += [_calibration(manifest), _size(manifest), _making(manifest), _limits(manifest), _licences(manifest)]
    return _without_folders("\n\n".join(part.strip() for part in parts if part) + "\n", manifest)


def _without_folders(text: str, manifest: Mapping[str, Any]) -> str:
    """Shorten the user's own data files to their names: a card is published, the folders of a machine are not."""
    files = (manifest["spec"].get("task") or {}).get("files") or {}
    for path in (value for value in files.values() if value):
        text = text.replace(path, PurePath(path).name)
    return text


def _header(manifest: Mapping[str, Any]) -> str:
    """The YAML header. Every value is written as JSON, which YAML reads without surprises."""
    task = manifest["task"]
    results = [
        {
            "task": {"type": "text-classification"},
            "dataset": {"name": task["name"], "type": task["name"], "split": one["split"]},
            "metrics": [{"type": task["metric"], "value": one["value"]}],
        }
        for one in manifest["export"]["results"]
        if one["value"] is not None and one["split"] != "selection"
    ]
    graph = manifest["format"].startswith(_GRAPH)
    fields = {
        "library_name": _GRAPH if graph else "transformers",
        "pipeline_tag": "text-classification",
        "license": "other",
        "license_name": "see-the-sources-below",
        "tags": ["limbeck", "knowledge-distillation", manifest["spec"]["method"]["name"], *([_GRAPH] if graph else [])],
        "metrics": [task["metric"]],
        "model-index": [{"name": f"{manifest['sweep']}-{manifest['trial']}", "results": results}],
    }
    return "\n".join(["---", *(f"{key}: {json.dumps(value)}" for key, value in fields.items()), "---"])


def _what(manifest: Mapping[str, Any]) -> str:
    task, spec = manifest["task"], manifest["spec"]
    classes = task["classes"]
    kind = f"{len(classes)} classes: {', '.join(map(_code, classes))}" if classes else "regression"
    kept = manifest["export"]["retention"]
    sentence = "" if kept is None else f" On the held-out test split it keeps {kept:.1%} of its teacher's score."
    return (
        f"# {_plain(manifest['sweep'])}: a small classifier for {_plain(task['name'])}\n\n"
        f"A text classifier ({kind}) distilled with `{spec['method']['name']}` from {_teacher(spec)}, here as "
        f"{manifest['about']}.{sentence}"
    )


def _teacher(spec: Mapping[str, Any]) -> str:
    teacher = spec["teacher"]
    if teacher.get("checkpoint"):
        return f"the fitted classifier {_code(teacher['checkpoint'])}"
    return f"{_code(teacher.get('base') or DEFAULT_TEACHER)}, fine-tuned on the task"


def _use(manifest: Mapping[str, Any]) -> str:
    texts = "text" if manifest["task"]["text_columns"] == 1 else "first, second"
    if manifest["format"].startswith(_GRAPH):
        code = f"""from onnxruntime import InferenceSession
from transformers import AutoTokenizer

session = InferenceSession(f"{{folder}}/model.onnx")
tokenizer = AutoTokenizer.from_pretrained(folder)
wanted = [one.name for one in session.get_inputs()]
batch = tokenizer({texts}, truncation=True, padding=True, return_tensors="np")
logits = session.run(None, {{name: batch[name].astype("int64") for name in wanted}})[0]"""
        code = code.replace("batch = tokenizer(text,", "batch = tokenizer([text],")
        code = code.replace("batch = tokenizer(first, second,", "batch = tokenizer([first], [second],")
    else:
        code = f"""from transformers import AutoModelForSequenceClassification, AutoTokenizer

model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
logits = model(**tokenizer({texts}, truncation=True, return_tensors="pt")).logits"""
    calibrated = manifest["export"]["calibration"]
    divided = "" if calibrated is None else " Divide the logits by the temperature below before the softmax."
    return f"""## Use

```python
{code}
```

or `limbeck predict FOLDER < lines.txt`, or `limbeck serve FOLDER`, which do it for you.{divided}"""


def _results(manifest: Mapping[str, Any]) -> str:
    export, metric = manifest["export"], manifest["task"]["metric"]
    rows = [
        [_plain(one["split"]), _count(one["rows"]), *(_number(one[name]) for name in _COLUMNS)]
        for one in export["results"]
    ]
    table = _table(["split", "rows", metric, "teacher", "retention", "agreement"], rows)
    taken = [one["split"] for one in export["results"] if not one["measured"]]
    foreign = f" The numbers on {', '.join(taken)} are those of the trial's end." if taken else ""
    others = [_plain(one["split"]) for one in export["results"] if one["split"] not in ("selection", "test")]
    foreign += f" Out of domain, which training never saw: {', '.join(others)}." if others else ""
    sentences = [
        f"The selection split chose the student, the test split did not. The exported folder was reloaded in a new "
        f"process for this table; its logits differ from the trained student's by at most {export['difference']:.1e} "
        f"on the first test rows.{foreign}",
        *_sureness(manifest),
    ]
    return f"## Results\n\n{table}\n\n" + "\n\n".join(sentences)


_COLUMNS = ("value", "teacher", "retention", "agreement")


def _sureness(manifest: Mapping[str, Any]) -> list[str]:
    """Say how sure the retention is: over test examples, over seeds of the sweep, over fresh seeds."""
    export, seed = manifest["export"], manifest["spec"]["seed"]
    out = []
    if export["retention"] is not None and export["retention_interval"] is not None:
        low, high = export["retention_interval"]
        out.append(
            f"Retention on the test split: {_number(export['retention'])}, 95 % interval {_number(low)} to "
            f"{_number(high)} over test examples, for this one student (seed {seed})."
        )
    others = {name: value for name, value in manifest["other_seeds"].items() if value is not None}
    if others:
        listed = ", ".join(f"{value:.4f} (seed {name})" for name, value in others.items())
        out.append(f"The same settings with other seeds kept {listed}.")
    if (confirmed := manifest["confirmed"]) is not None:
        many = f"{confirmed['seeds']} seed{'s' if confirmed['seeds'] > 1 else ''}"
        out.append(
            f"On {many} that had no part in choosing these settings they kept {_number(confirmed['mean'])}, 95 % "
            f"interval {_number(confirmed['low'])} to {_number(confirmed['high'])} (sweep `{confirmed['sweep']}`)."
        )
    return out


def _classes(manifest: Mapping[str, Any]) -> str:
    found = manifest["export"]["per_class"]
    if not found:
        return ""
    rows = []
    for one in found:
        kept = one["recall"] / one["teacher"] if one["recall"] is not None and one["teacher"] else None
        rows.append([_code(one["name"]), _count(one["rows"]), *map(_number, (one["recall"], one["teacher"], kept))])
    table = _table(["class", "test rows", "recall", "teacher", "retention"], rows)
    return f"## By class\n\nThe share of each class's test rows that is found:\n\n{table}"


def _calibration(manifest: Mapping[str, Any]) -> str:
    export = manifest["export"]
    fitted = export["calibration"]
    if fitted is None:
        return ""
    rows = [
        [_plain(one["split"]), _number(one["ece"]), _number(one["ece_calibrated"])]
        for one in export["results"]
        if one["ece"] is not None
    ]
    table = _table(["split", "before", "after"], rows)
    return f"""## Calibration

Probabilities are softmax(logits / {fitted["temperature"]:.4g}); this temperature was fitted on the {fitted["rows"]:,}
rows of the {fitted["split"]} split and lies in `calibration.json`. The expected calibration error (15 bins):

{table}"""


def _size(manifest: Mapping[str, Any]) -> str:
    metrics = manifest["metrics"]
    rows = [
        [label, _count(metrics.get(name)), _count(metrics.get(f"teacher/{name}"))]
        for label, name in (
            ("parameters", "parameters"),
            ("parameters outside embeddings", "parameters_non_embedding"),
        )
    ]
    table = _table(["", "student", "teacher"], rows)
    folder = f"This folder holds {manifest['bytes'] / 1e6:.1f} MB."
    return f"## Size, time and cost\n\n{table}\n\n{folder}\n\n{_latency(manifest)}\n\n{_cost(manifest)}"


def _latency(manifest: Mapping[str, Any]) -> str:
    """Say how long an answer takes, for every batch size that was measured, and where that was."""
    found = manifest["export"]["latency_ms"]
    sizes = sorted(int(name.removeprefix("batch").removesuffix("/p50")) for name in found if name.endswith("/p50"))
    rows = [[str(n), *(f"{found[f'batch{n}/{share}']:.3g} ms" for share in ("p50", "p95"))] for n in sizes]
    threads = f"{found['threads']} thread{'s' if found['threads'] > 1 else ''}"
    return f"Time of one forward pass in {found['runtime']} with {threads} on {found['machine']}:\n\n" + _table(
        ["texts of median length at once", "p50", "p95"], rows
    )


def _cost(manifest: Mapping[str, Any]) -> str:
    seconds = manifest["metrics"].get("train_seconds")
    if seconds is None:
        return ""
    whole = manifest["sweep_seconds"]
    sweep = "" if whole is None else f"; all trials of its sweep together {_seconds(whole)}"
    return f"Training took {_seconds(seconds)} seconds, evaluations left out{sweep}."


def _seconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _making(manifest: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in manifest["versions"].items())
    seed, created = manifest["spec"]["seed"], manifest["created"]
    return f"""## How it was made

Sweep `{manifest["sweep"]}`, trial `{manifest["trial"]}`, seed {seed}, exported {created}
with {versions}. Plan `{manifest["plan_hash"][:12]}`; data `{manifest["task"]["fingerprint"]}`.

The trial:

{_fenced("json", json.dumps(manifest["spec"], indent=1, ensure_ascii=False))}

The plan it belongs to:

{_fenced("yaml", manifest["plan"].strip())}"""


def _limits(manifest: Mapping[str, Any]) -> str:
    lines = ["It knows the classes, the language and the kind of text it was trained on, and no others."]
    if manifest["chosen_from"] > 1:
        lines.append(
            f"It is the best of {manifest['chosen_from']} trials on the selection split: one trial with one seed, so a "
            "repetition may come out lower."
        )
    if manifest["task"]["classes"]:
        lines.append(
            "Its probabilities are calibrated for text like the selection split's; elsewhere they may mislead."
        )
    if manifest["format"] == "onnx-int8":
        lines.append(
            "Activations are quantised by batch, so what shares a batch moves a text's logits: by up to "
            f"{manifest['export']['drift']:.2g} between a text alone and the same text in a batch of 32."
        )
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _licences(manifest: Mapping[str, Any]) -> str:
    rows = [[*map(_plain, (one["name"], one["licence"])), _origin(one["origin"])] for one in manifest["sources"]]
    return f"## Data, base models and their licences\n\n{_table(['what', 'licence', 'from'], rows)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [list(head), ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells)


def _code(text: str) -> str:
    """Return foreign text, a class's name say, as a code span: nothing in it is read as Markdown or as HTML."""
    line = " ".join(text.split()) or " "
    ticks = _more_ticks(line, 1)
    return f"{ticks} {line} {ticks}" if "`" in line else f"{ticks}{line}{ticks}"


def _plain(text: str) -> str:
    """Return text in which no character is read as Markdown."""
    return re.sub(r"([\\`*_\[\]<>#~&!])", r"\\\1", " ".join(text.split()))


def _origin(text: str) -> str:
    return text if re.fullmatch(r"[\w./%=?&:@+, -]+", text) else _code(text)


def _fenced(language: str, text: str) -> str:
    ticks = _more_ticks(text, 3)
    return f"{ticks}{language}\n{text}\n{ticks}"


def _more_ticks(text: str, least: int) -> str:
    """Return more backticks than any run of them in `text`."""
    return "`" * max(least, 1 + max((len(run) for run in re.findall("`+", text)), default=0))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
