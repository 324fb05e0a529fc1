import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM

from limbeck.encoding import Encoded, Vocabulary
from limbeck.errors import UserError
from limbeck.methods.codir import CodirConfig
from limbeck.methods.mate import AdversaryConfig, MateConfig
from limbeck.methods.pretraining import PretrainingConfig
from limbeck.models import (
    Generator,
    GeneratorConfig,
    fit_generator,
    generators_within,
    load_generator,
    new_generator,
    save_generator,
)
from limbeck.models.fitting import hide_words, start_from_frequencies
from limbeck.models.loading import seeded
from models import toys

IDS = torch.tensor([[2, 15, 20, 4, 47, 58, 3], [2, 71, 4, 3, 0, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0]])
VOCABULARY = Vocabulary(size=100, pad=0, mask=4, specials=frozenset(range(5)), segments=False)
QUICK = GeneratorConfig(layers=2, fit_updates=60, fit_batch_size=16, fit_learning_rate=5e-3)


def ids_for(family):
    """IDS with the family's own padding token: some count positions by it."""
    return IDS.masked_fill(MASK == 0, 1 if family in ("roberta", "mpnet") else 0)


def encoder(family, folder, seed=0, **changes):
    """Write an encoder without a head of any kind."""
    with seeded(seed):
        AutoModel.from_config(toys.config(family, **changes)).save_pretrained(folder)
    return folder


def counting(rows=200, seed=0):
    """Sentences of six words that count up from 10, 30, 50 or 70: 24 words, each known from its neighbours."""
    draw = np.random.default_rng(seed)
    firsts = draw.choice([10, 30, 50, 70], rows)
    tokens = np.array([[2, *range(first, first + 6), 3] for first in firsts], np.int32)
    return Encoded(tokens.flatten(), np.arange(0, 8 * rows + 1, 8), None, np.zeros(rows, np.int64))


@pytest.mark.parametrize("family", toys.FAMILIES)
@torch.no_grad()
def test_scores_at_picked_positions_are_the_library_s(family):
    model = toys.masked_lm(family)
    generator = Generator(model)
    ids = ids_for(family)
    expected = model(input_ids=ids, attention_mask=MASK).logits
    hidden = generator.encode(ids, MASK)
    assert hidden.shape == (2, 7, 32)
    picked = ids == 4
    scores = generator.scores(hidden[picked])
    assert scores.shape == (2, 100)
    torch.testing.assert_close(scores, expected[picked], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(generator(ids, MASK), expected, atol=1e-5, rtol=1e-4)
    assert generator.embedding.weight.shape[0] == 100


@torch.no_grad()
def test_segments_reach_families_that_have_them_and_no_other():
    segments = torch.tensor([[0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0, 0]])
    bert, distilbert = Generator(toys.masked_lm("bert")), Generator(toys.masked_lm("distilbert"))
    assert not torch.allclose(bert.encode(IDS, MASK, segments), bert.encode(IDS, MASK))
    assert torch.equal(distilbert.encode(IDS, MASK, segments), distilbert.encode(IDS, MASK))


@pytest.mark.parametrize("family", toys.FAMILIES)
@torch.no_grad()
def test_hidden_states_are_one_more_than_layers_and_end_with_those_that_are_scored(family):
    generator = Generator(toys.masked_lm(family))
    ids = ids_for(family)
    states = generator.read(ids, MASK)
    assert len(states) == generator.layers + 1
    assert {tuple(x.shape) for x in states} == {(2, 7, generator.width)}
    torch.testing.assert_close(states[-1], generator.encode(ids, MASK))


def test_settings_tell_which_generators_they_ask_for():
    one, other = GeneratorConfig(layers=2), GeneratorConfig(layers=None)
    assert list(generators_within(MateConfig(generator=AdversaryConfig(layers=2)))) == [AdversaryConfig(layers=2)]
    assert list(generators_within(CodirConfig(pretraining=PretrainingConfig(teacher=one)))) == [one]
    assert list(generators_within(CodirConfig(pretraining=PretrainingConfig()))) == [other]
    assert list(generators_within(CodirConfig())) == []


@pytest.mark.parametrize("family", toys.FAMILIES)
@torch.no_grad()
def test_a_ready_masked_lm_is_taken_whole(family, tmp_path):
    model = toys.masked_lm(family)
    model.save_pretrained(tmp_path)
    generator = new_generator(tmp_path, GeneratorConfig(layers=1), seed=0)
    assert not generator.fresh
    ids = ids_for(family)
    torch.testing.assert_close(generator(ids, MASK), model(input_ids=ids, attention_mask=MASK).logits)


@pytest.mark.parametrize("family", toys.FAMILIES)
@torch.no_grad()
def test_a_fresh_head_compares_states_with_word_embeddings(family, tmp_path):
    generator = new_generator(encoder(family, tmp_path), GeneratorConfig(layers=2), seed=0)
    assert generator.fresh
    assert generator.model.config.num_hidden_layers == 2
    narrow = family == "electra"
    states = torch.randn(50, 32, generator=torch.Generator().manual_seed(0))
    if narrow:
        # States that come from narrow embeddings lead back to them.
        project = generator.model.base_model.embeddings_project
        narrow_states = torch.randn(50, 16, generator=torch.Generator().manual_seed(0))
        states = narrow_states @ project.weight.T
    wanted = (
        torch.layer_norm(narrow_states if narrow else states, (16 if narrow else 32,)) @ generator.embedding.weight.T
    )
    got = generator.scores(states)
    assert torch.corrcoef(torch.stack([got.flatten(), wanted.flatten()]))[0, 1] > 0.99


def test_layers_are_the_encoder_s_first(tmp_path):
    generator = new_generator(encoder("bert", tmp_path), GeneratorConfig(layers=3), seed=0)
    whole = AutoModel.from_pretrained(tmp_path)
    for i, layer in enumerate(generator.model.base_model.encoder.layer):
        assert torch.equal(layer.output.dense.weight, whole.encoder.layer[i].output.dense.weight)
    assert new_generator(tmp_path, GeneratorConfig(layers=None), seed=0).layers == 4
    with pytest.raises(UserError, match=r"generator\.layers: 5 layers, but .* has 4"):
        new_generator(tmp_path, GeneratorConfig(layers=5), seed=0)


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_fitting_learns_to_guess_and_is_repeatable(family, tmp_path):
    said = []
    base, split = encoder(family, tmp_path), counting()
    one, same = (new_generator(base, QUICK, seed=0) for _ in range(2))
    fit = fit_generator(one, split, VOCABULARY, QUICK, "fp32", said.append)
    torch.manual_seed(99)
    assert fit_generator(same, split, VOCABULARY, QUICK, "fp32", said.append) == fit
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert [update for update, _ in fit.history] == [50, 60]
    # Frequencies alone give 24.
    assert fit.perplexity < 8
    assert fit.accuracy > 0.5
    assert fit.history[1][1] < fit.history[0][1]
    assert not one.fresh
    assert said[0].startswith("generator: update 50 of 60, perplexity ")
    assert "held-out perplexity" in said[2]


def replace_config(**changes):
    return QUICK.model_copy(update=changes)


def test_the_seed_decides_what_is_hidden(tmp_path):
    base, split = encoder("bert", tmp_path), counting()
    fits = [
        fit_generator(new_generator(base, QUICK, seed=0), split, VOCABULARY, replace_config(seed=seed), "fp32", str)
        for seed in (0, 1)
    ]
    assert fits[0].history != fits[1].history


def test_a_ready_masked_lm_is_measured_and_not_moved():
    generator = Generator(toys.masked_lm("bert"))
    before = copy.deepcopy(generator.state_dict())
    fit = fit_generator(generator, counting(), VOCABULARY, QUICK, "fp32", str)
    assert fit.history == ()
    assert fit.perplexity > 100
    assert all(torch.equal(a, b) for a, b in zip(before.values(), generator.state_dict().values(), strict=True))


def test_bf16_fits_too(tmp_path):
    config = replace_config(fit_updates=5)
    generator = new_generator(encoder("bert", tmp_path), config, seed=0)
    assert np.isfinite(fit_generator(generator, counting(), VOCABULARY, config, "bf16", str).perplexity)


def test_rows_without_words_do_no_harm(tmp_path):
    empty = Encoded(np.array([2, 3] * 8, np.int32), np.arange(0, 17, 2), None, np.zeros(8, np.int64))
    config = replace_config(fit_updates=2)
    generator = new_generator(encoder("bert", tmp_path), config, seed=0)
    fit_generator(generator, empty, VOCABULARY, config, "fp32", str)
    assert all(torch.isfinite(p).all() for p in generator.parameters())


def test_without_a_mask_token_nothing_can_be_hidden():
    with pytest.raises(UserError, match="no mask token"):
        blind = replace(VOCABULARY, mask=None)
        fit_generator(Generator(toys.masked_lm()), counting(), blind, QUICK, "fp32", str)


def test_every_row_hides_a_word_and_never_a_special():
    maskable = torch.tensor([[False, True, True, True, False], [False, True, False, False, False]])
    noise = torch.tensor([[0.0, 0.9, 0.2, 0.5, 0.0], [0.1, 0.95, 0.0, 0.0, 0.0]])
    few, more = (hide_words(maskable, rate, noise).int().tolist() for rate in (0.1, 0.6))
    assert few == [[0, 0, 1, 0, 0], [0, 1, 0, 0, 0]]
    assert more == [[0, 0, 1, 1, 0], [0, 1, 0, 0, 0]]


@pytest.mark.parametrize("family", toys.FAMILIES)
@torch.no_grad()
def test_the_bias_starts_at_the_words_frequencies(family):
    generator, split = Generator(toys.masked_lm(family)), counting()
    start_from_frequencies(generator, split, VOCABULARY)
    shares = generator.model.get_output_embeddings().bias.exp()
    counts = np.bincount(split.tokens, minlength=100)
    assert float(shares.sum()) == pytest.approx(1, abs=1e-5)
    assert float(shares[50]) == pytest.approx(counts[50] / counts[5:].sum(), rel=0.05)
    assert max(shares[:5].tolist()) < 1e-3


@pytest.mark.parametrize("family", toys.FAMILIES)
@torch.no_grad()
def test_a_saved_generator_comes_back_and_is_the_library_s_to_load(family, tmp_path):
    generator = new_generator(encoder(family, tmp_path / "base"), QUICK, seed=0)
    start_from_frequencies(generator, counting(), VOCABULARY)
    save_generator(generator, tmp_path / "saved")
    ids = ids_for(family)
    expected = generator.eval()(ids, MASK)
    back = load_generator(tmp_path / "saved")
    assert not back.fresh
    torch.testing.assert_close(back(ids, MASK), expected)
    library = AutoModelForMaskedLM.from_pretrained(tmp_path / "saved")
    torch.testing.assert_close(library(input_ids=ids, attention_mask=MASK).logits, expected, atol=1e-5, rtol=1e-4)


def test_a_loaded_generator_may_be_trained_without_moving_its_file(tmp_path):
    save_generator(Generator(toys.masked_lm()), tmp_path)
    one = load_generator(tmp_path)
    before = one.embedding.weight.detach().clone()
    with torch.no_grad():
        for weight in one.parameters():
            weight.add_(1)
    assert torch.equal(load_generator(tmp_path).embedding.weight, before)


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_a_deep_copy_keeps_the_table_tied_to_its_own_head(family):
    twin = copy.deepcopy(Generator(toys.masked_lm(family)))
    decoder = twin.model.get_output_embeddings()
    assert decoder.weight is twin.embedding.weight
    assert sum(p is twin.embedding.weight for p in twin.parameters()) == 1
