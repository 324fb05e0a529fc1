"""What is wrong with a configuration, said in the words of its file: dotted path, rule, value, nearest name."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from limbeck.errors import did_you_mean
from limbeck.methods import METHODS
from limbeck.trial import TrialSpec
from limbeck.yaml_strict import dump_value

_LONGEST_SHOWN = 60


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, at a dotted path below the plan's top."""

    path: str
    what: str

    def under(self, prefix: str) -> "Fault":
        """Return the same fault, its path one level further down."""
        return Fault(".".join(filter(None, (prefix, self.path))), self.what)


def shown(value: Any) -> str:
    """Return a value as YAML on one line, cut when long."""
    text = dump_value(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def trial_faults(raw: Mapping[str, Any]) -> list[Fault]:
    """Return every fault of a raw trial; paths start at the trial (`method.mask_rate`)."""
    method = raw.get("method")
    name = method.get("name") if isinstance(method, dict) else method
    if name is not None and not isinstance(name, str):
        rest = {**raw, "method": next(iter(METHODS))}
        return [Fault("method.name", f"must be text, got {shown(name)}"), *trial_faults(rest)]
    return model_faults(TrialSpec, raw)


def model_faults(model: type[BaseModel], raw: Any) -> list[Fault]:
    """Return every fault of a raw value for `model`, one a path."""
    try:
        model.model_validate(raw)
    except ValidationError as error:
        return list(_merged(_translated(model, entry, raw) for entry in error.errors(include_url=False)))
    return []


def _merged(faults: Iterator[Fault]) -> Iterator[Fault]:
    """Join what the members of a union say about one path."""
    found: dict[str, list[str]] = {}
    for fault in faults:
        words = found.setdefault(fault.path, [])
        if fault.what not in words:
            words.append(fault.what)
    for path, words in found.items():
        yield Fault(path, "; or ".join(words))


def _translated(model: type[BaseModel], entry: Any, raw: Any) -> Fault:
    path, holder = _walk(model, entry["loc"], raw)
    return Fault(".".join(path), _words(entry, path[-1] if path else "", holder))


def _walk(model: type[BaseModel], loc: tuple[int | str, ...], raw: Any) -> tuple[list[str], type[BaseModel] | None]:
    """Return the path in the file (without pydantic's union tags) and the model that holds its last key."""
    path: list[str] = []
    here: type[BaseModel] | None = model
    holder: type[BaseModel] | None = model
    for key in loc:
        in_data = isinstance(raw, dict) and key in raw
        in_list = isinstance(raw, list) and isinstance(key, int) and key < len(raw)
        in_model = here is not None and isinstance(raw, dict) and key in here.model_fields
        if not (in_data or in_list or in_model):
            continue
        path.append(str(key))
        holder = here
        below = raw[key] if in_data or in_list else None
        here = _model_at(here, str(key), below) if not in_list else here
        raw = below
    return path, holder


def _model_at(model: type[BaseModel] | None, key: str, value: Any) -> type[BaseModel] | None:
    """Return the model of a field's value; for `method` the one of the method that the file names."""
    if model is TrialSpec and key == "method":
        name = value.get("name") if isinstance(value, dict) else value
        return METHODS[name].Config if isinstance(name, str) and name in METHODS else None
    if model is None or key not in model.model_fields:
        return None
    return next(_models_in(model.model_fields[key].annotation), None)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _words(entry: Any, key: str, holder: type[BaseModel] | None) -> str:
    """Turn pydantic's message into: rule, what was got, nearest allowed."""
    kind, message, value = entry["type"], str(entry["msg"]), entry["input"]
    if kind == "extra_forbidden":
        return f"no such field. {did_you_mean(key, _writable(holder))}" if holder else "no such field."
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    words = re.sub(r"^\w+ should", "must", message).removesuffix(" after validation, not 0")
    words = re.sub(r"valid dictionary( or instance of \w+)?", "mapping", words)
    words = re.sub(r", unable to parse string as an? \w+$", "", words)
    if kind.startswith("int_"):
        words = "must be a whole number"
    words = f"{words}, got {shown(value)}"
    if kind == "literal_error" and isinstance(value, str):
        allowed = re.findall("'([^']*)'", str(entry["ctx"]["expected"]))
        words += f". {did_you_mean(value, allowed)}"
    return words


def _writable(model: type[BaseModel]) -> list[str]:
    return [name for name in model.model_fields if not (model is TrialSpec and name == "seed")]
