"""Random masking: MATE-KD's student steps by NumPy, with a generator that never moves."""

from dataclasses import replace

import pytest
import torch

import toys
from limbeck.methods.base import STUDENT
from limbeck.methods.masking import invent_inputs
from limbeck.methods.mate import MateWeights
from limbeck.methods.random_mask import RandomMask, RandomMaskConfig
from limbeck.models import Generator, GeneratorConfig
from limbeck.noise import RowNoise
from methods import linear


def noise(step: int = 0) -> RowNoise:
    return RowNoise(3, step, range(8))


def test_loss_by_numpy() -> None:
    weights = MateWeights(cross_entropy=0.5, distillation=0.9, adversarial=1.4)
    parts, batch = linear.parts(), toys.batch()
    method = RandomMask(RandomMaskConfig(mask_rate=0.4, temperature=1.5, weights=weights), parts)
    words, _ = invent_inputs(parts.new_generator(GeneratorConfig()), batch, 0.4, toys.MASK, noise())
    student, teacher = (linear.Numbers(network) for network in (parts.student, parts.teacher))
    clean = student.of(batch.input_ids, batch.attention_mask)
    asked, says = (network.of(words, batch.attention_mask) for network in (teacher, student))
    terms = {
        "cross_entropy": linear.cross_entropy(clean, batch.labels).mean(),
        "distillation": linear.kl(batch.teacher_logits.numpy(), clean, 1.5).mean(),
        "adversarial": linear.kl(asked, says, 1.5).mean(),
    }
    loss = method.loss(batch, STUDENT, noise())
    for name, value in terms.items():
        assert loss.parts[name].item() == pytest.approx(value, rel=1e-4)
    expected = sum(getattr(weights, name) * value for name, value in terms.items())
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)


def test_every_step_is_the_student_s_and_the_generator_stays() -> None:
    made: list[Generator] = []

    def new_generator(config: GeneratorConfig) -> Generator:
        made.append(toys.generator(layers=config.layers))
        return made[-1]

    parts = replace(toys.parts(), new_generator=new_generator)
    method = RandomMask(RandomMaskConfig(generator=GeneratorConfig(layers=1)), parts)
    assert {method.phase(step) for step in range(200)} == set(method.trainable) == {STUDENT}
    assert len(made) == 1
    taught = {id(p) for p in method.trainable[STUDENT].module.parameters()}
    assert not taught & {id(p) for p in made[0].parameters()}
    total = method.loss(toys.batch(), STUDENT, noise()).total
    reached = torch.autograd.grad(total, list(made[0].parameters()), allow_unused=True)
    assert all(grad is None for grad in reached)


def test_words_are_new_at_each_step() -> None:
    method = RandomMask(RandomMaskConfig(), toys.parts())
    terms = {method.loss(toys.batch(), STUDENT, noise(step)).parts["adversarial"].item() for step in range(4)}
    assert len(terms) == 4
