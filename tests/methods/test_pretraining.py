"""CoDIR's first stage: its loss against float64 NumPy, what it moves and what it leaves, and what it refuses."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BertForMaskedLM

import toys
from limbeck.errors import UserError
from limbeck.methods.base import STUDENT, Parts
from limbeck.methods.codir import PRETRAINING, Codir, CodirConfig
from limbeck.methods.pretraining import PretrainingConfig, WordHead
from limbeck.models import Generator, GeneratorConfig
from limbeck.noise import RowNoise
from limbeck.optimise import Optimiser
from methods.test_codir import log_softmax, represent
from methods.test_contract import SETTING

FIRST = {"updates": 3, "mask_rate": 0.4, "temperature": 1.5, "distillation": 0.3, "weight": 0.7}
TAU, P = 0.3, 6


def config(**changes: Any) -> CodirConfig:
    first = {**FIRST, "contrast_temperature": TAU, **changes}
    return CodirConfig.model_validate({"projection": P, "pretraining": first})


def few_texts() -> Parts:
    """Six texts, of which a batch of eight must draw some twice."""
    return replace(toys.parts(), text=lambda rows, max_tokens: toys.ToyRows(6, 3))


def layer_norm(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def infonce(anchors: np.ndarray, own: np.ndarray, rows: list[int]) -> float:
    """Texts that are drawn twice are not told apart from each other."""
    losses = []
    for i, anchor in enumerate(anchors):
        scores = [math.exp(anchor @ own[j] / TAU) for j in range(len(own)) if j == i or rows[j] != rows[i]]
        losses.append(-math.log(math.exp(anchor @ own[i] / TAU) / sum(scores)))
    return float(np.mean(losses))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_the_loss_in_numpy(pooling: str) -> None:
    parts = few_texts()
    method = Codir(config().model_copy(update={"pooling": pooling}), parts)
    module = method.trainable[PRETRAINING].module
    assert isinstance(module, nn.ModuleList)
    head = module[1]
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    loss = method.loss(toys.batch(), PRETRAINING, RowNoise(3, 1, range(8)))

    noise = RowNoise(3, 1, range(8))
    rows = [int(u * 6) for u in noise.uniform(1)[:, 0].tolist()]
    assert len(set(rows)) < 8
    clean = toys.ToyRows(6, 3).read(rows)
    hidden = (noise.uniform(12).numpy() < 0.4) & clean.maskable.numpy()
    batch = replace(clean, input_ids=clean.input_ids.masked_fill(torch.tensor(hidden), toys.MASK))
    given = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    masked_lm = toys.generator(layers=3).model
    with torch.no_grad():
        taught = masked_lm(**given).logits.double().numpy()[hidden]
        states = parts.student.model.bert(**given).last_hidden_state.double().numpy()[hidden]
    weight = {name: value.detach().double().numpy() for name, value in head.named_parameters()}
    normal = layer_norm(states @ weight["dense.weight"].T + weight["dense.bias"])
    normal = normal * weight["norm.weight"] + weight["norm.bias"]
    said = normal @ parts.student.embedding.weight.detach().double().numpy().T + weight["bias"]
    words = clean.input_ids.numpy()[hidden]
    gold = -log_softmax(said)[np.arange(len(words)), words].mean()
    p, q = log_softmax(taught / 1.5), log_softmax(said / 1.5)
    soft = 1.5**2 * (np.exp(p) * (p - q)).sum(1).mean()
    projections = [value.detach().double().numpy() for value in module[2].parameters()]
    student = represent(parts.student.model, projections[0], (1, 2), batch, pooling)
    teacher = represent(masked_lm, projections[1], (1, 3), batch, pooling)
    contrast = (infonce(student, teacher, rows) + infonce(teacher, student, rows)) / 2

    assert loss.parts["pretraining_cross_entropy"].item() == pytest.approx(gold, rel=1e-5)
    assert loss.parts["pretraining_distillation"].item() == pytest.approx(soft, rel=1e-4)
    assert loss.parts["pretraining_contrast"].item() == pytest.approx(contrast, rel=1e-4)
    assert loss.parts["pretraining_cosine"].item() == pytest.approx((student * teacher).sum(1).mean(), abs=1e-5)
    assert loss.total.item() == pytest.approx(0.7 * gold + 0.3 * soft + 0.7 * contrast, rel=1e-4)


def silenced(norm: nn.LayerNorm) -> None:
    """From here on only the bias of what follows is heard."""
    nn.init.zeros_(norm.weight)
    nn.init.zeros_(norm.bias)


def test_a_student_that_says_what_its_teacher_says_has_no_soft_loss() -> None:
    teacher = toys.generator(layers=3)
    silenced(teacher.model.cls.predictions.transform.LayerNorm)
    nn.init.normal_(teacher.model.cls.predictions.bias)
    parts = replace(toys.parts(), new_generator=lambda _: teacher)
    method = Codir(config(weight=0.0), parts)
    head = method.trainable[PRETRAINING].module[1]  # type: ignore[index]
    silenced(head.norm)
    loss = method.loss(toys.batch(), PRETRAINING, RowNoise(3, 1, range(8)))
    assert loss.parts["pretraining_distillation"].item() == pytest.approx(0, abs=1e-5)
    assert loss.parts["pretraining_cross_entropy"].item() > 1
    assert set(loss.parts) == {"pretraining_cross_entropy", "pretraining_distillation"}


def test_the_head_starts_by_comparing_states_with_words_over_the_teachers_frequencies() -> None:
    student, bias = toys.classifier(hidden=16), torch.randn(toys.WORDS)
    states = torch.randn(5, 16)
    table = student.embedding.weight
    expected = torch.layer_norm(states, (16,)) @ table.T + bias
    torch.testing.assert_close(WordHead(student, bias)(states, table), expected)


def test_it_moves_embeddings_layers_head_and_projections_and_nothing_else() -> None:
    parts = toys.parts()
    teachers: list[Generator] = []

    def new_generator(wanted: GeneratorConfig) -> Generator:
        teachers.append(toys.generator(layers=wanted.layers or 3))
        return teachers[-1]

    method = Codir(config(), replace(parts, new_generator=new_generator))
    part = method.trainable[PRETRAINING]
    assert part.learning_rate == PretrainingConfig().learning_rate
    optimiser = Optimiser(part.module.parameters(), learning_rate=1e-2, weight_decay=0.1, clip_norm=1.0)
    networks = {"student": parts.student, "teacher": parts.teacher, "masked LM": teachers[0]}
    before = {name: {k: v.clone() for k, v in network.state_dict().items()} for name, network in networks.items()}
    optimiser.step(method.loss(toys.batch(), PRETRAINING, RowNoise(3, 1, range(8))).total, lambda _: None)
    moved = {
        name: {key for key, was in before[name].items() if not torch.equal(network.state_dict()[key], was)}
        for name, network in networks.items()
    }
    on_top = {key for key in before["student"] if "pooler" in key or "classifier" in key}
    assert len(on_top) == 4
    assert moved == {"student": set(before["student"]) - on_top, "teacher": set(), "masked LM": set()}
    assert not teachers[0].training


def test_it_learns_words_and_to_tell_texts_apart() -> None:
    method = Codir(config(), few_texts())
    part = method.trainable[PRETRAINING]
    optimiser = Optimiser(part.module.parameters(), learning_rate=1e-2, weight_decay=0.0, clip_norm=1.0)
    losses = []
    for step in range(40):
        loss = method.loss(toys.batch(), PRETRAINING, RowNoise(3, step, range(8)))
        optimiser.step(loss.total, lambda _: None)
        losses.append({name: float(value) for name, value in loss.parts.items()})
    for name in ("cross_entropy", "distillation", "contrast"):
        first, last = (np.mean([x[f"pretraining_{name}"] for x in some]) for some in (losses[:5], losses[-5:]))
        assert last < 0.9 * first, name


def test_it_comes_first_and_once() -> None:
    method = Codir(config(), toys.parts())
    assert [method.phase(step) for step in range(6)] == [*[PRETRAINING] * 3, *[STUDENT] * 3]
    assert method.phase(10**6) == STUDENT
    alone = Codir(CodirConfig(), toys.parts())
    assert set(alone.trainable) == {alone.phase(0)} == {STUDENT}


def test_it_asks_for_as_much_text_as_it_reads_and_for_a_whole_teacher() -> None:
    asked: list[Any] = []
    parts = toys.parts()

    def text(rows: int, max_tokens: int) -> toys.ToyRows:
        asked.append((rows, max_tokens))
        return toys.ToyRows(6, 3)

    def new_generator(wanted: GeneratorConfig) -> Generator:
        asked.append(wanted.layers)
        return parts.new_generator(wanted)

    Codir(config(updates=50, max_tokens=32), replace(parts, text=text, new_generator=new_generator))
    assert asked == [None, (50 * 8, 32)]


def test_without_pretraining_the_fine_tuning_stage_is_as_it_was() -> None:
    """Same banks, projections and losses: the first stage draws from nothing that the second draws from."""
    alone, after = (Codir(c, toys.parts()) for c in (CodirConfig(projection=P), config()))
    for seed in range(2):
        batch = toys.batch(seed=seed, start=8 * seed)
        losses = [method.loss(batch, STUDENT, RowNoise(3, seed, range(8))).total for method in (alone, after)]
        assert losses[0].item() == losses[1].item()


def test_what_it_refuses() -> None:
    (problem,) = Codir.refuses(config(), replace(SETTING, masked_lm=False))
    assert problem.where == "teacher"
    assert "mask token" in problem.what
    assert not Codir.refuses(CodirConfig(), replace(SETTING, masked_lm=False))
    shallow = config(teacher={"layers": 1})
    (problem,) = Codir.refuses(shallow, SETTING)
    assert str(problem) == (
        "method.pretraining.teacher.layers: 1, but 2 of the student's layers are told apart, each by one of these: "
        "take 2 or more, or fewer method.student_layers"
    )
    assert not Codir.refuses(config(teacher={"layers": 1}, weight=0.0), SETTING)
    assert not Codir.refuses(config(teacher={"layers": 1, "base": "another"}), SETTING)
    with pytest.raises(UserError, match=r"method\.pretraining\.teacher\.layers: 1, but 2"):
        Codir(shallow, toys.parts())


def test_a_teacher_with_another_table_is_refused() -> None:
    def new_generator(_: GeneratorConfig) -> Generator:
        teacher = toys.generator(layers=3)
        teacher.model.resize_token_embeddings(48, mean_resizing=False)
        return teacher

    with pytest.raises(UserError, match=r"method\.pretraining\.teacher: its embedding table has 48 rows"):
        Codir(config(), replace(toys.parts(), new_generator=new_generator))


def test_longer_texts_than_both_networks_read_are_refused() -> None:
    sizes = toys.bert_config(3, 24, 0)
    sizes.max_position_embeddings = 20
    short = Generator(BertForMaskedLM(sizes)).eval()
    parts = replace(toys.parts(), new_generator=lambda _: short)
    Codir(config(max_tokens=20), parts)
    with pytest.raises(UserError, match=r"method\.pretraining\.max_tokens: 21, but .* both read at most 20"):
        Codir(config(max_tokens=21), parts)
