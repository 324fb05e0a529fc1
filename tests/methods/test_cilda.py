"""CILDA against float64 NumPy on the networks' own outputs, against MATE-KD, and against full-vocabulary products."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import toys
from limbeck.encoding import Batch
from limbeck.methods.base import STUDENT, Parts
from limbeck.methods.cilda import Cilda, CildaConfig, CildaWeights, share_found
from limbeck.methods.kd import Kd, KdConfig
from limbeck.methods.masking import mask_tokens
from limbeck.methods.mate import GENERATOR, AdversaryConfig, Mate, MateConfig, MateWeights
from limbeck.noise import RowNoise
from methods import plain_mate
from methods.test_contract import SETTING

WEIGHTS = CildaWeights(
    cross_entropy=0.2, distillation=0.3, adversarial=0.4, contrast_clean=0.5, contrast_adversarial=0.6
)
CONFIG = CildaConfig(mask_rate=0.4, contrast_temperature=0.3, projection=5, gamma=0.7, weights=WEIGHTS)


def noise() -> RowNoise:
    return RowNoise(5, 0, range(8))


def log_softmax(z: np.ndarray) -> np.ndarray:
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def kl(teacher: np.ndarray, student: np.ndarray) -> float:
    p, q = log_softmax(teacher), log_softmax(student)
    return float((np.exp(p) * (p - q)).sum(1).mean())


class Numpy:
    """Logits and R of one network, from the model of the transformers library and the projection's numbers."""

    def __init__(self, model: Any, projection: Tensor, layers: tuple[int, ...], batch: Batch, ids: Tensor) -> None:
        with torch.no_grad():
            out = model(input_ids=ids, attention_mask=batch.attention_mask, output_hidden_states=True)
        self.logits = out.logits.double().numpy()
        lengths = batch.attention_mask.sum(1).tolist()
        pooled = [[out.hidden_states[k][i, :n].double().numpy().mean(0) for k in layers] for i, n in enumerate(lengths)]
        r = np.array(pooled).reshape(len(lengths), -1) @ projection.double().numpy().T
        self.r = r / np.linalg.norm(r, axis=1, keepdims=True)


def contrast(anchors: np.ndarray, own: np.ndarray, other: np.ndarray, view: str, tau: float = 0.3) -> float:
    if view == "mse":
        return float(((anchors - own) ** 2).sum(1).mean())
    losses = []
    for i in range(len(anchors)):
        to_own, to_other = np.exp(own @ anchors[i] / tau), np.exp(other @ anchors[i] / tau)
        below = to_own.sum() + to_other.sum() - (to_other[i] if view == "ignored" else 0.0)
        right = [to_own[i], to_other[i]] if view == "positive" else [to_own[i]]
        losses.append(np.mean([-np.log(e / below) for e in right]))
    return float(np.mean(losses))


def both_networks(parts: Parts, method: Cilda, batch: Batch, ids: Tensor) -> tuple[Numpy, Numpy]:
    state = method.trainable[STUDENT].module.state_dict()
    weights = [state[f"1.projections.{i}.weight"] for i in (0, 1)]
    # Two student layers, so the teacher's are the first and the third of three.
    return (
        Numpy(parts.student.model, weights[0], (1, 2), batch, ids),
        Numpy(parts.teacher.model, weights[1], (1, 3), batch, ids),
    )


def gumbel_words(method: Cilda, batch: Batch) -> Tensor:
    generator: Any = method.trainable[GENERATOR].module
    stream = noise()
    masked = mask_tokens(batch, 0.4, toys.MASK, stream)
    with torch.no_grad():
        scores = generator.model(input_ids=masked.input_ids, attention_mask=batch.attention_mask).logits[masked.hidden]
    tokens = (scores + stream.gumbel(masked.counts, toys.WORDS)).argmax(-1)
    return batch.input_ids.masked_scatter(masked.hidden, tokens)


@pytest.mark.parametrize("view", ["positive", "ignored", "negative", "mse"])
def test_both_steps_in_numpy(view: str) -> None:
    settings = {"contrast": "mse"} if view == "mse" else {"other_view": view}
    config = CildaConfig(**{**CONFIG.model_dump(), **settings})
    parts, batch = toys.parts(), toys.batch()
    method = Cilda(config, parts)
    invented = method.invent(batch, noise())
    assert invented is not None
    student, teacher = both_networks(parts, method, batch, batch.input_ids)
    student_other, teacher_other = both_networks(parts, method, batch, invented.input_ids)

    expected = {
        "cross_entropy": -log_softmax(student.logits)[np.arange(8), batch.labels.numpy()].mean(),
        "distillation": kl(batch.teacher_logits.double().numpy(), student.logits),
        "adversarial": kl(teacher_other.logits, student_other.logits),
        "contrast_clean": contrast(student.r, teacher.r, teacher_other.r, view),
        "contrast_adversarial": contrast(student_other.r, teacher_other.r, teacher.r, view),
    }
    loss = method.loss(batch, STUDENT, noise())
    for name, value in expected.items():
        assert loss.parts[name].item() == pytest.approx(value, rel=1e-4), name
    total = sum(weight * expected[name] for name, weight in WEIGHTS.model_dump().items())
    assert loss.total.item() == pytest.approx(total, rel=1e-4)

    # The generator's step draws its words by Gumbel noise, so they are others.
    student_other, teacher_other = both_networks(parts, method, batch, gumbel_words(method, batch))
    reward = kl(teacher_other.logits, student_other.logits) + 0.7 * contrast(
        student_other.r, teacher_other.r, teacher.r, view
    )
    assert method.loss(batch, GENERATOR, noise()).total.item() == pytest.approx(-reward, rel=1e-4)


def test_the_generators_gradient_is_that_of_full_vocabulary_products() -> None:
    """Of −D(x′) − γ·NCE(x′), both through the invented words of both networks."""
    parts, batch = toys.parts(), toys.batch(seed=1)
    method = Cilda(CONFIG, parts)
    generator: Any = method.trainable[GENERATOR].module
    ours = torch.autograd.grad(method.loss(batch, GENERATOR, noise()).total, list(generator.parameters()))

    stream = noise()
    masked = mask_tokens(batch, 0.4, toys.MASK, stream)
    gumbel = torch.zeros(*batch.input_ids.shape, toys.WORDS)
    gumbel[masked.hidden] = stream.gumbel(masked.counts, toys.WORDS)
    models = [parts.teacher.model, parts.student.eval().model]
    plain = plain_mate.Plain(models[0], models[1], generator.model)
    embeds = plain_mate.invented_embeds(plain, batch.input_ids, masked.hidden, batch.attention_mask, gumbel, toys.MASK)
    outs = [
        model(inputs_embeds=words, attention_mask=batch.attention_mask, output_hidden_states=True)
        for model, words in zip(models, embeds, strict=True)
    ]
    clean = models[0](input_ids=batch.input_ids, attention_mask=batch.attention_mask, output_hidden_states=True)
    state = method.trainable[STUDENT].module.state_dict()

    def represent(out: Any, which: int, layers: tuple[int, ...]) -> Tensor:
        mask = batch.attention_mask.unsqueeze(-1).float()
        pooled = torch.cat([(out.hidden_states[k] * mask).sum(1) / mask.sum(1) for k in layers], 1)
        return F.normalize(pooled @ state[f"1.projections.{which}.weight"].T, dim=1)

    anchors, own, other = represent(outs[1], 0, (1, 2)), represent(outs[0], 1, (1, 3)), represent(clean, 1, (1, 3))
    scores = torch.cat([anchors @ own.T, (anchors @ other.T).fill_diagonal_(-torch.inf)], 1) / 0.3
    reward = plain_mate.kl(outs[0].logits, outs[1].logits) + 0.7 * F.cross_entropy(scores, torch.arange(8))
    theirs = torch.autograd.grad(-reward, list(generator.parameters()), allow_unused=True)

    size = max(float(g.abs().max()) for g in theirs if g is not None)
    assert size > 1e-4
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, torch.zeros_like(one) if two is None else two, atol=1e-4 * size, rtol=1e-3)


def test_without_contrast_it_is_mate() -> None:
    shared: dict[str, Any] = {"mask_rate": 0.4, "divergence": "mse", "temperature": 2.0}
    three: dict[str, Any] = {"cross_entropy": 0.2, "distillation": 0.3, "adversarial": 0.5}
    weights = CildaWeights(**three, contrast_clean=0.0, contrast_adversarial=0.0)
    ours = Cilda(CildaConfig(**shared, gamma=0.0, weights=weights), toys.parts())
    theirs = Mate(MateConfig(**shared, weights=MateWeights(**three)), toys.parts())
    batch = toys.batch()
    for phase in (STUDENT, GENERATOR):
        left, right = (method.loss(batch, phase, noise()).total.item() for method in (ours, theirs))
        assert left == right
    assert [ours.phase(step) for step in range(220)] == [theirs.phase(step) for step in range(220)]


def test_without_contrast_and_adversary_it_is_kd() -> None:
    weights = CildaWeights(
        cross_entropy=0.6, distillation=0.4, adversarial=0.0, contrast_clean=0.0, contrast_adversarial=0.0
    )
    ours = Cilda(CildaConfig(temperature=3.0, weights=weights), toys.parts())
    theirs = Kd(KdConfig(temperature=3.0, weight=0.4), toys.parts())
    batch = toys.batch()
    expected = theirs.loss(batch, STUDENT, noise()).total.item()
    assert ours.loss(batch, STUDENT, noise()).total.item() == pytest.approx(expected, rel=1e-6)


def test_closeness_alone_leaves_the_teachers_projection_where_it_started() -> None:
    """Both projections together could make everything alike."""
    method = Cilda(CildaConfig(contrast="mse"), toys.parts())
    wanted = [p for p in method.trainable[STUDENT].module.parameters() if p.requires_grad]
    frozen = [p for p in method.trainable[STUDENT].module.parameters() if not p.requires_grad]
    assert [tuple(p.shape) for p in frozen] == [(128, 2 * 16)]
    assert any(tuple(p.shape) == (128, 2 * 8) for p in wanted)


def test_fewer_layers_narrow_the_projections_input() -> None:
    module = Cilda(CildaConfig(layers=1, projection=6), toys.parts()).trainable[STUDENT].module
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items() if "projections" in key}
    assert shapes == {"1.projections.0.weight": (6, 8), "1.projections.1.weight": (6, 16)}


def test_a_frozen_generator_has_no_turn() -> None:
    method = Cilda(CildaConfig(generator=AdversaryConfig(frozen=True)), toys.parts())
    assert set(method.trainable) == {STUDENT}
    assert {method.phase(step) for step in range(220)} == {STUDENT}


def test_share_of_texts_that_find_their_teacher() -> None:
    teacher = torch.eye(4)
    assert share_found(teacher, teacher).item() == 1.0
    assert share_found(teacher[[0, 1, 3, 2]], teacher).item() == 0.5


def test_what_it_refuses() -> None:
    (problem,) = Cilda.refuses(CildaConfig(layers=3), SETTING)
    assert str(problem) == "method.layers: 3, but the student has 2 layers; choose from 1 to 2"
    (problem,) = Cilda.refuses(CildaConfig(), replace(SETTING, student_layers=5))
    assert str(problem) == "method.layers: 5, but the teacher has 3 layers; choose from 1 to 3"
