from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from limbeck.errors import UserError
from limbeck.models import StudentConfig, load_base, new_student, parameters, student_sizes
from limbeck.models.selection import evenly_spaced
from models import toys

IDS = torch.tensor([[12, 15, 20, 33, 47, 58, 13]])
MASK = torch.ones_like(IDS)


def sizes(**config):
    """The sizes of a student of a teacher with 6 layers of 12 heads, width 384."""
    teacher = replace(toys.classifier().facts, layers=6, hidden=384, heads=12, intermediate=1536)
    return student_sizes(StudentConfig(**config), teacher)


@pytest.mark.parametrize(
    ("layers", "expected"), [(1, (6,)), (2, (3, 6)), (3, (2, 4, 6)), (4, (1, 3, 4, 6)), (6, (1, 2, 3, 4, 5, 6))]
)
def test_layers_are_copied_evenly_and_the_last_is_among_them(layers, expected):
    assert sizes(layers=layers).layer_map == expected


def test_sizes_left_out_follow_the_teacher():
    half = sizes()
    assert (half.layers, half.hidden, half.heads, half.intermediate) == (3, 384, 12, 1536)
    narrow = sizes(hidden=192)
    assert (narrow.heads, narrow.intermediate) == (6, 768)
    odd = sizes(hidden=200)
    assert (odd.heads, odd.intermediate) == (10, 800)
    assert sizes(layer_map=(1, 6)).layers == 2
    assert sizes(init="random").layer_map == ()


def test_one_layer_is_left_of_one():
    teacher = toys.classifier("bert", num_hidden_layers=1).facts
    assert student_sizes(StudentConfig(), teacher).layers == 1


@pytest.mark.parametrize("family", toys.FAMILIES)
@torch.no_grad()
def test_a_student_of_the_teacher_s_size_is_its_equal(family):
    teacher = toys.classifier(family)
    student = new_student(StudentConfig(layers=4), teacher, seed=0)
    assert student.training
    student.eval()
    expected = teacher(input_ids=IDS, attention_mask=MASK).logits
    torch.testing.assert_close(student(input_ids=IDS, attention_mask=MASK).logits, expected)
    for weight in student.parameters():
        weight.zero_()
    torch.testing.assert_close(teacher(input_ids=IDS, attention_mask=MASK).logits, expected)


@pytest.mark.parametrize("family", toys.FAMILIES)
@torch.no_grad()
def test_layers_come_from_the_named_ones(family):
    teacher = toys.classifier(family)
    student = new_student(StudentConfig(layer_map=(2, 2)), teacher, seed=0).eval()
    theirs = dict(teacher.model.named_parameters())
    copied = 0
    for name, weight in student.model.named_parameters():
        source = name.replace(".layer.0.", ".layer.1.")
        assert torch.equal(weight, theirs[source]), name
        copied += ".layer." in name
    assert copied > 20


@pytest.mark.parametrize("family", toys.FAMILIES)
@torch.no_grad()
def test_a_narrower_student_drops_the_channels_that_a_teacher_ignores(family):
    """A teacher that uses only every other channel of a dimension is reproduced by a student without the rest."""
    teacher = toys.classifier(family)
    blind_to_half(teacher)
    student = new_student(StudentConfig(layers=4, heads=4, intermediate=32), teacher, seed=0).eval()
    expected = teacher(input_ids=IDS, attention_mask=MASK).logits
    torch.testing.assert_close(student(input_ids=IDS, attention_mask=MASK).logits, expected, atol=1e-5, rtol=0)
    assert parameters(student) < parameters(teacher)


def blind_to_half(teacher):
    """Make the second layer of every feed-forward block ignore every other inner channel."""
    for name, weight in teacher.model.named_parameters():
        if weight.ndim == 2 and weight.shape == (32, 64) and ".layer." in name:
            weight[:, 1::2] = 0


def first_query(classifier):
    ending = f"{classifier.family.attention_rows[0]}.weight"
    return next(weight for name, weight in classifier.model.named_parameters() if name.endswith(ending))


@pytest.mark.parametrize("family", [f for f in toys.FAMILIES if f != "electra"])
def test_whole_heads_are_kept_where_the_student_has_fewer(family):
    teacher = toys.classifier(family)
    student = new_student(StudentConfig(layers=4, hidden=16), teacher, seed=0)
    heads_1_and_3 = torch.cat([torch.arange(0, 8), torch.arange(16, 24)])
    assert student.facts.heads == 2
    assert torch.equal(first_query(student), first_query(teacher)[heads_1_and_3][:, ::2])


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_neighbours_stay_neighbours_where_no_whole_head_fits(family):
    teacher = toys.classifier(family)
    student = new_student(StudentConfig(layers=4, hidden=20, heads=2), teacher, seed=0)
    kept = evenly_spaced(32, 20)
    assert torch.equal(first_query(student), first_query(teacher)[kept][:, kept])


@pytest.mark.parametrize("family", toys.FAMILIES)
@pytest.mark.parametrize(
    "config", [{"hidden": 24}, {"hidden": 24, "heads": 6}, {"heads": 8}, {"hidden": 8, "layers": 1}]
)
def test_every_shape_can_be_selected(family, config):
    student = new_student(StudentConfig(**config), toys.classifier(family), seed=0)
    loss = student(input_ids=IDS, attention_mask=MASK).logits.square().sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert student.embedding.weight.grad.abs().sum() > 0


def test_indices_are_evenly_spaced():
    assert evenly_spaced(8, 4).tolist() == [0, 2, 4, 6]
    assert evenly_spaced(8, 3).tolist() == [0, 4, 7]
    assert evenly_spaced(5, 5).tolist() == [0, 1, 2, 3, 4]


def test_random_weights_depend_on_the_seed_alone():
    teacher = toys.classifier()
    config = StudentConfig(init="random", hidden=64, layers=5)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = new_student(config, teacher, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    same, other = new_student(config, teacher, seed=3), new_student(config, teacher, seed=4)
    assert (one.facts.hidden, one.facts.layers, one.facts.heads, one.facts.intermediate) == (64, 5, 8, 128)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.embedding.weight, other.embedding.weight)


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_dropout_zero_makes_training_mode_repeatable(family):
    teacher = toys.classifier(family)
    ids = IDS.repeat(16, 1)
    mask = torch.ones_like(ids)
    for dropout, repeats in ((0.0, True), (None, False)):
        student = new_student(StudentConfig(dropout=dropout), teacher, seed=0).train()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            logits = student(input_ids=ids, attention_mask=mask).logits
        assert torch.allclose(logits, logits[:1].expand_as(logits), atol=1e-5) == repeats


def test_all_that_does_not_fit_is_said_at_once():
    teacher = toys.classifier("bert")
    with pytest.raises(UserError) as caught:
        new_student(StudentConfig(layers=5, hidden=64, heads=7, intermediate=256), teacher, seed=0)
    where = [p.where for p in caught.value.problems]
    assert where == ["student.heads", "student.layers", "student.hidden", "student.intermediate"]
    assert "7 heads do not divide hidden = 64" in str(caught.value)
    assert "5 layers, but the teacher has 4" in str(caught.value)
    with pytest.raises(UserError, match="no layer 9: the teacher has 1 to 4"):
        new_student(StudentConfig(layer_map=(1, 9)), teacher, seed=0)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"layers": 2, "layer_map": (1, 2, 3)}, "layer_map names 3 layers, but layers is 2"),
        ({"init": "random", "layer_map": (1,)}, "init is random"),
        ({"checkpoint": "x", "hidden": 32, "dropout": 0.1}, "leave out hidden, dropout"),
        ({"layers": 0}, "greater than 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(fields, words):
    with pytest.raises(ValidationError, match=words):
        StudentConfig(**fields)


def test_electra_keeps_its_narrow_embeddings():
    teacher = toys.classifier("electra")
    student = new_student(StudentConfig(hidden=24), teacher, seed=0)
    assert student.embedding.weight.shape == (100, 16)
    assert torch.equal(student.embedding.weight, teacher.embedding.weight)
    with pytest.raises(UserError, match="projection"):
        new_student(StudentConfig(hidden=16), teacher, seed=0)
    wide = toys.classifier("electra", embedding_size=32)
    assert new_student(StudentConfig(hidden=16), wide, seed=0).embedding.weight.shape == (100, 16)


def test_a_checkpoint_is_a_student_with_a_head_for_the_task(tmp_path):
    toys.masked_lm("bert", num_hidden_layers=1, hidden_size=16).save_pretrained(tmp_path)
    teacher = toys.classifier("bert", classes=3)
    student = new_student(StudentConfig(checkpoint=str(tmp_path)), teacher, seed=5)
    assert student.training
    assert (student.facts.layers, student.facts.hidden) == (1, 16)
    assert student(input_ids=IDS, attention_mask=MASK).logits.shape == (1, 3)
    again = load_base(tmp_path, ("a", "b", "c"), seed=5)
    assert torch.equal(again.model.classifier.weight, student.model.classifier.weight)
