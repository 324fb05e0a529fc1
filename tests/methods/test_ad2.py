"""AD²: the ascent and the loss worked in NumPy on a linear student, and their limits."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import toys
from limbeck.encoding import Batch
from limbeck.methods.ad2 import Ad2, Ad2Config
from limbeck.methods.base import STUDENT, Parts
from limbeck.methods.kd import Kd, KdConfig
from limbeck.methods.losses import divergence, supervised
from limbeck.methods.perturbation import Norm, example_size
from limbeck.noise import RowNoise
from methods import linear


def noise(seed: int = 3) -> RowNoise:
    return RowNoise(seed, 0, range(8))


def grads(total: Tensor, parts: Parts) -> list[Tensor | None]:
    return list(torch.autograd.grad(total, list(parts.student.parameters()), allow_unused=True))


def climb(batch: Batch, student: linear.Numbers, config: Ad2Config) -> list[np.ndarray]:
    """δ after each step from δ₀ = 0, by the formula."""
    tau, mask, allowed = config.temperature, batch.attention_mask.numpy(), batch.maskable.numpy()
    clean = student.embeds(batch.input_ids)
    q = linear.softmax(batch.teacher_logits.double().numpy() / tau)
    delta, path = np.zeros_like(clean), []
    for _ in range(config.steps):
        z = student.logits(clean + delta, mask)
        gold = linear.softmax(z) - np.eye(z.shape[1])[batch.labels]
        soft, a = tau * (linear.softmax(z / tau) - q), config.distillation
        towards = {"teacher": soft, "gold": gold, "loss": (1 - a) * gold + a * soft}[config.adversary]
        gradient = student.slope(towards, mask, allowed)
        order = 2 if config.norm == "l2" else np.inf
        size = np.linalg.norm(gradient.reshape(len(gradient), -1), order, 1)[:, None, None]
        delta = delta + config.step_size * gradient / size
        if config.radius and config.norm == "linf":
            delta = delta.clip(-config.radius, config.radius)
        elif config.radius:
            length = np.linalg.norm(delta.reshape(len(delta), -1), 2, 1)[:, None, None]
            delta = delta * np.minimum(1, config.radius / length)
        path.append(delta)
    return path


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 2.5, "distillation": 0.3, "weight": 0.7},
        {"steps": 3, "step_size": 0.4, "radius": 0.6},
        {"steps": 3, "step_size": 0.4, "radius": 0.5, "norm": "linf", "average_steps": True},
        {"steps": 2, "adversary": "gold"},
        {"adversary": "loss", "distillation": 0.3, "temperature": 2.0},
        {"adversary": "loss", "steps": 3, "radius": 0.9, "average_steps": True},
    ],
)
def test_ascent_and_loss_by_numpy(settings: dict[str, object]) -> None:
    config = Ad2Config.model_validate({"initial_size": 0.0, **settings})
    parts, batch = linear.parts(), toys.batch()
    student, mask = linear.Numbers(parts.student), batch.attention_mask.numpy()
    path = climb(batch, student, config)
    for ours, expected in zip(Ad2(config, parts).perturb(batch, noise()), path, strict=True):
        np.testing.assert_allclose(ours.numpy(), expected, atol=1e-6)

    loss = Ad2(config, parts).loss(batch, STUDENT, noise())
    clean, tau, q = student.embeds(batch.input_ids), config.temperature, batch.teacher_logits.numpy()
    points = path if config.average_steps else path[-1:]
    others = np.mean([linear.kl(q, student.logits(clean + delta, mask), tau).mean() for delta in points])
    expected = linear.kd(batch, student.logits(clean, mask), config.distillation, tau) + config.weight * others
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)
    assert loss.parts["adversarial"].item() == pytest.approx(others, rel=1e-5)
    places = batch.maskable.numpy()[..., None]
    sizes = [np.linalg.norm((x * places).reshape(8, -1), axis=1).mean() for x in (path[-1], clean)]
    assert loss.parts["relative_perturbation"].item() == pytest.approx(sizes[0] / sizes[1], rel=1e-5)


def test_weight_zero_is_kd() -> None:
    parts, batch = toys.parts(), toys.batch()
    ours = Ad2(Ad2Config(weight=0, temperature=3.0, distillation=0.7), parts).loss(batch, STUDENT, noise()).total
    kd = Kd(KdConfig(temperature=3.0, weight=0.7), parts).loss(batch, STUDENT, noise()).total
    assert ours.item() == pytest.approx(kd.item(), rel=1e-6)
    for a, b in zip(grads(ours, parts), grads(kd, parts), strict=True):
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_a_student_that_agrees_has_nothing_to_distil() -> None:
    parts, batch = toys.parts(), toys.batch()
    with torch.no_grad():
        own = parts.student(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    terms = Ad2(Ad2Config(initial_size=0.01), parts).loss(toys.with_teacher(batch, own), STUDENT, noise()).parts
    assert terms["distillation"].item() == pytest.approx(0, abs=1e-6)
    assert terms["adversarial"].item() > 1e-6, "the start is off the flat point, so the ascent finds a slope"


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_in_the_ball_and_zero_on_pads_and_specials(norm: Norm) -> None:
    config = Ad2Config(steps=4, step_size=0.2, norm=norm, radius=0.3, initial_size=1.0)
    batch = toys.batch()
    for delta in Ad2(config, toys.parts()).perturb(batch, noise()):
        assert (example_size(delta, norm) <= 0.3 * (1 + 1e-6)).all()
        assert not delta[~batch.maskable].any()
        assert delta[batch.maskable].any(1).all()


def test_the_ascent_climbs_and_noise_of_its_size_does_not() -> None:
    parts, batch = toys.parts(), toys.batch()

    def gap(delta: Tensor) -> float:
        embeds = parts.student.embedding(batch.input_ids) + delta
        out = parts.student(inputs_embeds=embeds, attention_mask=batch.attention_mask).logits
        return divergence(batch.teacher_logits, out, "kl", 1.0, False).item()

    settings = {"steps": 3, "step_size": 0.3}
    climbed = Ad2(Ad2Config.model_validate(settings), parts).perturb(batch, noise())
    random = Ad2(Ad2Config.model_validate({**settings, "adversary": "random"}), parts).perturb(batch, noise())
    gaps = [gap(torch.zeros_like(climbed[0])), *map(gap, climbed)]
    assert gaps == sorted(gaps)
    assert gaps[3] > gaps[0] + 5 * abs(gap(random[2]) - gaps[0])
    for ours, theirs in zip(random, climbed, strict=True):
        torch.testing.assert_close(example_size(ours, "l2"), example_size(theirs, "l2"))
        assert not ours[~batch.maskable].any()
        assert torch.cosine_similarity(ours.flatten(1), theirs.flatten(1)).abs().max() < 0.6


def test_dropout_stays_out_of_the_ascent_and_comes_back() -> None:
    parts, batch = toys.parts(dropout=0.5), toys.batch()
    method = Ad2(Ad2Config(steps=2), parts)
    parts.student.train()
    first, second = (method.perturb(batch, noise())[-1] for _ in range(2))
    assert torch.equal(first, second)
    assert parts.student.training


def test_the_perturbation_is_a_constant_of_the_loss() -> None:
    """No gradient goes back through the ascent, and it leaves none behind."""
    parts, batch, config = toys.parts(), toys.batch(), Ad2Config(steps=2)
    method = Ad2(config, parts)
    ours = grads(method.loss(batch, STUDENT, noise()).total, parts)
    delta = method.perturb(batch, noise())[-1]
    assert all(p.grad is None for p in parts.student.parameters())
    embeds = parts.student.embedding(batch.input_ids)
    points = (
        parts.student(inputs_embeds=e, attention_mask=batch.attention_mask).logits for e in (embeds, embeds + delta)
    )
    clean, other = points
    gold = nn.functional.cross_entropy(clean, batch.labels)
    soft, hard = (divergence(batch.teacher_logits, z, "kl", 1.0, False) for z in (clean, other))
    for a, b in zip(ours, grads(0.5 * gold + 0.5 * soft + hard, parts), strict=True):
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("adversary", ["teacher", "gold", "loss"])
@pytest.mark.parametrize("classes", [2, 3, 0])
def test_a_free_step_has_the_direction_and_the_gradients_of_an_own_pass(
    classes: int, adversary: str, steps: int
) -> None:
    """Clean and perturbed part together, as if both had been differentiated in one go; K = 1 takes two passes."""
    parts, batch = linear.parts(classes), toys.batch(classes=classes)
    config = Ad2Config.model_validate(
        {"adversary": adversary, "steps": steps, "weight": 0.7, "distillation": 0.4, "temperature": 2.0}
    )
    method = Ad2(config, parts)
    found = method.loss(batch, STUDENT, noise())
    assert parts.student.calls == 1 + steps
    delta = method.perturb(batch, noise())[-1]
    embeds = parts.student.embedding(batch.input_ids)
    clean, other = (
        parts.student(inputs_embeds=e, attention_mask=batch.attention_mask).logits for e in (embeds, embeds + delta)
    )
    soft, hard = (divergence(batch.teacher_logits, z, "kl", 2.0, classes == 0) for z in (clean, other))
    plain = 0.6 * supervised(clean, batch.labels) + 0.4 * soft + 0.7 * hard
    assert found.parts["adversarial"].item() == pytest.approx(hard.item(), rel=1e-5)
    assert found.total.item() == pytest.approx(plain.item(), rel=1e-5)
    weights = list(parts.student.parameters())
    for scale in (1, 3):
        ours = torch.autograd.grad(scale * method.loss(batch, STUDENT, noise()).total, weights)
        for a, b in zip(ours, torch.autograd.grad(scale * plain, weights, retain_graph=True), strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_a_class_that_nobody_believes_in_does_not_stop_the_ascent() -> None:
    """Its logit has no slope at all; the others' have."""
    parts, batch = linear.parts(), toys.batch()
    with torch.no_grad():
        parts.student.embedding.weight.abs_()
        parts.student.matrix[:, 0] = -1e4
    batch = replace(batch, labels=batch.labels.clamp(min=1))
    batch = toys.with_teacher(batch, batch.teacher_logits.index_fill(1, torch.tensor([0]), -1e4))
    for adversary in ("teacher", "loss"):
        terms = Ad2(Ad2Config.model_validate({"adversary": adversary}), parts).loss(batch, STUDENT, noise()).parts
        assert terms["relative_perturbation"].item() > 0.01, adversary


def test_the_teacher_is_never_asked() -> None:
    teacher = linear.Linear(3, 1)
    method = Ad2(Ad2Config(), replace(linear.parts(), teacher=teacher))
    method.loss(toys.batch(), STUDENT, noise())
    method.invent(toys.batch(), noise())
    assert teacher.calls == 0


def test_inventions_are_the_nearest_words() -> None:
    """A tiny step leaves every word nearest to itself; a huge one changes words, and none at specials."""
    batch = toys.batch()
    small, large = (
        Ad2(Ad2Config(step_size=size), toys.parts()).invent(batch, noise()).input_ids for size in (1e-3, 50.0)
    )
    assert torch.equal(small, batch.input_ids)
    assert (large != batch.input_ids)[batch.maskable].float().mean() > 0.2
    assert torch.equal(large[~batch.maskable], batch.input_ids[~batch.maskable])
