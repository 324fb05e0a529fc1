"""Tasks from a hub of data sets: GLUE's nine by name, any other by its columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from limbeck.tasks.task import Source

SEE_CARD = "see the data set card"


@dataclass(frozen=True)
class Companion:
    """An out-of-domain test set for a known task."""

    id: str
    config: str | None
    split: str
    text: tuple[str, ...]
    label: str
    names: tuple[str, ...]
    """What its labels are called, in the order of the task's classes (of the merged classes where it has fewer)."""
    merge: tuple[int, ...] | None = None
    """Class of the task -> class of the companion, where the companion has fewer."""
    revision: str | None = None

    @property
    def source(self) -> Source:
        """Where its rows come from."""
        return Source(self.id, SEE_CARD, self.id)


@dataclass(frozen=True)
class HubTask:
    """A data set with labelled `train` and validation splits; the labels of its test split are hidden."""

    about: str
    id: str
    config: str
    text: tuple[str, ...]
    classes: tuple[str, ...]
    """Names in label order; () for regression."""
    metric: str
    rows: Mapping[str, int]
    """As published, before a selection split is carved from train."""
    validation: str = "validation"
    parts: Mapping[str, str] = field(default_factory=dict)
    """Where several sets make up the test: name -> split of the data set. Each is scored by itself, too."""
    companions: Mapping[str, Companion] = field(default_factory=dict)
    label: str = "label"
    unlabelled: int = 0
    """Texts of its kind without labels: the hub's GLUE has none."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where its rows come from."""
        return (Source(f"{self.id} ({self.config})", SEE_CARD, self.id),)


_ID = "nyu-mll/glue"
_ENTAILMENT = ("entailment", "not_entailment")
_IMDB = Companion("stanfordnlp/imdb", None, "test", ("text",), "label", ("negative", "positive"))
_PAWS = Companion(
    "google-research-datasets/paws",
    "labeled_final",
    "test",
    ("sentence1", "sentence2"),
    "label",
    ("not_duplicate", "duplicate"),
)
_HANS = Companion(
    "jhu-cogsci/hans",
    None,
    "validation",
    ("premise", "hypothesis"),
    "label",
    ("entailment", "non-entailment"),
    merge=(0, 1, 1),
    # The main branch holds a loading script, which `datasets` no longer runs; the hub keeps a converted copy.
    revision="refs/convert/parquet",
)
_SCITAIL = Companion(
    "allenai/scitail",
    "snli_format",
    "test",
    ("sentence1", "sentence2"),
    "gold_label",
    ("entailment", "neutral"),
    merge=(0, 1, 1),
)

GLUE: Mapping[str, HubTask] = {
    "cola": HubTask(
        "Is a sentence acceptable English?",
        _ID,
        "cola",
        ("sentence",),
        ("unacceptable", "acceptable"),
        "matthews",
        {"train": 8_551, "test": 1_043},
    ),
    "sst2": HubTask(
        "Is a phrase of a film review favourable?",
        _ID,
        "sst2",
        ("sentence",),
        ("negative", "positive"),
        "accuracy",
        {"train": 67_349, "test": 872},
        companions={"imdb": _IMDB},
    ),
    "mrpc": HubTask(
        "Do two sentences from the news say the same?",
        _ID,
        "mrpc",
        ("sentence1", "sentence2"),
        ("not_equivalent", "equivalent"),
        "accuracy_f1",
        {"train": 3_668, "test": 408},
    ),
    "qqp": HubTask(
        "Do two questions ask the same?",
        _ID,
        "qqp",
        ("question1", "question2"),
        ("not_duplicate", "duplicate"),
        "accuracy_f1",
        {"train": 363_846, "test": 40_430},
        companions={"paws": _PAWS},
    ),
    "stsb": HubTask(
        "How similar are two sentences, from 0 to 5?",
        _ID,
        "stsb",
        ("sentence1", "sentence2"),
        (),
        "pearson_spearman",
        {"train": 5_749, "test": 1_500},
    ),
    "mnli": HubTask(
        "Does a premise entail a hypothesis, contradict it, or neither?",
        _ID,
        "mnli",
        ("premise", "hypothesis"),
        ("entailment", "neutral", "contradiction"),
        "accuracy",
        {"train": 392_702, "test": 19_647, "matched": 9_815, "mismatched": 9_832},
        parts={"matched": "validation_matched", "mismatched": "validation_mismatched"},
        companions={"hans": _HANS, "scitail": _SCITAIL},
    ),
    "qnli": HubTask(
        "Does a sentence answer a question?",
        _ID,
        "qnli",
        ("question", "sentence"),
        _ENTAILMENT,
        "accuracy",
        {"train": 104_743, "test": 5_463},
    ),
    "rte": HubTask(
        "Does a text entail a hypothesis?",
        _ID,
        "rte",
        ("sentence1", "sentence2"),
        _ENTAILMENT,
        "accuracy",
        {"train": 2_490, "test": 277},
    ),
    "wnli": HubTask(
        "Does a sentence entail the same sentence with a pronoun resolved?",
        _ID,
        "wnli",
        ("sentence1", "sentence2"),
        ("not_entailment", "entailment"),
        "accuracy",
        {"train": 635, "test": 71},
    ),
}
