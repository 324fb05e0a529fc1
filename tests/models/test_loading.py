import json
import re
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from limbeck.errors import UserError
from limbeck.models import class_names, load_base, load_classifier, load_tokenizer, resolve, save_classifier
from limbeck.predictor import Predictor
from limbeck.tasks.labels import places_of
from models import toys

CLASSES = ("bad", "fine", "good")
IDS = torch.tensor([[2, 15, 20, 33, 47, 58, 3]])
MASK = torch.ones_like(IDS)


@pytest.fixture
def folder(tmp_path):
    save_classifier(toys.classifier(), toys.tokenizer(tmp_path / "words"), tmp_path / "model", CLASSES)
    return tmp_path / "model"


@pytest.mark.parametrize("family", toys.FAMILIES)
@torch.no_grad()
def test_a_saved_classifier_is_the_library_s_to_load(family, tmp_path):
    classifier = toys.classifier(family)
    save_classifier(classifier, toys.tokenizer(tmp_path / "words"), tmp_path, CLASSES)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert model.config.id2label == dict(enumerate(CLASSES))
    assert model.config.label2id == {"bad": 0, "fine": 1, "good": 2}
    expected = classifier(input_ids=IDS, attention_mask=MASK).logits
    torch.testing.assert_close(model(input_ids=IDS, attention_mask=MASK).logits, expected)
    torch.testing.assert_close(load_classifier(tmp_path, CLASSES)(input_ids=IDS, attention_mask=MASK).logits, expected)
    assert AutoTokenizer.from_pretrained(tmp_path)("the film")["input_ids"] == [2, 9, 7, 3]


def test_a_folder_says_how_its_texts_were_read(tmp_path, folder):
    tokenizer = toys.tokenizer(tmp_path / "words")
    save_classifier(toys.classifier(), tokenizer, tmp_path / "pairs", CLASSES, read=(2, 5))
    model, first, second = Predictor(tmp_path / "pairs"), ["the film"], ["a very dull plot"]
    assert (model.columns, Predictor(folder).columns) == (2, None)
    cut = model.tokens([first, second]).ids.tolist()
    assert cut == AutoTokenizer.from_pretrained(tmp_path / "pairs")(first, second, truncation=True)["input_ids"][0]
    assert len(cut) == 5
    assert tokenizer.model_max_length > 512


def test_regression_has_one_output_and_says_so(tmp_path):
    save_classifier(toys.classifier(classes=1), toys.tokenizer(tmp_path / "words"), tmp_path, ())
    model = load_classifier(tmp_path, ())
    assert model.model.config.problem_type == "regression"
    assert class_names(model) == ()
    assert model(input_ids=IDS, attention_mask=MASK).logits.shape == (1, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@torch.no_grad()
def test_weights_stay_in_the_file_s_memory_map(folder):
    model = load_classifier(folder, CLASSES)
    model(input_ids=IDS, attention_mask=MASK)
    maps = re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())
    mapped = [m for m in maps if str(folder / "model.safetensors") in m.partition("\n")[0]]
    spans = [[int(x, 16) for x in m.split(" ", 1)[0].split("-")] for m in mapped]
    inside = [any(a <= p.data_ptr() < b for a, b in spans) for p in model.parameters()]
    assert inside
    assert all(inside)
    # Pages that were written to are copies of this process: there must be none.
    assert [re.search(r"Anonymous: +(\d+) kB", m)[1] for m in mapped] == ["0"] * len(mapped)


@torch.no_grad()
def test_classes_in_another_order_are_put_in_ours(folder):
    expected = load_classifier(folder, CLASSES)(input_ids=IDS, attention_mask=MASK).logits
    turned = load_classifier(folder, ("Good", "bad", "fine"))
    torch.testing.assert_close(turned(input_ids=IDS, attention_mask=MASK).logits, expected[:, [2, 0, 1]])
    assert class_names(turned) == ("Good", "bad", "fine")
    # Names that say nothing about the order leave it alone.
    other = load_classifier(folder, ("x", "y", "z"))
    torch.testing.assert_close(other(input_ids=IDS, attention_mask=MASK).logits, expected)


@pytest.mark.parametrize(
    "ours, theirs, places",
    [
        (("US", "us"), ("us", "US"), [1, 0]),
        (("Good", "bad"), ("BAD", "good"), [1, 0]),
        (("US", "us"), ("Us", "uS"), None),
        (("a", "b"), ("a", "c"), None),
        ((), (), []),
    ],
)
def test_classes_are_found_by_their_spelling_and_else_whatever_their_case(ours, theirs, places):
    assert places_of(ours, theirs) == places


def test_a_loaded_classifier_is_in_evaluation_mode_and_float32(folder, tmp_path):
    assert not load_classifier(folder, CLASSES).training
    toys.classifier().model.half().save_pretrained(tmp_path / "half")
    assert load_classifier(tmp_path / "half", CLASSES).embedding.weight.dtype == torch.float32


def test_outputs_must_be_the_task_s(folder):
    with pytest.raises(UserError, match="it has 3 outputs, but the task has 2 classes: no, yes"):
        load_classifier(folder, ("no", "yes"))
    with pytest.raises(UserError, match=r"one output \(regression\)"):
        load_classifier(folder, ())


def test_an_encoder_without_a_head_is_no_classifier(tmp_path):
    toys.masked_lm("roberta").save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"lack classifier\.dense\.bias"):
        load_classifier(tmp_path, CLASSES)


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_a_fresh_head_depends_on_the_seed_alone(family, tmp_path):
    toys.masked_lm(family).save_pretrained(tmp_path)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = load_base(tmp_path, CLASSES, seed=7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    same, other = load_base(tmp_path, CLASSES, seed=7), load_base(tmp_path, CLASSES, seed=8)
    last = [m.model.get_submodule(m.family.output).weight for m in (one, same, other)]
    assert torch.equal(last[0], last[1])
    assert not torch.equal(last[0], last[2])
    assert torch.equal(one.embedding.weight, other.embedding.weight)
    assert last[0].shape[0] == 3
    assert class_names(one) == CLASSES


def test_pickled_weights_are_refused_with_the_way_out(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="unpickling can run any code") as caught:
        load_classifier(folder, CLASSES)
    assert "save_pretrained" in str(caught.value)


def test_what_is_no_model_is_named(tmp_path):
    with pytest.raises(UserError, match="no such model folder"):
        resolve(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no such model folder"):
        resolve("./nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no config\.json"):
        resolve(tmp_path / "empty")
    (tmp_path / "empty" / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"no model\.safetensors"):
        resolve(tmp_path / "empty")


def test_unknown_families_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "robrta"}))
    with pytest.raises(UserError, match=r"'robrta' are not supported\. Did you mean 'roberta'\?"):
        load_classifier(folder, CLASSES)


def test_hub_ids_are_fetched_without_pickles(folder, monkeypatch):
    asked = []

    def snapshot(name, allow_patterns):
        asked.append((name, allow_patterns))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert resolve("someone/something") == folder
    ((name, patterns),) = asked
    assert name == "someone/something"
    assert not any(re.search(r"bin|pt|\.h5|py", p) for p in patterns)


def test_a_hub_that_does_not_answer_is_the_user_s_to_know(monkeypatch):
    def snapshot(name, allow_patterns):
        raise huggingface_hub.errors.LocalEntryNotFoundError("the hub cannot be reached\nlong story")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    with pytest.raises(UserError) as caught:
        load_classifier("someone/something", CLASSES)
    text = "neither a folder nor a model that the hub could give: the hub cannot be reached"
    assert str(caught.value) == f"someone/something: {text}"


def test_a_folder_without_a_tokenizer_is_refused_with_the_way_out(folder, tmp_path):
    assert len(load_tokenizer(folder)) == len(toys.TOKENS)
    toys.classifier().model.save_pretrained(tmp_path / "bare")
    with pytest.raises(UserError, match=r"bare: it has no tokenizer.*tokenizer\.json.*[Ss]ave it beside the model"):
        load_tokenizer(tmp_path / "bare")
    toys.tokenizer(tmp_path / "bare")
    assert [path.name for path in (tmp_path / "bare").glob("*.txt")] == ["vocab.txt"]
    assert load_tokenizer(tmp_path / "bare")("the film")["input_ids"] == [2, 9, 7, 3]


def test_loading_prints_nothing(folder, tmp_path, capfd):
    toys.masked_lm().save_pretrained(tmp_path / "base")
    capfd.readouterr()
    load_classifier(folder, CLASSES)
    load_base(tmp_path / "base", CLASSES, seed=0)
    load_tokenizer(folder)
    assert capfd.readouterr() == ("", "")


@pytest.mark.data
@torch.no_grad()
def test_the_built_in_base_reads_english(cache):
    from limbeck.archives import model_folder

    folder = model_folder("minilm-l6", cache)
    tokenizer, model = load_tokenizer(folder), load_base(folder, CLASSES, seed=0).eval()
    assert (model.facts.layers, model.facts.hidden, model.facts.vocabulary) == (6, 384, 30522)
    texts = ["a fine film", "an excellent movie", "interest rates rose in march"]
    batch = dict(tokenizer(texts, padding=True, return_tensors="pt"))
    out = model(**batch, hidden=True)
    mask = batch["attention_mask"].unsqueeze(-1)
    means = torch.nn.functional.normalize((out.hidden[-1] * mask).sum(1) / mask.sum(1), dim=-1)
    likeness = means @ means.T
    assert likeness[0, 1] > 0.6 > 0.3 > likeness[0, 2]
    ids = batch.pop("input_ids")
    torch.testing.assert_close(model(inputs_embeds=model.embedding(ids), **batch).logits, out.logits)
