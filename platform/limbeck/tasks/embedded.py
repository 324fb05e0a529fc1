"""The built-in tasks: film reviews, news topics, product reviews; from pinned archives, with leaks removed."""

import csv
import html
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limbeck.archives import ARCHIVES, fetch
from limbeck.cache import Cache
from limbeck.config import content_hash
from limbeck.tasks.splitting import carve, row_keys, text_key, without
from limbeck.tasks.task import Examples, Source, Task, fingerprint

SENTIMENTS = ("negative", "positive")
TOPICS = ("acq", "crude", "earn", "grain", "interest", "money-fx", "ship", "trade")
CLEAR_RATING = 0.5
"""Mean ratings (-4 to 4) no further than this from 0 are no verdict: their rows are dropped."""
_LAYOUT = 3
"""Counts changes here or in `splitting` that change a parsed task; a new number makes caches parse again."""
_REVIEW_SHARES = {"test": 0.30, "selection": 0.15}
_SENTENCE_WORDS = range(4, 61)

_NUMERIC_ESCAPE = re.compile(r"&#(\d+) ?;")
_LINE_BREAK = re.compile(r"\s*<br\s*/?>\s*")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')]*\s+(?=[\"'(]*[A-Z0-9])")
# Windows-1252 signs (dashes mostly) that were read as Latin-1 control characters.
_WINDOWS_SIGNS = {code: bytes([code]).decode("cp1252", "ignore") for code in range(0x80, 0xA0)}


@dataclass(frozen=True)
class Embedded:
    """A task that comes with limbeck: no hub is needed."""

    about: str
    classes: tuple[str, ...]
    metric: str
    rows: Mapping[str, int]
    """Rows of each split, as the loader makes them."""
    archives: tuple[str, ...]
    parse: Callable[[Callable[[str], Path]], "Parsed"]
    unlabelled: int = 0
    """Texts of its kind without labels."""

    @property
    def companions(self) -> tuple[str, ...]:
        """Its out-of-domain test sets."""
        return tuple(split for split in self.rows if split not in ("train", "selection", "test"))

    @property
    def sources(self) -> tuple[Source, ...]:
        """The packages its rows come from."""
        return tuple(Source(name, ARCHIVES[name].licence, str(ARCHIVES[name].packages[0])) for name in self.archives)


@dataclass(frozen=True)
class Parsed:
    """Splits and unlabelled text; no text of a test set stands in what is learnt or selected from."""

    splits: Mapping[str, Examples]
    unlabelled: list[str]


def load_embedded(name: str, task: Embedded, cache: Cache) -> Task:
    """Return the task, from its parsed form in the cache when there is one."""
    key = [name, _LAYOUT, [[p.sha256 for p in ARCHIVES[archive].packages] for archive in task.archives]]
    folder = cache.folder("tasks", key, lambda f: _write(task.parse(lambda archive: fetch(archive, cache)), f))
    parsed = _read(folder)
    splits = dict(parsed.splits)
    return Task(
        name=name,
        classes=task.classes,
        metric=task.metric,
        train=splits.pop("train"),
        selection=splits.pop("selection"),
        test=splits.pop("test"),
        others=splits,
        unlabelled=(parsed.unlabelled,) if parsed.unlabelled else (),
        sources=task.sources,
        fingerprint=fingerprint(task.classes, parsed.splits, (parsed.unlabelled,)),
    )


def _write(parsed: Parsed, folder: Path) -> None:
    splits = {name: {"texts": s.columns[0], "labels": s.labels.tolist()} for name, s in parsed.splits.items()}
    (folder / "splits.json").write_text(json.dumps(splits), encoding="utf-8")
    (folder / "unlabelled.txt").write_text("\n".join(parsed.unlabelled), encoding="utf-8")


def _read(folder: Path) -> Parsed:
    splits = json.loads((folder / "splits.json").read_text(encoding="utf-8"))
    text = (folder / "unlabelled.txt").read_text(encoding="utf-8")
    return Parsed(
        {name: _examples(s["texts"], s["labels"]) for name, s in splits.items()}, text.split("\n") if text else []
    )


def _examples(texts: list[str], labels: Iterable[int]) -> Examples:
    return Examples((texts,), np.fromiter(labels, dtype=np.int64))


def _tidy(text: str) -> str:
    """Return the text with HTML escapes and misread Windows signs put right, on one line."""
    text = html.unescape(_NUMERIC_ESCAPE.sub(r"&#\1;", text)).translate(_WINDOWS_SIGNS)
    return " ".join(text.split())


@dataclass(frozen=True)
class _Rated:
    """A sentence with its mean rating by 20 people or more."""

    id: str
    mean: float
    text: str

    @property
    def clear(self) -> bool:
        return abs(self.mean) > CLEAR_RATING


def _ratings(path: Path) -> list[_Rated]:
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    rows = [line.split("\t", 2) for line in text.replace("\r\n", "\n").split("\n") if line]
    return [_Rated(id, float(mean), words) for id, mean, words in rows]


def _verdicts(rated: Iterable[_Rated]) -> Examples:
    rows = [row for row in rated if row.clear]
    return _examples([_tidy(row.text) for row in rows], (int(row.mean > 0) for row in rows))


def _reviews(path: Path) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Return (one-sentence, long) film reviews with their labels, without exact repetitions."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(dict.fromkeys((row["source"], row["text"], int(row["label"])) for row in csv.DictReader(file)))
    short = [(text, label) for source, text, label in rows if source != "imdb"]
    return short, [(text, label) for source, text, label in rows if source == "imdb"]


def _sentences(reviews: list[tuple[str, int]]) -> list[str]:
    """Return the sentences of 4 to 60 words of the reviews, negative and positive reviews in turn.

    The reviews lie ordered by label; in turn, any stretch of them is balanced, and those of one film stay together.
    """
    sides = [[text for text, label in reviews if label == side] for side in (0, 1)]
    longest = max(map(len, sides))
    in_turn = [side[place] for place in range(longest) for side in sides if place < len(side)]
    out: dict[str, None] = {}
    for review in in_turn:
        for sentence in _SENTENCE_END.split(_LINE_BREAK.sub(" ", review)):
            tidy = _tidy(sentence)
            if tidy.count(" ") + 1 in _SENTENCE_WORDS:
                out[tidy] = None
    return list(out)


def _movies(archive: Callable[[str], Path]) -> Parsed:
    """Film reviews of one sentence; tests are rated sentences from the same and from three other sources.

    8,469 of the 10,605 rated film sentences stand in the training rows too, letter by letter: they are dropped. Those
    that are found out only once HTML escapes are undone go out of the training rows instead, so that the test
    keeps the rows others have measured on.
    """
    short, long = _reviews(archive("movies") / "reviews.csv")
    ratings = {path.stem: _ratings(path) for path in sorted(archive("ratings").glob("*.tsv"))}
    known = {text_key(text) for text, _ in short}
    unseen = {name: [row for row in rows if text_key(row.text) not in known] for name, rows in ratings.items()}
    tests = {name: _verdicts(rows) for name, rows in unseen.items()}
    tests["test"] = tests.pop("movies")
    held_out = {key for split in tests.values() for key in row_keys(split)}
    labelled = _examples([_tidy(text) for text, _ in short], (label for _, label in short))
    train, selection = carve(without(labelled, held_out))
    held_out |= set(row_keys(selection))
    sentences = [text for text in _sentences(long) if (text_key(text),) not in held_out]
    return Parsed({"train": train, "selection": selection, **tests}, sentences)


def _topics(archive: Callable[[str], Path]) -> Parsed:
    """News items of eight topics in the split of the literature, less the training rows whose text is tested on."""

    def split(name: str) -> Examples:
        with (archive("topics") / f"{name}.tab").open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        rows = [line for line in lines[3:] if line]
        return _examples([" ".join(text.split()) for _, text in rows], (TOPICS.index(topic) for topic, _ in rows))

    test = split("test")
    train, selection = carve(without(split("train"), row_keys(test)))
    return Parsed({"train": train, "selection": selection, "test": test}, [])


def _amazon(archive: Callable[[str], Path]) -> Parsed:
    """Sentences of product reviews, split by review, since sentences of one review tell about each other."""
    rated = _ratings(archive("ratings") / "amazon.tsv")
    short, long = _reviews(archive("movies") / "reviews.csv")
    # A cross-domain method may train on `movies`: what stands there is not tested on here.
    known = {text_key(text) for text, _ in short}
    groups: dict[str, list[_Rated]] = {"train": [], "selection": [], "test": []}
    for row in rated:
        if text_key(row.text) not in known:
            groups[_group_of_review(row.id.split("_")[0])].append(row)
    splits = {name: _verdicts(rows) for name, rows in groups.items()}
    others = {name: _verdicts(_ratings(archive("ratings") / f"{name}.tsv")) for name in ("nyt", "tweets")}
    held_out = {key for split in (splits["test"], *others.values()) for key in row_keys(split)}
    splits["selection"] = without(splits["selection"], held_out)
    held_out |= set(row_keys(splits["selection"]))
    splits["train"] = without(splits["train"], held_out)
    unsure = [_tidy(row.text) for row in groups["train"] if not row.clear]
    text = [words for words in unsure + _sentences(long) if (text_key(words),) not in held_out]
    return Parsed({**splits, **others}, text)


def _group_of_review(review: str) -> str:
    """Assign a review to a split by the hash of its number: shares are met on average, and never move."""
    place = int(content_hash(["amazon", review], 8), 16) / 16**8
    if place < _REVIEW_SHARES["test"]:
        return "test"
    return "selection" if place < sum(_REVIEW_SHARES.values()) else "train"


EMBEDDED: Mapping[str, Embedded] = {
    "movies": Embedded(
        "Is a one-sentence film review favourable? Tests: held-out film sentences, and other domains",
        SENTIMENTS,
        "accuracy",
        {"train": 7_663, "selection": 851, "test": 2_010, "amazon": 2_942, "nyt": 2_788, "tweets": 3_362},
        ("movies", "ratings"),
        _movies,
        unlabelled=282_678,
    ),
    "topics": Embedded(
        "Which of eight topics is a Reuters news item on?",
        TOPICS,
        "accuracy",
        {"train": 4_931, "selection": 548, "test": 2_189},
        ("topics",),
        _topics,
    ),
    "amazon": Embedded(
        "Is a sentence of a product review favourable? Few rows: the target of cross-domain runs",
        SENTIMENTS,
        "accuracy",
        {"train": 1_542, "selection": 519, "test": 869, "nyt": 2_788, "tweets": 3_362},
        ("ratings", "movies"),
        _amazon,
        unlabelled=283_087,
    ),
}
