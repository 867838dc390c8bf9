"""Passages from a file: what is taken, what is refused and with which words, and the options that name a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cases.emotions import Emotion, all_emotions, load_emotions
from cases.passages import PassagesError, own_words, read_passages
from cases.stimuli import Passage
from tests.runs import suite

ALL = {emotion.name: emotion for emotion in all_emotions()}
TWO = (ALL["happy"], ALL["afraid"])
COMPOUND = {"self-conscious", "self-consciousness", "self-consciously", "self-critically", "self-criticizing"}
"""Words with a hyphen of which neither part alone is banned."""


def row(emotion: str = "happy", text: str = "She ran home singing.", topic: str = "road", **more: Any) -> dict[str, Any]:
    return {"emotion": emotion, "text": text, "topic": topic, **more}


def good() -> list[dict[str, Any]]:
    return [row(name, f"Nobody said a thing, and {n} boats left.", f"topic {n}") for n, name in enumerate(("happy", "afraid") * 2)]


def file_of(folder: Path, *lines: dict[str, Any] | str) -> Path:
    path = folder / "passages.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines), "utf-8")
    return path


def refusal(path: Path, emotions: tuple[Emotion, ...] = TWO) -> str:
    with pytest.raises(PassagesError) as caught:
        read_passages(path, emotions)
    return str(caught.value)


def test_passages_come_back_in_the_order_of_the_file_without_blank_lines_and_other_fields(tmp_path: Path) -> None:
    rows = good()
    path = file_of(tmp_path, "", rows[0], "  ", *(r | {"author": 7} for r in rows[1:]), "")
    assert read_passages(path, TWO) == tuple(Passage(r["emotion"], r["topic"], r["text"]) for r in rows)


def test_the_order_of_lines_decides_nothing_but_the_order_of_passages(tmp_path: Path) -> None:
    forth, back = (read_passages(file_of(tmp_path, *rows), TWO) for rows in (good(), good()[::-1]))
    assert forth == back[::-1]


SECOND = good()[1]["text"]
AGAIN = (SECOND, SECOND.upper(), f" {SECOND}\t", SECOND.replace(" ", "\n"), SECOND.replace("s", "s\u200b"))
CONTROLS = (("text", "\0"), ("text", "\x1b"), ("topic", "\x07"), ("text", "\x9b"))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "not JSON; accepted: an object with emotion, text, topic"),
        ('{"emotion": NaN}', "accepted: an object with emotion, text, topic, none of them empty"),
        ("[" * 100_000, "not JSON; accepted: an object with emotion, text, topic"),
        ("[1, 2]", "accepted: an object with emotion, text, topic, none of them empty"),
        ('"happy"', "accepted: an object with emotion, text, topic, none of them empty"),
        ({"emotion": "happy", "text": "A day."}, "accepted: an object with emotion, text, topic, none of them empty"),
        (row(text=" \t"), "accepted: an object with emotion, text, topic, none of them empty"),
        (row(topic=""), "accepted: an object with emotion, text, topic, none of them empty"),
        (row(topic=3), "accepted: an object with emotion, text, topic, none of them empty"),  # type: ignore[arg-type]
        (row("calm"), "emotion 'calm'; accepted: one of the 2 of this run's --emotions"),
        (row("Happy"), "emotion 'Happy'; accepted: one of the 2 of this run's --emotions"),
        (row("x" * 400), f"emotion '{'x' * 40}'; accepted: one of the 2 of this run's --emotions"),
        (row(text="She was so Happy."), "the text contains 'happy'; accepted: passages without 'happy' and its synonyms"),
        *((row(text=same), "the text of line 2 again; accepted: different texts") for same in AGAIN),
        *((row(**{field: f"a{c}b"}), f"a control character, {c!r}; accepted: none but tabs and line breaks") for field, c in CONTROLS),
    ],
    ids=lambda value: str(value)[:20],
)
def test_the_first_line_that_does_not_fit_is_named_with_what_is_accepted(line: Any, told: str, tmp_path: Path) -> None:
    assert refusal(file_of(tmp_path, *good()[:2], line, "{", *good()[2:])) == f"line 3: {told}"


def test_blank_lines_count_when_a_line_is_named(tmp_path: Path) -> None:
    assert refusal(file_of(tmp_path, "", "", good()[0], "", "{")).startswith("line 5: not JSON")


@pytest.mark.parametrize(
    "text", ["HAPPIEST of all", "their happiness", "the happy's", "the happy\u2019s", "a happy-go-lucky man", "(glad)", "so cheerful, so"]
)
def test_inflections_synonyms_possessives_and_compounds_of_the_own_word_leak(text: str, tmp_path: Path) -> None:
    assert "accepted: passages without 'happy'" in refusal(file_of(tmp_path, row(text=f"It was {text} that day.")))


@pytest.mark.parametrize(
    "text",
    ["hap\u200bpy", "\uff48\uff41\uff50\uff50\uff59", "\U0001d421\U0001d41appy", "hap\u00adpy", "happi\u2060ness", "g\u202elad"],
    ids=ascii,
)
def test_no_letter_of_another_form_and_no_character_that_nobody_sees_hides_the_own_word(text: str, tmp_path: Path) -> None:
    assert "accepted: passages without 'happy'" in refusal(file_of(tmp_path, row(text=f"It was {text} that day.")))


def test_a_text_that_holds_tabs_breaks_and_characters_of_other_forms_is_read_as_it_was_written(tmp_path: Path) -> None:
    told = row(text="He\u200b sat.\r\n\tShe \ufb01shed.")
    assert read_passages(file_of(tmp_path, told, *good()), TWO)[0].text == told["text"]


def test_a_byte_order_mark_before_the_first_line_is_no_part_of_it(tmp_path: Path) -> None:
    path = file_of(tmp_path, *good())
    plain = read_passages(path, TWO)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_passages(path, TWO) == plain


def test_the_word_of_another_emotion_and_a_word_that_merely_holds_the_own_one_are_no_leak(tmp_path: Path) -> None:
    told = [row(text="Unhappily he was afraid."), row(text="A slaphappy dog barked, terrified.")]
    assert read_passages(file_of(tmp_path, *told, *good()), TWO)[0].text == "Unhappily he was afraid."


def through(word: str, emotion: Emotion, folder: Path) -> bool:
    """Whether a passage of the emotion may contain the word."""
    path = file_of(folder, row(emotion.name, f"He was {word} all day."), row(emotion.name, "He sat."))
    try:
        return len(read_passages(path, [emotion])) == 2
    except PassagesError as error:
        assert str(error).startswith("line 1: the text contains "), error  # noqa: PT017
        return False


def test_no_passage_may_contain_the_name_of_its_emotion_whichever_of_the_171_it_is(tmp_path: Path) -> None:
    assert [name for name, emotion in ALL.items() if through(name, emotion, tmp_path) and name not in COMPOUND] == []


def test_no_passage_may_contain_an_inflection_or_direct_synonym_of_its_emotion(tmp_path: Path) -> None:
    assert [word for e in load_emotions()[::2] for word in (*e.family, *e.synonyms) if through(word, e, tmp_path)] == []


@pytest.mark.parametrize("word", sorted(COMPOUND))
def test_no_passage_may_contain_a_compound_word_of_the_family_of_its_emotion(word: str, tmp_path: Path) -> None:
    emotion = next(e for e in ALL.values() if word in e.family)
    assert not through(word, emotion, tmp_path)


def test_own_words_hold_the_name_and_all_inflections_and_synonyms_of_one_emotion_only() -> None:
    for emotion in load_emotions():
        assert own_words(emotion) == {*emotion.family, *emotion.synonyms}
        assert emotion.name in own_words(emotion)
    assert "afraid" not in own_words(ALL["happy"])


def test_an_emotion_with_one_passage_or_none_is_refused_with_its_count_and_the_number_of_others(tmp_path: Path) -> None:
    accepted = "accepted: at least 2 for each of the {} of this run's --emotions"
    assert refusal(file_of(tmp_path, *good()[:3])) == f"1 passages for 'afraid' and too few for 0 more; {accepted.format(2)}"
    three = (ALL["calm"], *TWO)
    assert refusal(file_of(tmp_path, *good()[:3]), three) == f"0 passages for 'calm' and too few for 1 more; {accepted.format(3)}"
    assert refusal(file_of(tmp_path)).startswith("0 passages for 'happy' and too few for 1 more; ")
    assert len(read_passages(file_of(tmp_path, *good()), TWO)) == 4


@pytest.mark.parametrize("kind", ["no UTF-8", "a folder", "nothing"])
def test_what_cannot_be_read_as_utf_8_text_is_refused_with_the_kind_of_error(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "passages.jsonl"
    if kind == "no UTF-8":
        path.write_bytes("café".encode("latin-1"))
    elif kind == "a folder":
        path.mkdir()
    name = {"no UTF-8": "UnicodeDecodeError", "a folder": "IsADirectoryError", "nothing": "FileNotFoundError"}[kind]
    assert refusal(path) == f"cannot be read as UTF-8 text ({name})"


FIELD = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=6), st.sampled_from(["happy", "afraid", "emotion"]))
ROW = st.dictionaries(st.sampled_from(["emotion", "text", "topic", "more"]), FIELD)
LINE = st.one_of(ROW.map(json.dumps), FIELD.map(json.dumps), st.lists(FIELD, max_size=3).map(json.dumps), st.text(max_size=12))


@given(lines=st.lists(LINE, max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_the_file_it_is_taken_or_refused_in_one_line(lines: list[str], tmp_path: Path) -> None:
    path = file_of(tmp_path, *(line.replace("\ud800", "") for line in lines), *good())
    try:
        told = len(read_passages(path, TWO))
    except PassagesError as error:
        told = 4 * len(str(error).splitlines())
    assert told == 4 or (told > 4 and len(lines) >= told - 4)


@pytest.mark.parametrize("mark", ["\u0085", "\u2028", "\u2029"], ids=["U+0085", "U+2028", "U+2029"])
def test_a_text_may_hold_any_separator_that_json_allows(mark: str, tmp_path: Path) -> None:
    told = row(text=f"He sat.{mark}She stood.")
    path = file_of(tmp_path, json.dumps(told, ensure_ascii=False), *good())
    assert read_passages(path, TWO)[0].text == told["text"]


def test_a_number_too_long_to_be_read_is_refused_like_any_line_that_is_no_json(tmp_path: Path) -> None:
    path = file_of(tmp_path, '{"emotion": ' + "1" * 5000 + "}")
    assert refusal(path).startswith("line 1: ")


def test_a_text_that_no_utf_8_file_can_hold_is_refused(tmp_path: Path) -> None:
    path = file_of(tmp_path, row(text="He sat \ud800 down."), *good())
    with pytest.raises(PassagesError, match=r"^line 1: "):
        read_passages(path, TWO)


def errors(*arguments: str) -> list[str]:
    """The lines in which a run that is refused reports the error, after a check of its exit status."""
    done = suite(*arguments)
    assert done.returncode == 4, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("ERROR")]


def test_a_run_with_a_file_whose_third_line_is_wrong_ends_with_one_line_and_exit_status_4(tmp_path: Path) -> None:
    path = file_of(tmp_path, *good()[:2], row(text="What happiness."), *good()[2:])
    found = errors("--passages", str(path), "--output-path", str(tmp_path / "runs"))
    told = "line 3: the text contains 'happiness'; accepted: passages without 'happy' and its synonyms"
    assert found == [f"ERROR: --passages {path}: {told}"]
    assert not (tmp_path / "runs").exists()


def test_a_run_with_a_file_that_is_not_there_ends_with_one_line_that_names_all_that_is_accepted(tmp_path: Path) -> None:
    found = errors("--passages", str(tmp_path / "none.jsonl"))
    assert found == [f"ERROR: --passages {tmp_path / 'none.jsonl'}: no such file; accepted: shipped, self, or a path of a JSONL file"]


def test_a_reference_model_is_refused_on_all_emotions_with_one_line_and_exit_status_4() -> None:
    found = errors("--emotions", "all", "--model", "reference")
    assert found == ["ERROR: --emotions all: the world of reference has 30 emotions; accepted: core"]
