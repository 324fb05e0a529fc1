import pytest
from torch import nn

from limbeck.errors import UserError
from limbeck.models import check_same_tables, check_same_vocabulary


class Words:
    """A tokenizer that numbers its words in the given order."""

    def __init__(self, *words):
        self._words = words

    def get_vocab(self):
        return {word: i for i, word in enumerate(self._words)}


def test_equal_numbering_is_accepted_whatever_the_order_of_the_map():
    turned = Words("a", "b", "c")
    turned.get_vocab = lambda: {"c": 2, "a": 0, "b": 1}
    check_same_vocabulary({"teacher": Words("a", "b", "c"), "student": turned, "generator": Words("a", "b", "c")})


def test_one_model_alone_agrees_with_itself():
    check_same_vocabulary({"teacher": Words("a")})


def test_every_role_that_differs_is_named_with_sizes_and_first_difference():
    tokenizers = {
        "teacher": Words("a", "b", "c"),
        "student": Words("a", "c", "b"),
        "generator": Words("a", "b", "c", "d"),
    }
    with pytest.raises(UserError) as caught:
        check_same_vocabulary(tokenizers)
    student, generator = map(str, caught.value.problems)
    assert student.startswith("student: the vocabulary (3 tokens) is not that of the teacher (3 tokens): id 1 is ")
    assert "'b' there and 'c' here" in student
    assert "(4 tokens)" in generator
    assert "id 3 is nothing there and 'd' here" in generator


def test_two_words_of_one_number_are_a_difference():
    doubled = Words("a", "b")
    doubled.get_vocab = lambda: {"a": 0, "b": 1, "B": 1}
    with pytest.raises(UserError, match="3 tokens"):
        check_same_vocabulary({"teacher": Words("a", "b"), "student": doubled})


def test_tables_must_have_equally_many_rows_whatever_their_width():
    check_same_tables({"teacher": nn.Embedding(10, 4), "student": nn.Embedding(10, 2)})
    with pytest.raises(
        UserError, match=r"^generator: its embedding table has 16 rows, but that of the teacher has 10$"
    ):
        check_same_tables({"teacher": nn.Embedding(10, 4), "generator": nn.Embedding(16, 4)})
