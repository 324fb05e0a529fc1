"""A last layer cut down to what is read says what the whole one says, and learns what it learns."""

import pytest
import torch

from limbeck.models import Generator
from limbeck.models.last_layer import read_at
from models import toys

IDS = torch.tensor([[12, 15, 20, 33, 47, 58, 13], [12, 71, 86, 13, 1, 1, 1]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0]])
PLACES = torch.tensor([[0, 1, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0, 0]]).bool()


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_a_classifier_s_gradients_are_those_of_the_whole_layer(family: str) -> None:
    classifier = toys.classifier(family).double()
    weights = list(classifier.parameters())
    cut, whole = (
        torch.autograd.grad(
            classifier(input_ids=IDS, attention_mask=MASK, hidden=hidden).logits.square().sum(),
            weights,
            allow_unused=True,
        )
        for hidden in (False, True)
    )
    for ours, theirs in zip(cut, whole, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_a_generator_guesses_at_places_what_it_says_everywhere(family: str) -> None:
    generator = Generator(toys.masked_lm(family)).double()
    weights = list(generator.parameters())
    guessed, everywhere = generator.guess(IDS, MASK, PLACES.flatten().nonzero()[:, 0]), generator(IDS, MASK)[PLACES]
    assert guessed.shape == (3, 100)
    torch.testing.assert_close(guessed, everywhere)
    ours, theirs = (torch.autograd.grad(x.square().sum(), weights, allow_unused=True) for x in (guessed, everywhere))
    for mine, yours in zip(ours, theirs, strict=True):
        if yours is not None:
            torch.testing.assert_close(mine, yours)


@pytest.mark.parametrize("family", toys.FAMILIES)
@torch.no_grad()
def test_the_last_layer_is_cut_and_whole_again_afterwards(family: str) -> None:
    model = toys.classifier(family).model
    with read_at(model):
        assert model.base_model(input_ids=IDS, attention_mask=MASK).last_hidden_state.shape == (2, 1, 32)
    with pytest.raises(ZeroDivisionError), read_at(model):
        _ = 1 / 0
    assert model.base_model(input_ids=IDS, attention_mask=MASK).last_hidden_state.shape == (2, 7, 32)


@torch.no_grad()
def test_nothing_hidden_is_guessed_as_nothing() -> None:
    assert Generator(toys.masked_lm()).guess(IDS, MASK, torch.empty(0, dtype=torch.long)).shape == (0, 100)
