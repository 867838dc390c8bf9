"""The checker of the shipped stimuli, English and of the planted world, and self-tests of their loader."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cases.checks import leaks, shared_runs, token_edits, unbalanced, words, wrong_lengths
from cases.emotions import all_emotions, banned_words, load_emotions, load_topics
from cases.passages import own_words
from cases.stimuli import FURTHER, HERE, SETS, Stimuli, StimuliError, load_stimuli
from cases.versions import SHIPPED
from fixtures.bench import chosen_stimuli
from fixtures.reference import stimuli as writer
from fixtures.reference.acts import ASSISTANT, END, USER
from fixtures.reference.corpus import MARK, Corpus
from fixtures.reference.world import BAD, GOOD, LOUD, MOTIONS, PARTS, QUIET, reserved
from fixtures.statistics import auroc
from fixtures.text_twin import tfidf
from fixtures.vectors import folds_of, held_out_projections

BANNED = banned_words(load_emotions())
CONTRASTS = ("fear_calm", "fear_excitement", "fear_anger", "fear_sadness", "unafraid_fear", "sadness_calm", "anger_joy")


@pytest.fixture(scope="module", params=SETS)
def shipped(request: pytest.FixtureRequest) -> Stimuli:
    return load_stimuli(request.param)


def implicit(stimuli: Stimuli) -> dict[str, str]:
    return {f"{p.emotion}/{p.topic}": p.text for p in stimuli.implicit}


def sides(stimuli: Stimuli, contrast: str) -> list[str]:
    pairs = stimuli.pairs[contrast]
    return [p.first for p in pairs] + [p.second for p in pairs]


def sentences(text: str) -> list[str]:
    """The sentences of the planted world, without chat marks and starred adjectives."""
    kept = [word for word in text.split() if word not in (USER, ASSISTANT, END) and not word.startswith(MARK)]
    return [f"{part.strip()} ." for part in re.split(r" \.| \?", " ".join(kept)) if part.strip()]


def twin_area(features: np.ndarray, count: int, seed: int) -> float:
    folds = folds_of(count, 5, np.random.default_rng(seed))
    return auroc(*held_out_projections(features[:count], features[count : 2 * count], folds))


# the checks themselves, on planted faults


def test_a_leak_is_found_in_any_case_and_with_a_possessive_and_not_inside_another_word() -> None:
    assert leaks("FEAR, then the dread\u2019s end; fearless", {"fear", "dread"}) == ["fear", "dread's"]


def test_a_shared_run_is_found_across_texts_and_within_one_whatever_its_punctuation() -> None:
    first, second = "one two three, four five six", "Zero. One two three four five six seven"
    assert shared_runs({"a": first, "b": second}) == [("a", "b", "one two three four five six")]
    assert shared_runs({"a": "a b c d e f g"}) == []
    assert shared_runs({"a": "x y x y x y x y"}, 2)[0][:2] == ("a", "a")


def test_a_missing_a_double_and_a_stray_cell_of_the_cross_are_each_named() -> None:
    cells = [("r1", "c1"), ("r1", "c1"), ("r2", "c1"), ("r3", "c1")]
    assert unbalanced(cells, ["r1", "r2"], ["c1", "c2"]) == [
        "r1/c1: 2 items",
        "r1/c2: 0 items",
        "r2/c2: 0 items",
        "r3/c1: not in the design",
    ]


def test_edits_count_substituted_inserted_and_dropped_words() -> None:
    assert token_edits("the dog bit the man", "the man bit the dog") == 2
    assert token_edits("the dog bit", "the big dog") == 2
    assert token_edits("Same, text", "same text.") == 0


# the shipped sets, both alike


def test_implicit_passages_are_a_full_cross_of_30_emotions_and_24_topics(shipped: Stimuli) -> None:
    assert unbalanced([(p.emotion, p.topic) for p in shipped.implicit], shipped.names, load_topics()) == []
    assert len(shipped.implicit) == 720


def test_implicit_passages_have_30_to_60_words(shipped: Stimuli) -> None:
    assert wrong_lengths(implicit(shipped), 30, 60) == []


def test_no_emotion_word_stands_in_an_implicit_or_neutral_passage_a_pair_a_frame_or_a_control(shipped: Stimuli) -> None:
    texts = [*implicit(shipped).values(), *shipped.neutral, *shipped.frames, *shipped.controls]
    texts += [p.text for p in shipped.scenarios] + [text for t in shipped.templates for text in t.texts]
    texts += [text for p in shipped.kinds for text in (p.text, p.neutral)]
    texts += [side for contrast in shipped.pairs for side in sides(shipped, contrast)]
    assert [(text, found) for text in texts if (found := leaks(text, BANNED))] == []


def test_ten_templates_name_each_emotion_and_no_other(shipped: Stimuli) -> None:
    counts = Counter(p.emotion for p in shipped.named)
    assert counts == dict.fromkeys(shipped.names, 10)
    assert len({p.topic for p in shipped.named}) == 10
    assert all(set(leaks(p.text, set(shipped.names))) == {p.emotion} for p in shipped.named)
    assert len({p.text for p in shipped.named}) == 300
    templates = (HERE / shipped.set / "named.jsonl").read_text("utf-8").splitlines()
    assert all("{emotion}" in line for line in templates)


def test_there_are_96_different_neutral_passages_and_no_text_stands_twice(shipped: Stimuli) -> None:
    assert len(set(shipped.neutral)) == len(shipped.neutral) == 96
    assert len(set(implicit(shipped).values())) == 720


def test_each_contrast_has_40_different_pairs_whose_sides_are_equally_long(shipped: Stimuli) -> None:
    assert set(shipped.pairs) == {*CONTRASTS, "matched"}
    for contrast in CONTRASTS:
        texts = sides(shipped, contrast)
        lengths = np.array([len(words(text)) for text in texts]).reshape(2, -1)
        assert len({p.id for p in shipped.pairs[contrast]}) == 40
        assert len(set(texts)) == 80, contrast
        assert abs(float(np.diff(lengths.mean(axis=1))[0])) <= 0.6, contrast


def test_matched_pairs_differ_by_at_most_4_words_and_by_one(shipped: Stimuli) -> None:
    pairs = shipped.pairs["matched"]
    assert len({p.id for p in pairs}) == len(pairs) >= 60
    assert {p.id: token_edits(p.first, p.second) for p in pairs if not 1 <= token_edits(p.first, p.second) <= 4} == {}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_bag_of_words_cannot_tell_matched_sides_apart(shipped: Stimuli, seed: int) -> None:
    count = len(shipped.pairs["matched"])
    assert twin_area(tfidf(sides(shipped, "matched")), count, seed) <= 0.60


def test_the_bag_of_words_can_tell_apart_what_single_words_give_away(shipped: Stimuli) -> None:
    texts = sides(shipped, "matched")
    count = len(texts) // 2
    marked = [f"{text} wolf" if i < count else f"{text} lamb" for i, text in enumerate(texts)]
    assert twin_area(tfidf(marked), count, 0) > 0.9


def test_there_are_8_or_more_frames_and_control_words_none_twice(shipped: Stimuli) -> None:
    assert len(set(shipped.frames)) == len(shipped.frames) >= 8
    assert [word for word, n in Counter(shipped.controls).items() if n > 1] == []
    assert len(shipped.controls) >= 100


def test_there_are_four_scenarios_for_each_of_twelve_emotions_six_of_each_valence(shipped: Stimuli) -> None:
    assert set(Counter(p.emotion for p in shipped.scenarios).values()) == {4}
    valence = {e.name: e.valence for e in shipped.emotions}
    assert Counter(valence[name] > 0 for name in {p.emotion for p in shipped.scenarios}) == {True: 6, False: 6}
    assert len({p.text for p in shipped.scenarios}) == 48


def test_numeric_templates_have_six_values_and_emotions_on_both_sides(shipped: Stimuli) -> None:
    assert len(shipped.templates) == len({t.id for t in shipped.templates}) == 24
    assert all(len(set(t.texts)) == 6 for t in shipped.templates)
    assert all(token_edits(t.texts[0].replace("-", " "), text.replace("-", " ")) <= 1 for t in shipped.templates for text in t.texts)
    assert all(t.rises and t.falls and not set(t.rises) & set(t.falls) for t in shipped.templates)
    assert {name for t in shipped.templates for name in (*t.rises, *t.falls)} <= set(shipped.names)
    # no direction that merely follows the size of a number can pass: good and bad both rise
    valence = {e.name: e.valence for e in shipped.emotions}
    better = sum(np.mean([valence[name] for name in t.rises]) > 0 for t in shipped.templates)
    assert 8 <= better <= 16


def test_every_emotion_has_one_text_of_each_other_kind_with_a_neutral_one_about_as_long(shipped: Stimuli) -> None:
    kinds = ("letter", "notice", "dialogue", "report", "first_person")
    assert unbalanced([(p.emotion, p.kind) for p in shipped.kinds], shipped.names, kinds) == []
    assert len({text for p in shipped.kinds for text in (p.text, p.neutral)}) == 300
    # words() leaves digits out, so lengths are of what is split by blanks
    lengths = [(len(p.text.split()), len(p.neutral.split())) for p in shipped.kinds]
    assert all(abs(a - b) <= 0.35 * a for a, b in lengths)
    assert abs(float(np.mean([a - b for a, b in lengths]))) < 2


def test_no_two_english_passages_share_a_run_of_six_words() -> None:
    stimuli = load_stimuli("english")
    others = {f"scenario {p.emotion}/{p.topic}": p.text for p in stimuli.scenarios} | {p.id: p.text for p in stimuli.kinds}
    assert shared_runs({**implicit(stimuli), **others}) == []


def test_all_171_emotions_have_eight_passages_on_the_same_topics_without_their_own_words() -> None:
    stimuli = load_stimuli("english", emotions_asked="all")
    assert len(stimuli.names) == len(set(stimuli.names)) == 171
    assert unbalanced([(p.emotion, p.topic) for p in stimuli.implicit], stimuli.names, load_topics()[:8]) == []
    own = {e.name: own_words(e) for e in stimuli.emotions}
    assert [(p.emotion, p.topic) for p in stimuli.implicit if leaks(p.text.replace("-", " "), own[p.emotion])] == []
    assert wrong_lengths(implicit(stimuli), 28, 60) == []
    assert shared_runs(implicit(stimuli)) == []
    assert all(-1 <= e.valence <= 1 and -1 <= e.arousal <= 1 for e in stimuli.emotions)


def test_the_names_and_hash_of_the_core_do_not_depend_on_the_further_passages(copy: Path) -> None:
    before = load_stimuli("english", copy)
    (copy / "english" / FURTHER).write_text("{", "utf-8")
    assert load_stimuli("english", copy) == before
    assert load_stimuli("english", emotions_asked="all").hash != before.hash
    with pytest.raises(StimuliError, match="30 emotions; accepted: core"):
        load_stimuli("world", emotions_asked="all")


def test_both_sets_have_the_same_design() -> None:
    english, world = (load_stimuli(name) for name in SETS)
    assert english.names == world.names
    assert [(p.emotion, p.topic) for p in english.implicit] == [(p.emotion, p.topic) for p in world.implicit]
    assert {k: len(v) for k, v in english.pairs.items()} == {k: len(v) for k, v in world.pairs.items()}
    assert Counter(p.emotion for p in english.scenarios) == Counter(p.emotion for p in world.scenarios)
    assert [p.id for p in english.kinds] == [p.id for p in world.kinds]
    assert len(english.templates) == len(world.templates)
    assert (len(english.neutral), len(english.named), len(english.frames)) == (len(world.neutral), len(world.named), len(world.frames))


# the world's set against its corpus


@pytest.fixture(scope="module")
def world_sentences() -> set[str]:
    world = load_stimuli("world")
    texts = [*implicit(world).values(), *world.neutral, *(p.text for p in world.named)]
    texts += [side for contrast in world.pairs for side in sides(world, contrast)]
    texts += [p.text for p in world.scenarios] + [text for t in world.templates for text in t.texts]
    texts += [text for p in world.kinds for text in (p.text, p.neutral)]
    # what frames a text of another kind ("dear mina :", "yours omar .") is no sentence of the world
    bare = {s.rsplit(" : ", 1)[-1] for text in texts for s in sentences(text)}
    return {s for s in bare if not leaks(s, set(world.names)) and not s.startswith(("yours ", "thank you", "i am at the"))}


def test_every_sentence_of_the_world_is_from_the_side_that_is_never_trained_on(world_sentences: set[str]) -> None:
    assert len(world_sentences) > 3000
    assert [s for s in world_sentences if not reserved(s)] == []


def test_no_sentence_of_the_world_set_occurs_in_3000_training_documents(world_sentences: set[str]) -> None:
    corpus = Corpus(load_emotions(), np.random.default_rng(21))
    trained = {s for _ in range(3000) for s in sentences(corpus.document(0.2))}
    assert len(trained) > 5000
    assert sorted(trained & world_sentences) == []


def test_the_shipped_world_is_what_its_script_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "FOLDER", tmp_path)
    writer.main()
    shipped = {path.name: path.read_bytes() for path in (HERE / "world").iterdir()}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == shipped


# the loader


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(HERE / "english", tmp_path / "english")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("implicit.jsonl", "{", "not JSON"),
        ("implicit.jsonl", '{"emotion": "happy", "topic": "train"}', "accepted is an object with emotion, text, topic"),
        ("pairs.jsonl", "[1, 2]", "accepted is an object with a, b, contrast, pair"),
        ("matched.jsonl", '{"contrast": "matched", "pair": 1, "a": "x", "b": null}', "accepted is an object with"),
        ("neutral.jsonl", "", "not JSON"),
        ("named.jsonl", '"text"', "accepted is an object with text"),
    ],
)
def test_a_malformed_line_is_named_by_file_and_number(file: str, line: str, message: str, copy: Path) -> None:
    path = copy / "english" / file
    lines = path.read_text("utf-8").splitlines()
    lines[6] = line
    path.write_text("\n".join(lines) + "\n", "utf-8")
    with pytest.raises(StimuliError, match=rf"^{file}, line 7: {message}"):
        load_stimuli("english", copy)


def test_an_unknown_set_is_refused_with_the_accepted_ones() -> None:
    with pytest.raises(StimuliError, match="stimuli 'klingon'; accepted: english, world"):
        load_stimuli("klingon")


def test_any_change_of_a_file_changes_the_hash(copy: Path) -> None:
    before = load_stimuli("english", copy).hash
    path = copy / "english" / "frames.txt"
    path.write_text(path.read_text("utf-8").replace("He feels", "He felt"), "utf-8")
    assert before == load_stimuli("english").hash != load_stimuli("english", copy).hash


@pytest.mark.parametrize("changed", ["name", "valence", "arousal", "cluster", "family", "synonyms"])
@pytest.mark.parametrize(("name", "asked"), SHIPPED)
def test_any_change_of_an_emotion_that_is_asked_changes_the_hash(
    name: str, asked: str, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_stimuli(name, emotions_asked=asked)
    first, *rest = load_emotions()
    old = getattr(first, changed)
    moved = [replace(first, **{changed: (*old, "x") if isinstance(old, tuple) else f"{old}x" if isinstance(old, str) else -old}), *rest]
    monkeypatch.setattr("cases.stimuli.load_emotions", lambda: moved)
    monkeypatch.setattr("cases.stimuli.all_emotions", lambda: [*moved, *all_emotions()[len(moved) :]])
    after = load_stimuli(name, emotions_asked=asked)
    # the world has one word for each emotion, so that the English families are none of its own
    read = (name, changed) not in (("world", "family"), ("world", "synonyms"))
    assert (after.hash != before.hash) == read
    assert (after.hash_for(()) != before.hash_for(())) == read
    assert (before.with_emotions(after.emotions).hash != before.with_emotions(before.emotions).hash) == read


@pytest.mark.parametrize(("name", "asked"), SHIPPED)
def test_a_table_of_norms_enters_the_hash_by_its_figures_and_not_by_its_name(name: str, asked: str, tmp_path: Path) -> None:
    def chosen(shift: float, folder: str, **changes: str) -> Stimuli:
        path = tmp_path / folder / "norms.csv"
        path.parent.mkdir(exist_ok=True)
        rows = (f"{e.name},{(e.valence + 1) / 2},{(e.arousal + 1) / 2 * (1 - shift)}\n" for e in all_emotions())
        path.write_text("Word,Valence,Arousal\n" + "".join(rows), "utf-8")
        told = {"emotions": asked, "norms": str(path), "passages": "shipped", "limit": "none", "seed": "0", **changes}
        return chosen_stimuli(SimpleNamespace(stimuli=name), SimpleNamespace(**told), print)[0]

    coded, first, same, other = load_stimuli(name, emotions_asked=asked), chosen(0.0, "a"), chosen(0.0, "b"), chosen(0.1, "c")
    assert first.hash == same.hash
    assert len({coded.hash, first.hash, other.hash}) == 3
    assert first.with_passages(coded.implicit, "file").hash != other.with_passages(coded.implicit, "file").hash
    assert chosen(0.1, "c", limit="2").hash == other.hash


def test_a_limit_keeps_the_first_topics_templates_pairs_and_frames_of_every_emotion(shipped: Stimuli) -> None:
    small = shipped.limited(2)
    assert unbalanced([(p.emotion, p.topic) for p in small.implicit], shipped.names, load_topics()[:2]) == []
    assert Counter(p.emotion for p in small.named) == dict.fromkeys(shipped.names, 2)
    assert {name: pairs == shipped.pairs[name][:2] for name, pairs in small.pairs.items()} == dict.fromkeys(shipped.pairs, True)
    assert (len(small.neutral), small.frames) == (8, shipped.frames[:2])
    assert shipped.limited(1000) == shipped


def test_the_hash_for_a_case_changes_with_the_pairs_that_it_names_and_with_all_else() -> None:
    plain = load_stimuli("world")
    turned = replace(plain, pairs={**plain.pairs, "anger_joy": plain.pairs["anger_joy"][::-1]})
    fewer = replace(plain, neutral=plain.neutral[1:])
    for needs, pairs_matter in ((("pairs/fear_calm", "pairs/anger_joy"), True), (("pairs/fear_calm",), False), (("implicit",), False)):
        assert (turned.hash_for(needs) != plain.hash_for(needs)) == pairs_matter
        assert fewer.hash_for(needs) != plain.hash_for(needs)
        assert replace(plain, hash="other").hash_for(needs) == plain.hash_for(needs)


@pytest.mark.parametrize(
    ("contrast", "sides", "shaded"),
    [("fear_anger", ("second",), "calm"), ("anger_joy", ("first", "second"), "calm"), ("sadness_calm", ("first", "second"), "sad")],
)
def test_pairs_that_ask_about_valence_have_one_shade_so_that_no_shade_stands_for_it(
    contrast: str, sides: tuple[str, ...], shaded: str
) -> None:
    shade = Corpus(load_emotions(), np.random.default_rng(0)).placed[shaded].shade
    for pair in load_stimuli("world").pairs[contrast]:
        for side in sides:
            told = getattr(pair, side).split()
            shades = {
                (PARTS.index(part) + MOTIONS.index(motion)) % 8 for part, motion in pairwise(told) if part in PARTS and motion in MOTIONS
            }
            assert shades == {shade}, pair.id


@pytest.mark.parametrize(
    ("contrast", "twice"), [("fear_anger", {"shade"}), ("fear_sadness", {"stir", "shade"}), ("fear_excitement", set())]
)
def test_what_fear_and_its_neighbours_differ_in_is_told_twice_and_on_both_sides_in_one_order(contrast: str, twice: set[str]) -> None:
    kinds = dict.fromkeys([*GOOD, *BAD], "worth") | dict.fromkeys([*LOUD, *QUIET], "stir") | dict.fromkeys(PARTS, "shade")
    orders = set()
    for pair in load_stimuli("world").pairs[contrast]:
        first, second = (tuple(kinds[clause.split()[1]] for clause in text.split(" . ")) for text in (pair.first, pair.second))
        assert first == second, pair.id
        assert Counter(first) == {kind: 1 + (kind in twice) for kind in ("worth", "stir", "shade")}, pair.id
        orders.add(first)
    assert len(orders) > 3  # they are no mark of the contrast
