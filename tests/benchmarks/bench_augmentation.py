"""Print what an invented example costs: AD²'s perturbation beside text edits and masked-LM editing, in one run.

Not part of the test suite: `python tests/benchmarks/bench_augmentation.py`. Every way is given the same rows of
`movies` in the same batches, after a warm-up. Text is labelled by the teacher; AD² takes the clean answer, which the
cache holds. Speed does not depend on what weights say: without a fitted teacher or generator in the cache, bare
encoders stand in.

AD²'s first step from the clean text (`initial_size: 0`, the default) takes the slope that training computes for the
embedding table anyway, so that inventing is the step on it. Whether that is all, the second table tells: whole steps,
forward and back, on clean examples and on as many invented ones, beside the same with perturbations that are there
already, in one pass over both.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2] / "platform"))

from limbeck.archives import model_folder
from limbeck.cache import Cache, broken
from limbeck.encoding import Batch, Encoded, Reader, Vocabulary, encode
from limbeck.errors import UserError
from limbeck.methods.ad2 import Ad2, Ad2Config
from limbeck.methods.base import STUDENT, Parts, TaskFacts
from limbeck.methods.eda import logits_on
from limbeck.methods.edits import edit
from limbeck.methods.masking import invent_inputs
from limbeck.methods.perturbation import Ball, step_uphill
from limbeck.models import (
    Generator,
    GeneratorConfig,
    HubClassifier,
    StudentConfig,
    load_base,
    load_classifier,
    load_generator,
    load_tokenizer,
    new_generator,
    new_student,
)
from limbeck.noise import RowNoise
from limbeck.optimise import autocast, native_precision
from limbeck.tasks import TaskConfig, load_task

REPLACE, CHOICES = 0.4, 15
"""Share of words that word-by-word editing replaces, and among how many best guesses: TinyBERT's settings."""
Seconds = dict[str, list[float]]


@dataclass(frozen=True)
class Bench:
    """Networks and rows."""

    teacher: HubClassifier
    student: HubClassifier
    generator: Generator
    tokenizer: Any
    vocabulary: Vocabulary
    rows: Reader
    batch_size: int
    precision: str

    @property
    def mask(self) -> int:
        """The [MASK] token's number."""
        assert self.vocabulary.mask is not None
        return self.vocabulary.mask

    def batches(self) -> Iterator[tuple[Batch, RowNoise]]:
        """All rows, those of similar length together."""
        order = np.argsort(self.rows.split.lengths, kind="stable")
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            yield self.rows.read(rows), RowNoise(0, start, range(len(rows)))

    def within(self) -> Any:
        """The precision that training takes."""
        return autocast(self.precision, self.rows.device)

    @torch.no_grad()
    def label(self, texts: Sequence[str]) -> None:
        """Tokenise texts and ask the teacher about them, a batch at a time."""
        for start in range(0, len(texts), self.batch_size):
            some = list(texts[start : start + self.batch_size])
            cut = self.tokenizer(some, padding=True, truncation=True, max_length=128, return_tensors="pt")
            cut = cut.to(self.rows.device)
            with self.within():
                self.teacher(
                    input_ids=cut["input_ids"],
                    attention_mask=cut["attention_mask"],
                    token_type_ids=cut.get("token_type_ids"),
                )


def ad2(bench: Bench, steps: int, start: float = 0.01) -> Ad2:
    """The method on the bench's networks; from a random start its first step takes a pass of its own, from 0 none."""
    facts = TaskFacts(classes=2, rows=len(bench.rows), labels=torch.from_numpy(np.array(bench.rows.split.labels)))
    parts = Parts(
        student=bench.student,
        teacher=bench.teacher,
        task=facts,
        vocabulary=bench.vocabulary,
        pool=bench.rows,
        batch_size=bench.batch_size,
        new_generator=lambda _: bench.generator,
        text=lambda rows, max_tokens: bench.rows,
    )
    return Ad2(Ad2Config.model_validate({"steps": steps, "initial_size": start}), parts)


def climb(bench: Bench, steps: int) -> int:
    """AD²: K ascent steps with passes of their own; returns how many examples were invented."""
    method, made = ad2(bench, steps), 0
    for batch, noise in bench.batches():
        with bench.within():
            made += len(method.perturb(batch, noise)[-1])
    return made


def free_steps(bench: Bench) -> Callable[[], int]:
    """AD²'s free step on slopes that are there already."""
    draw, width = torch.Generator().manual_seed(0), bench.student.embedding.weight.shape[1]
    ready = []
    for batch, _ in bench.batches():
        slope = torch.randn(*batch.input_ids.shape, width, generator=draw).to(batch.input_ids.device)
        ready.append((batch.maskable, torch.zeros_like(slope), slope))

    def way() -> int:
        return sum(len(step_uphill(zero, slope, 0.5, Ball("l2", 0.0), allowed)) for allowed, zero, slope in ready)

    return way


def train(bench: Bench, method: Ad2) -> int:
    """Loss and gradients of AD², less the optimiser's step."""
    made, taught = 0, list(bench.student.parameters())
    for batch, noise in bench.batches():
        with bench.within():
            loss = method.loss(batch, STUDENT, noise)
        torch.autograd.grad(loss.total, taught, allow_unused=True)
        made += len(batch)
    return made


def on_ready_ones(bench: Bench) -> Ad2:
    """The method with perturbations that are there already: the same training, and nothing invented."""
    method, width = ad2(bench, 1), bench.student.embedding.weight.shape[1]
    ready = {
        batch.input_ids.shape[1]: torch.full((bench.batch_size, batch.input_ids.shape[1], width), 0.01)
        for batch, _ in bench.batches()
    }
    method.perturb = lambda batch, noise: [ready[batch.input_ids.shape[1]][: len(batch)].to(bench.rows.device)]  # type: ignore[method-assign]
    return method


@torch.no_grad()
def edit_and_label(bench: Bench) -> int:
    """EDA: edit tokens, ask the teacher."""
    made = 0
    for batch, noise in bench.batches():
        edited = edit(batch, 0.1, bench.vocabulary, noise, bench.teacher.max_tokens)
        with bench.within():
            made += len(logits_on(bench.teacher, edited))
    return made


def rewrite_and_label(bench: Bench) -> int:
    """Mask, let the masked LM fill in, write text, tokenise it again, ask the teacher."""
    made = 0
    for batch, noise in bench.batches():
        with bench.within():
            tokens, _ = invent_inputs(bench.generator, batch, 0.3, bench.mask, noise)
        bench.label(bench.tokenizer.batch_decode(tokens.tolist(), skip_special_tokens=True))
        made += len(tokens)
    return made


@torch.no_grad()
def guesses(bench: Bench, tokens: list[int], whole: list[int]) -> Tensor:
    """(P, CHOICES) best words for each of P places of a row, each place hidden in a copy of its own."""
    lines = torch.tensor(tokens, device=bench.rows.device).repeat(len(whole), 1)
    places = torch.tensor(whole, device=bench.rows.device)
    lines[torch.arange(len(whole)), places] = bench.mask
    with bench.within():
        states = bench.generator.encode(lines, torch.ones_like(lines), torch.zeros_like(lines))
        scores = bench.generator.scores(states[torch.arange(len(whole)), places])
    return scores.float().topk(CHOICES).indices.cpu()


def word_by_word(bench: Bench, copies: int) -> int:
    """TinyBERT's way: guess each whole word in turn, write `copies` texts from the guesses, ask the teacher."""
    pieces = bench.tokenizer.convert_ids_to_tokens(range(len(bench.tokenizer)))
    draw, made = np.random.default_rng(0), 0
    for batch, _ in bench.batches():
        texts: list[str] = []
        for ids, free, real in zip(batch.input_ids, batch.maskable, batch.attention_mask.sum(1), strict=True):
            tokens = ids[: int(real)].tolist()
            joined = [i for i, token in enumerate(tokens) if i + 1 < len(tokens) and pieces[token].startswith("##")]
            parts = set(joined) | {i - 1 for i in joined}
            whole = [i for i in range(len(tokens)) if free[i] and i not in parts]
            best = guesses(bench, tokens, whole).numpy() if whole else np.empty((0, CHOICES), int)
            for _ in range(copies):
                new, hits = list(tokens), draw.random(len(whole)) < REPLACE
                for place, words in zip(np.array(whole)[hits], best[hits], strict=True):
                    new[place] = int(words[draw.integers(CHOICES)])
                texts.append(bench.tokenizer.decode(new, skip_special_tokens=True))
        bench.label(texts)
        made += len(texts)
    return made


def measured(ways: dict[str, Callable[[], int]], repeats: int) -> Seconds:
    """Seconds per 1,000 examples of each repeat of each way, after one that does not count; the ways take turns."""
    found: Seconds = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            made = way()
            if repeat:
                found[name].append((time.perf_counter() - start) * 1_000 / made)
    return found


def cached(cache: Cache, kind: str, load: Callable[[Path], Any]) -> Any:
    """The first whole folder of a kind that `load` takes, or None."""
    for folder in sorted((cache.root / kind).glob("*")):
        if folder.is_dir() and not folder.name.startswith(".") and broken(folder, deep=False) is None:
            try:
                return load(folder)
            except (UserError, ValueError, OSError):
                continue
    return None


def prepared(options: argparse.Namespace) -> tuple[Bench, str]:
    """Networks and rows, and what stands in for what."""
    cache = Cache(Path(os.environ.get("LIMBECK_CACHE") or platformdirs.user_cache_path("limbeck")))
    task, base = load_task(TaskConfig.model_validate("movies"), cache), model_folder(options.teacher, cache)
    tokenizer, device = load_tokenizer(base), torch.device(options.device)
    vocabulary = Vocabulary.of(tokenizer)

    def teacher_of(folder: Path) -> HubClassifier:
        found = load_classifier(folder, task.classes, device)
        if (found.facts.layers, found.facts.vocabulary) != (bare.facts.layers, bare.facts.vocabulary):
            raise ValueError
        return found

    def generator_of(folder: Path) -> Generator:
        found = load_generator(folder, device)
        if (len(found.embedding.weight), found.model.config.num_hidden_layers) != (bare.facts.vocabulary, 3):
            raise ValueError
        return found

    bare = load_base(base, task.classes, 0, device)
    teacher, generator = cached(cache, "teachers", teacher_of), cached(cache, "generators", generator_of)
    said = f"teacher {'fitted' if teacher else 'bare'}, generator {'fitted' if generator else 'bare'}"
    teacher = (teacher or bare).eval().requires_grad_(False)
    generator = (generator or new_generator(base, GeneratorConfig(layers=3), 0, device)).eval()
    split = encode(
        task.train.take(np.arange(options.rows)), tokenizer, 128, cache, f"{task.fingerprint}/{options.rows}"
    )
    bench = Bench(
        teacher=teacher,
        student=new_student(StudentConfig(layers=options.layers), teacher, 0),
        generator=generator,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        rows=Reader(split, blank_logits(split), vocabulary, device),
        batch_size=options.batch,
        precision=native_precision(device) if options.precision == "auto" else options.precision,
    )
    return bench, said


def blank_logits(split: Encoded) -> np.ndarray:
    """Answers of the teacher to the clean rows: which, does not matter here."""
    return np.random.default_rng(0).normal(size=(len(split), 2)).astype(np.float32)


def table(title: str, found: Seconds, base: str) -> None:
    """Print the best seconds of each way, and how many times those of the base."""
    print(f"{title:<42}{'s per 1,000':>12}{'times':>10}")
    for name, seconds in found.items():
        print(f"{name:<42}{min(seconds):>12.3f}{min(seconds) / min(found[base]):>10.1f}")
    print()


def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    bench, said = prepared(options)
    threads = torch.get_num_threads()
    print(f"{options.rows} rows of movies, batches of {options.batch}, {bench.precision}, {threads} threads")
    print(f"{bench.teacher.layers}-layer {said}; student of {options.layers} layers\n")
    inventing: dict[str, Callable[[], int]] = {
        "ad2 free step: the step alone": free_steps(bench),
        "ad2 own ascent, K = 1": lambda: climb(bench, 1),
        "ad2 own ascent, K = 3": lambda: climb(bench, 3),
        "eda: edits + teacher": lambda: edit_and_label(bench),
        "masked LM: fill, write, cut + teacher": lambda: rewrite_and_label(bench),
        "word by word, 1 copy + teacher": lambda: word_by_word(bench, 1),
        f"word by word, {options.copies} copies + teacher": lambda: word_by_word(bench, options.copies),
    }
    free, own, ready = ad2(bench, 1, start=0), ad2(bench, 1), on_ready_ones(bench)
    training: dict[str, Callable[[], int]] = {
        "as many ready ones": lambda: train(bench, ready),
        "ad2 free step, K = 1": lambda: train(bench, free),
        "ad2 own ascent, K = 1": lambda: train(bench, own),
    }
    invented, trained = measured(inventing, options.repeats), measured(training, 3 * options.repeats)
    table("inventing", invented, next(iter(inventing)))
    table("training on clean and invented", trained, next(iter(training)))
    ready_ones, free_ones, _ = trained.values()
    longer = np.subtract(free_ones, ready_ones)
    print(f"training with the free step takes longer by {np.median(longer):+.3f} s per 1,000 in the median of")
    print(f"{len(longer)} repeats ({longer.min():+.3f} to {longer.max():+.3f})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--layers", type=int, default=2, help="layers of the student")
    parser.add_argument("--teacher", default="minilm-l6", help="minilm-l6 or mpnet")
    parser.add_argument("--copies", type=int, default=20, help="texts that word-by-word editing writes of each row")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--device", default="cpu")
    main(parser.parse_args())
