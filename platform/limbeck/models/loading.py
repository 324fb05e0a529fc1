"""Models from folders and the hub: weights mapped into memory, never pickled, heads drawn from a seed."""

import contextlib
import copy
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from limbeck.errors import Problem, UserError
from limbeck.manifest import TEXT_COLUMNS
from limbeck.models.classifier import HubClassifier
from limbeck.models.families import ModelFacts, facts_of, family_of
from limbeck.tasks.labels import places_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MODEL_FILES = ("*.json", "*.txt", "*.model", "model*.safetensors")
"""All that a model and its tokenizer are read from."""
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
"""Where the words of the supported families stand: one of these."""
SAFE = {"use_safetensors": True, "trust_remote_code": False, "dtype": torch.float32}


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights on the CPU from `seed` and leave the process's own random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from printing bars and reports; what matters is checked and raised here."""
    from transformers.utils import logging as library

    verbosity, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity(logging.CRITICAL)
    library.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        library.set_verbosity(verbosity)
        if bars:
            library.enable_progress_bar()  # type: ignore[no-untyped-call]


def import_models() -> None:
    """Import what the first model of a process makes transformers import: seconds."""
    import transformers.modeling_utils  # noqa: F401


def resolve(name: Path | str) -> Path:
    """Return the folder of a model: `name` itself, or the hub's files of that id, fetched without pickled weights."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if isinstance(name, Path) or folder.is_absolute() or name.startswith((".", "~")):
            raise UserError(Problem(str(name), "no such model folder"))
        folder = _download(name)
    if not (folder / "config.json").is_file():
        raise UserError(Problem(str(name), "not a model folder: it has no config.json"))
    if not list(folder.glob("model*.safetensors")):
        raise UserError(Problem(str(name), _no_safetensors(folder)))
    family_of(str(json.loads((folder / "config.json").read_text()).get("model_type")), str(name))
    return folder


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(MODEL_FILES)))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(Problem(name, f"neither a folder nor a model that the hub could give: {reason}")) from error


def _no_safetensors(folder: Path) -> str:
    text = "it has no model.safetensors"
    if not list(folder.glob("*.bin")):
        return text
    return (
        f"{text}, only pickled weights (.bin), and unpickling can run any code, so they are never loaded. "
        "If you trust them, convert them once: python -c \"from transformers import AutoModel as A; m = 'MODEL'; "
        "A.from_pretrained(m).save_pretrained('CONVERTED')\" with the Auto class of the model's head, "
        "and copy the tokenizer's files beside the result"
    )


def load_facts(name: Path | str) -> ModelFacts:
    """Return the sizes of the model in a folder or of a hub id."""
    from transformers import AutoConfig

    with quiet():
        return facts_of(AutoConfig.from_pretrained(resolve(name), trust_remote_code=False))


def load_tokenizer(name: Path | str) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of a model folder or hub id; UserError where there is none."""
    from transformers import AutoTokenizer

    folder = resolve(name)
    # Without one of them the library makes up a vocabulary of special tokens alone, to which every word is unknown.
    if not any(any(folder.glob(pattern)) for pattern in _TOKENIZER_FILES):
        what = f"it has no tokenizer: none of {', '.join(_TOKENIZER_FILES)}"
        way_out = f"Save it beside the model: AutoTokenizer.from_pretrained(…).save_pretrained({str(folder)!r})"
        raise UserError(Problem(str(name), f"{what}. {way_out}"))
    with quiet():
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return tokenizer


def load_classifier(name: Path | str, classes: Sequence[str], device: torch.device | str = "cpu") -> HubClassifier:
    """Return a fitted classifier (no classes: regression) in evaluation mode, its logits in the order of `classes`.

    On the CPU its float32 weights stay in the file's memory map, so that processes share them.
    """
    from transformers import AutoModelForSequenceClassification

    folder = resolve(name)
    with quiet():
        model, report = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True, **SAFE)
    if missing := sorted(report["missing_keys"]):
        what = f"not a fitted classifier: its weights lack {', '.join(missing)}. Give it as `base` to fit one"
        raise UserError(Problem(str(name), what))
    outputs = max(1, len(classes))
    if model.config.num_labels != outputs:
        task = f"{outputs} classes: {', '.join(classes)}" if classes else "one output (regression)"
        raise UserError(Problem(str(name), f"it has {model.config.num_labels} outputs, but the task has {task}"))
    classifier = HubClassifier(model)
    _order_classes(classifier, classes)
    return classifier.to(device).eval()


def _order_classes(classifier: HubClassifier, classes: Sequence[str]) -> None:
    """Sort the rows of the last layer when the checkpoint names the same classes in another order (MNLI's do)."""
    order = places_of(classes, class_names(classifier))
    if order is not None and order != sorted(order):
        last = classifier.model.get_submodule(classifier.family.output)
        with torch.no_grad():
            for name, rows in list(last.named_parameters()):
                setattr(last, name, nn.Parameter(rows[order].clone()))
    _name_classes(classifier.model.config, classes)


def class_names(classifier: HubClassifier) -> tuple[str, ...]:
    """Return the names of a classifier's classes in the order of its logits; none for regression."""
    config: Any = classifier.model.config
    if config.num_labels == 1:
        return ()
    return tuple(str(config.id2label[i]) for i in range(config.num_labels))


def _name_classes(config: Any, classes: Sequence[str]) -> None:
    """Write the task's classes into a transformers configuration."""
    names = dict(enumerate(classes)) if classes else {0: "LABEL_0"}
    config.id2label = names
    config.label2id = {name: i for i, name in names.items()}
    config.problem_type = "single_label_classification" if classes else "regression"


def load_base(name: Path | str, classes: Sequence[str], seed: int, device: torch.device | str = "cpu") -> HubClassifier:
    """Return a classifier on a pretrained encoder, its fresh head (and any missing weight) drawn from `seed`."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    folder = resolve(name)
    with quiet(), seeded(seed):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        _name_classes(config, classes)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, config=config, ignore_mismatched_sizes=True, **SAFE
        )
    return HubClassifier(model).to(device)


def save_classifier(
    classifier: HubClassifier,
    tokenizer: "PreTrainedTokenizerBase",
    folder: Path,
    classes: Sequence[str],
    read: tuple[int, int] | None = None,
) -> None:
    """Write a folder that `AutoModelForSequenceClassification` and `AutoTokenizer` load by `from_pretrained`.

    `read` says how its texts were read: how many make a row, and the tokens at which they were cut. Whoever has the
    folder alone finds both in `tokenizer_config.json`.
    """
    if read is not None:
        tokenizer = copy.copy(tokenizer)
        tokenizer.init_kwargs = {**tokenizer.init_kwargs, TEXT_COLUMNS: read[0]}
        tokenizer.model_max_length = read[1]
    _name_classes(classifier.model.config, classes)
    with quiet():
        classifier.model.save_pretrained(folder)
        tokenizer.save_pretrained(str(folder))
