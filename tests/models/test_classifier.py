import copy
import itertools

import pytest
import torch

from limbeck.models import parameters, parameters_non_embedding
from models import toys


def batch(classifier):
    """Two inputs of seven tokens, the second with three pads on the right, and segments."""
    pad = classifier.facts.pad_id
    ids = torch.tensor([[12, 15, 20, 33, 47, 58, 13], [12, 71, 86, 13, pad, pad, pad]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0]])
    segments = torch.tensor([[0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0, 0]])
    return ids, mask, segments


@pytest.mark.parametrize("family", toys.FAMILIES)
@torch.no_grad()
def test_embeddings_give_what_ids_give(family):
    classifier = toys.classifier(family)
    ids, mask, segments = batch(classifier)
    embeds = classifier.embedding(ids)
    by_ids = classifier(input_ids=ids, attention_mask=mask, token_type_ids=segments, hidden=True)
    by_embeds = classifier(inputs_embeds=embeds, attention_mask=mask, token_type_ids=segments, hidden=True)
    torch.testing.assert_close(by_ids.logits, by_embeds.logits, atol=1e-5, rtol=0)
    for a, b in zip(by_ids.hidden, by_embeds.hidden, strict=True):
        torch.testing.assert_close(a[mask.bool()], b[mask.bool()], atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", toys.FAMILIES)
@torch.no_grad()
def test_logits_are_the_library_s_own(family):
    classifier = toys.classifier(family)
    ids, mask, segments = batch(classifier)
    extra = {"token_type_ids": segments} if family in ("bert", "electra") else {}
    expected = classifier.model(input_ids=ids, attention_mask=mask, **extra).logits
    got = classifier(input_ids=ids, attention_mask=mask, token_type_ids=segments).logits
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
    assert got.std() > 0.01


@pytest.mark.parametrize("family", toys.FAMILIES)
@torch.no_grad()
def test_padding_on_the_right_changes_nothing(family):
    classifier = toys.classifier(family)
    ids, mask, _ = batch(classifier)
    padded = classifier(inputs_embeds=classifier.embedding(ids), attention_mask=mask).logits[1]
    alone = classifier(input_ids=ids[1:, :4], attention_mask=mask[1:, :4]).logits[0]
    torch.testing.assert_close(padded, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["bert", "electra"])
@torch.no_grad()
def test_segments_matter_where_the_family_has_them(family):
    classifier = toys.classifier(family)
    ids, mask, segments = batch(classifier)
    without = classifier(input_ids=ids, attention_mask=mask).logits
    assert (classifier(input_ids=ids, attention_mask=mask, token_type_ids=segments).logits - without).abs().max() > 1e-3


@pytest.mark.parametrize("family", toys.FAMILIES)
@torch.no_grad()
def test_hidden_states_are_one_more_than_layers(family):
    classifier = toys.classifier(family)
    ids, mask, _ = batch(classifier)
    assert classifier(input_ids=ids, attention_mask=mask).hidden is None
    hidden = classifier(input_ids=ids, attention_mask=mask, hidden=True).hidden
    assert len(hidden) == classifier.layers + 1 == 5
    assert {tuple(h.shape) for h in hidden} == {(2, 7, classifier.width)}
    last = classifier.model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(hidden[-1], last)
    assert all((a - b).abs().max() > 1e-3 for a, b in itertools.pairwise(hidden))


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_the_encoder_is_what_the_hidden_states_depend_on(family):
    classifier = toys.classifier(family)
    ids, mask, segments = batch(classifier)
    hidden = classifier(input_ids=ids, attention_mask=mask, token_type_ids=segments, hidden=True).hidden
    names = {id(p): name for name, p in classifier.named_parameters()}
    total = sum((h * torch.randn(h.shape)).sum() for h in hidden)
    slopes = torch.autograd.grad(total, list(classifier.parameters()), allow_unused=True)
    needed = {id(p) for p, slope in zip(classifier.parameters(), slopes, strict=True) if slope is not None}
    encoder = {id(p) for p in classifier.encoder.parameters()}
    assert {names[i] for i in encoder ^ needed} == set()
    assert encoder < set(names)


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_gradient_reaches_the_embeddings(family):
    classifier = toys.classifier(family)
    ids, mask, _ = batch(classifier)
    embeds = classifier.embedding(ids).detach().requires_grad_()
    classifier(inputs_embeds=embeds, attention_mask=mask).logits.sum().backward()
    assert embeds.grad[mask.bool()].abs().sum(-1).min() > 0
    assert embeds.grad[~mask.bool()].abs().max() == 0


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_facts_speak_one_language(family):
    facts = toys.classifier(family).facts
    assert (facts.model_type, facts.layers, facts.hidden, facts.heads, facts.intermediate) == (family, 4, 32, 4, 64)
    assert facts.vocabulary == 100
    assert facts.pad_id == (1 if family in ("roberta", "mpnet") else 0)


@pytest.mark.parametrize("family", toys.FAMILIES)
@torch.no_grad()
def test_longest_input_fits_and_no_longer_one(family):
    classifier = toys.classifier(family)
    longest = classifier.facts.max_tokens
    ids = torch.full((1, longest + 1), 50)
    classifier(input_ids=ids[:, 1:], attention_mask=torch.ones_like(ids[:, 1:]))
    with pytest.raises((IndexError, RuntimeError)):
        classifier(input_ids=ids, attention_mask=torch.ones_like(ids))


def test_ids_and_embeddings_together_are_refused():
    classifier = toys.classifier()
    ids, mask, _ = batch(classifier)
    with pytest.raises(ValueError, match="either"):
        classifier(input_ids=ids, inputs_embeds=classifier.embedding(ids), attention_mask=mask)
    with pytest.raises(ValueError, match="either"):
        classifier(attention_mask=mask)


def test_parameters_are_counted_with_and_without_tables():
    classifier = toys.classifier("bert", classes=3)
    tables = 32 * (100 + 40 + 2)
    layer = 4 * (32 * 32 + 32) + 2 * 32 * 64 + 64 + 32 + 4 * 32
    rest = 4 * layer + 2 * 32 + (32 * 32 + 32) + (32 * 3 + 3)
    assert parameters_non_embedding(classifier) == rest
    assert parameters(classifier) == rest + tables


@torch.no_grad()
def test_a_deep_copy_shares_no_weight():
    classifier = toys.classifier()
    twin = copy.deepcopy(classifier)
    ids, mask, _ = batch(classifier)
    before = classifier(input_ids=ids, attention_mask=mask).logits
    for weight in twin.parameters():
        weight.zero_()
    torch.testing.assert_close(classifier(input_ids=ids, attention_mask=mask).logits, before)
