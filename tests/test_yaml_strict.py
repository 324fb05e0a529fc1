"""Strict YAML: what values mean, and everything that is refused, with its line."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import UserError
from limbeck.yaml_strict import DEEPEST, LARGEST_BYTES, dump_yaml, load_yaml, mapping, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("5e-5", 5e-5),
        ("8e6", 8e6),
        (".5", 0.5),
        ("1.", 1.0),
        ("-3", -3),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("no", "no"),
        ("on", "on"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("'1'", "1"),
        ('"null"', "null"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ('"\\ud83d\\ude00"', "😀"),
        ("[1, [no, {a: .1}]]", [1, ["no", {"a": 0.1}]]),
        ("a: |\n  two\n  lines\n", {"a": "two\nlines\n"}),
    ],
)
def test_values_are_those_of_the_core_schema(text: str, value: object) -> None:
    got = parse_yaml(text, "f.yaml")
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "'a' is given twice"),
        ("x:\n  a: 1\n  'a': 2\n", 3, "'a' is given twice"),
        ("a: 1\n\tb: 2\n", 2, "tab"),
        ("a:\t1\n", 1, "tab"),
        ("a: &x [1]\n", 1, "anchors (&x)"),
        ("a: &x [1]\nb: *x\n", 2, "aliases (*x)"),
        ("a: !!python/object:os.system x\n", 1, "tags"),
        ("a: !!str 1\n", 1, "tags"),
        ("<<: {a: 1}\n", 1, "merge keys"),
        ("1: a\n", 1, "a key must be text, got 1"),
        ("true: a\n", 1, "a key must be text, got true"),
        ("? [a, b]\n: c\n", 1, "a key must be text, got a list"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("%YAML 1.1\n---\na: no\n", 2, "YAML 1.2"),
        ("a: .nan\n", 1, "not a finite number"),
        ("a: [1,\n -.inf]\n", 2, "not a finite number"),
        ("a: 1e999\n", 1, "not a finite number"),
        ("a: 99999999999999999999\n", 1, "64 bits"),
        ("a: 0xFFFFFFFFFFFFFFFFFF\n", 1, "64 bits"),
        ('a: "\\ud800"\n', 1, "lone surrogate"),
        ('a: "\\0"\n', 1, "NUL"),
        ("a: 1\n\nb: @x\n", 3, "put the text in quotes"),
        ("a: [1, 2\n", 2, "expected"),
        ("a: {b: 1\nc: 2", 2, "expected"),
        ("a: 1\n\x00", 2, "special characters"),
        ("k" * 201 + ": 1\n", 1, "more than 200 characters"),
        ("a: " + "[" * (DEEPEST + 1), 1, f"nested more than {DEEPEST} deep"),
    ],
)
def test_traps_are_refused_with_their_line(text: str, line: int, words: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_yaml(text, "f.yaml")
    assert any(p.where == f"f.yaml:{line}" and words in p.what for p in caught.value.problems), str(caught.value)


def test_all_problems_come_at_once_up_to_a_number() -> None:
    with pytest.raises(UserError) as caught:
        parse_yaml("a: 1\na: 2\nb: &x 1\nc: *x\n", "f.yaml")
    assert [p.where for p in caught.value.problems] == ["f.yaml:2", "f.yaml:3", "f.yaml:4"]
    with pytest.raises(UserError) as caught:
        parse_yaml("a: 1\n" * 5000, "f.yaml")
    assert len(caught.value.problems) == 20


def test_a_file_must_be_a_small_mapping_of_utf_8(tmp_path: Path) -> None:
    for content, words in [
        (b"- 1\n", "got a list"),
        (b"", "got nothing"),
        (b"12", "got 12"),
        (b"a: \xff\n", "not UTF-8"),
        (b"#" * (LARGEST_BYTES + 1), "larger than"),
    ]:
        path = tmp_path / "f.yaml"
        path.write_bytes(content)
        with pytest.raises(UserError, match=words):
            load_yaml(path)
    with pytest.raises(UserError, match="no such file"):
        load_yaml(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="not a file"):
        load_yaml(tmp_path)
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\n")
    assert load_yaml(path) == {"a": 1}


_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
    | st.sampled_from(["no", "1e-4", "0o7", "~", "true", "<<", ".inf", "- a", "a: b", "#x", "\u2028", "\x85", "1_0"])
)
_keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30).filter(
    lambda key: key != "<<"
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        _keys,
        st.recursive(_scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3)),
        max_size=4,
    )
)
def test_what_is_written_reads_back_equal(value: dict[str, object]) -> None:
    back = mapping(dump_yaml(value), "f.yaml")
    assert back == value
    assert repr(back) == repr(value)  # tells 1 from 1.0 and True, and -0.0 from 0.0


@settings(max_examples=150, deadline=None)
@given(st.text() | st.text("ab:-[]{}&*!|>'\"%@`#,? \n\t01.e~\\x", max_size=60))
def test_any_text_gives_a_finite_value_or_a_user_error(text: str) -> None:
    try:
        value = parse_yaml(text, "f.yaml")
    except UserError as error:
        assert error.problems
        assert all(p.where.startswith("f.yaml") and p.what for p in error.problems)
    else:
        assert not (isinstance(value, float) and not math.isfinite(value))
