"""The setting that the benchmarks share: a 6×384 teacher, students and generators of 3×384, film reviews.

Networks are the built-in `minilm-l6` under fresh heads: speed does not depend on what weights say. The classification
head is drawn wide enough that teacher and student disagree as fitted ones do, so that losses can be compared.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "platform"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from limbeck.archives import model_folder
from limbeck.cache import Cache
from limbeck.encoding import Order, Reader, Vocabulary, encode
from limbeck.models import (
    Generator,
    GeneratorConfig,
    HubClassifier,
    StudentConfig,
    load_base,
    load_tokenizer,
    new_generator,
    new_student,
)
from limbeck.tasks import Task, TaskConfig, load_task

HEAD_SPREAD = 50.0
BATCH = 32


@dataclass(frozen=True)
class Setting:
    """Networks, and rows to feed them."""

    task: Task
    tokenizer: Any
    vocabulary: Vocabulary
    teacher: HubClassifier
    generator: Generator
    reader: Reader
    order: Order

    def student(self) -> HubClassifier:
        """A fresh one, the same each time."""
        return new_student(StudentConfig(layers=3), self.teacher, 0)


def default_cache() -> Cache:
    """The cache that the command line takes."""
    return Cache(Path(os.environ.get("LIMBECK_CACHE") or platformdirs.user_cache_path("limbeck")))


def setting(device: torch.device, batch: int = BATCH) -> Setting:
    """The setting on a device."""
    cache = default_cache()
    task, base = load_task(TaskConfig.model_validate("movies"), cache), model_folder("minilm-l6", cache)
    tokenizer = load_tokenizer(base)
    vocabulary = Vocabulary.of(tokenizer)
    teacher = load_base(base, task.classes, 0, device).eval().requires_grad_(False)
    head = teacher.model.get_submodule(teacher.family.output)
    assert isinstance(head, nn.Linear)
    head.weight.mul_(HEAD_SPREAD)
    split = encode(task.train, tokenizer, 128, cache, f"{task.fingerprint}/train")
    # What the cached answers of the teacher say does not matter for speed; the losses that are compared ask it anew.
    answers = np.random.default_rng(0).normal(size=(len(split), len(task.classes))).astype(np.float32)
    return Setting(
        task=task,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        teacher=teacher,
        generator=new_generator(base, GeneratorConfig(layers=3), 0, device).eval(),
        reader=Reader(split, answers, vocabulary, device),
        order=Order(split.lengths, batch, 0),
    )


def seconds(run: Callable[[], Any], device: torch.device) -> float:
    """Seconds that a call takes, the device's part included."""
    wait(device)
    start = time.perf_counter()
    run()
    wait(device)
    return time.perf_counter() - start


def wait(device: torch.device) -> None:
    """Let the device finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def product_rate(dtype: torch.dtype, device: torch.device, size: int = 2048, repeats: int = 7) -> float:
    """The machine's own rate of matrix products of one number type, FLOP/s: the best of some large square ones."""
    draw = torch.Generator(device).manual_seed(0)
    a, b = (torch.randn(size, size, generator=draw, device=device).to(dtype) for _ in range(2))
    out = torch.empty(size, size, dtype=dtype, device=device)
    times = [seconds(lambda: torch.mm(a, b, out=out), device) for _ in range(repeats + 1)]
    return 2 * size**3 / min(times[1:])


def machine(device: torch.device) -> str:
    """What the numbers were measured on, in words that fit any machine."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
