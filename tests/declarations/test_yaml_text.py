"""YAML as documents are read: YAML 1.2's plain values, line numbers, and limits."""

import pytest

from offtake.declarations.yaml_text import TextError, parse


def values(text: str) -> list[object]:
    return [one.value for one in parse(text)]


def test_plain_values_are_those_of_yaml_1_2() -> None:
    text = "[no, on, 12:30, 06:00, 2027-01-31, 010, 1.5, 1e3, true, null, ~, '1', !!str 2, 0x1f, .5]"
    assert values(text) == [
        ["no", "on", "12:30", "06:00", "2027-01-31", 10, 1.5, 1000.0, True, None, None, "1", "2", "0x1f", 0.5]
    ]


def test_documents_and_json_are_read_in_one_form() -> None:
    assert values('---\n---\na: 1\n---\n{"b":\t[1, "x"]}\n...\n') == [{"a": 1}, {"b": [1, "x"]}]


def test_lines_are_those_of_the_values() -> None:
    (found,) = parse("a: 1\nb:\n  - c: 2\n  - d: 3\n")
    assert [found.line_of(path) for path in (("a",), ("b", 1, "d"), ("b", 1, "e"), ("x",))] == [1, 4, 4, 1]


def test_aliases_and_merge_keys_expand() -> None:
    text = "base: &base {path: out, format: json}\nflow:\n  <<: *base\n  format: parquet\nlist: [*base]"
    assert values(text)[0]["flow"] == {"path": "out", "format": "parquet"}  # type: ignore[index]


BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("a: 1\nb: 2\na: 3", 3, "the key a occurs twice"),
        ('{"a": 1,\n"a": 2}', 2, "the key a occurs twice"),
        ("a: &a\n  b: *a", 2, "the alias *a contains itself"),
        ("a: *b", 1, "the alias *b is not defined before"),
        ("a: !!python/name:os.system x", 1, "is not supported"),
        ("a: !ruby {}", 1, "the tag !ruby is not supported"),
        ("a: [1\n", 2, "is not valid YAML"),
        ("a:\tb\n  c: d", 2, "is not valid YAML"),
        ("? [a]\n: b", 1, "a key must be text"),
        ("null: 1", 1, "a key must be text"),
        ("a: \x07", 1, "is not valid YAML"),
        ("[" * 60, 1, "nested more than 50 levels"),
        ("[" * 100_000, 1, "exceeded maximum nesting depth"),
        ("<<: 1", 1, "<< must be an alias of a mapping"),
        (BOMB, 6, "with its aliases expanded"),
    ],
)
def test_what_is_refused_is_named_with_its_line(text: str, line: int, why: str) -> None:
    with pytest.raises(TextError, match=why.replace("*", r"\*")) as error:
        list(parse(text))
    assert error.value.line == line
