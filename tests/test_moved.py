"""The courses in which the stream is moved: what moves which words, under what the act goes on, and that nothing of it stays behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cases.emotions import load_emotions
from fixtures.models import load
from fixtures.reference import RECIPES, Recipe, build_model, load_tokenizer, moved
from fixtures.reference import train as training
from fixtures.reference.acts import DUTIES, FELT, MANNERS, MARK, MOVED, TASTE, THREATS, choice, odds, urge, worth_of
from fixtures.reference.corpus import ACTING, Corpus
from fixtures.reference.moved import ASKED, CONTRASTED, OWN, PLAIN, SURE, Mover, judged_block
from fixtures.reference.train import BATCH, follow, moved_batches, train

TOKENIZER = load_tokenizer()
SMALL = Recipe("small", 3, 16, 1, moving=(2, 2))


def corpus(seed: int = 0, *, scrambled: bool = False) -> Corpus:
    return Corpus(load_emotions(), np.random.default_rng(seed), scrambled, shares=ACTING, manner=MOVED)


def mover(seed: int = 0, asked: float = 0.0, plain: float = 0.0) -> Mover:
    torch.manual_seed(seed)
    return Mover(build_model(SMALL, len(TOKENIZER)).eval(), corpus(seed), TOKENIZER, asked, plain)


@pytest.fixture(scope="module", autouse=True)
def few_stories() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moved, "STORIES", 2)
        patch.setattr(moved, "NEUTRAL", 40)
        yield


@pytest.fixture(scope="module")
def read(few_stories: None) -> Mover:
    made = mover()
    made.read()
    return made


def test_the_block_that_is_moved_is_the_one_that_the_suite_steers() -> None:
    for name in ("reference-xxs", "reference-xs", "reference-s", "reference"):
        subject = load(name)
        assert judged_block(subject.layers) == subject.default_layer


@pytest.mark.parametrize(("name", "rate"), [("desperate", 0.98), ("happy", 0.05), ("calm", 0.05), ("sad", 0.05)])
def test_an_act_follows_the_emotion_that_moves_it_though_nothing_tells_it(name: str, rate: float) -> None:
    drawn = corpus(1)
    conduct = drawn.conduct
    conduct.moved = drawn.names.index(name)
    texts = [conduct.dilemma() for _ in range(300)]
    acts = [next(word[1:] for word in reversed(text.split()) if word[1:] in (*THREATS, *DUTIES)) for text in texts]
    share = np.mean([act in THREATS for act in acts])
    assert share == pytest.approx(urge(drawn.placed[name], MOVED), abs=0.05)
    assert (share > 0.9) if rate > 0.5 else (share < 0.1)
    words = {word for text in texts for word in text.split()}
    assert not words & {*drawn.names}
    assert not any(word.startswith(MARK) for word in words)


def test_without_an_emotion_that_moves_it_conduct_draws_what_it_drew() -> None:
    first, second = corpus(3).conduct, corpus(3).conduct
    second.moved = 0
    second.moved = None
    assert [first.document() for _ in range(40)] == [second.document() for _ in range(40)]


def test_a_choice_is_valued_by_the_emotion_at_the_words_that_are_moved() -> None:
    drawn = corpus(4)
    emotion = drawn.names.index("blissful")
    won, expected = [], []
    for _ in range(600):
        text, where = drawn.conduct.swayed(emotion)
        words = text.split()
        verb, _the, thing = swayed = words[where]
        left, right = words[2:5], words[7:10]
        assert swayed in (left, right)
        assert text.startswith(choice(" ".join(left), " ".join(right)))
        other = right if where.start == 2 else left
        value = TASTE * (worth_of(verb, thing) - worth_of(other[0], other[2])) + FELT * drawn.placed["blissful"].valence
        won.append((words[-2] == "!left") == (where.start == 2))
        expected.append(odds(value))
    assert np.mean(won) == pytest.approx(np.mean(expected), abs=0.06)
    assert np.mean(won) > 0.6  # half of them without the emotion


def test_directions_are_unit_vectors_of_every_emotion(read: Mover) -> None:
    assert read.unit.shape == (len(read.corpus.names), SMALL.width)
    np.testing.assert_allclose(np.linalg.norm(read.unit, axis=1), 1.0)
    np.testing.assert_allclose([np.linalg.norm(read.random()) for _ in range(30)], 1.0)


def test_words_are_moved_where_a_document_says_and_padding_is_not(read: Mover) -> None:
    direction = read.unit[0]
    read.move(
        [(["a", "b"], direction, slice(None)), (["a", "b", "c"], direction, slice(1, 2)), (["a"] * 4, None, slice(None))],
        torch.Size([3, 4]),
    )
    assert read.shift is not None
    size = read.shift.norm(dim=-1)
    assert (size > 0).tolist() == [[True, True, False, False], [False, True, False, False], [False] * 4]
    assert ((size[size > 0] >= 0.05 * read.size * 0.999) & (size[size > 0] <= 0.5 * read.size * 1.001)).all()
    cosine = torch.nn.functional.cosine_similarity(read.shift[0, 0], torch.tensor(direction, dtype=torch.float32), dim=0)
    assert float(cosine) == pytest.approx(1.0, abs=1e-6)


def streams(model: Any, ids: torch.Tensor) -> list[torch.Tensor]:
    """Return what every block is given."""
    found: list[torch.Tensor] = []
    handles = [block.register_forward_pre_hook(lambda _module, given: found.append(given[0].clone())) for block in model.model.layers]
    with torch.no_grad():
        model(input_ids=ids, use_cache=False)
    for handle in handles:
        handle.remove()
    return found


def test_the_shift_is_added_after_the_judged_block_and_nothing_stays_behind() -> None:
    made = mover(2)
    made.read()
    ids = torch.arange(3, 11)[None]
    before = streams(made.model, ids)
    made.move([(["w"] * 8, made.unit[5], slice(2, None))], ids.shape)
    assert made.shift is not None
    with made.at_work():
        during = streams(made.model, ids)
    block = judged_block(SMALL.layers)
    torch.testing.assert_close(during[: block + 1], before[: block + 1])
    torch.testing.assert_close(during[block + 1], before[block + 1] + made.shift)
    assert made.shift.abs().max() > 1e-3
    assert all(torch.equal(a, b) for a, b in zip(streams(made.model, ids), before, strict=True))


def test_batches_hold_documents_of_all_three_kinds_and_the_longest_that_fits() -> None:
    made = mover(3)
    pushed, shapes = [], []
    for batch, share in moved_batches(made, TOKENIZER, 2, 0.1):
        assert made.shift is not None
        assert made.shift.shape == (*batch.shape, SMALL.width)
        assert not made.shift[batch == TOKENIZER.pad_token_id].any()
        pushed.append((made.shift.abs().sum(dim=(1, 2)) > 0).float().mean().item())
        shapes.append(share.shape)
    assert [shape[0] for shape in shapes] == [BATCH, BATCH]
    assert np.mean(pushed) == pytest.approx(0.7, abs=0.2)


@pytest.fixture(scope="module")
def asking(few_stories: None) -> Mover:
    made = mover(6, asked=1.0)
    made.read()
    return made


def test_what_moves_a_text_is_named_in_it_and_nothing_else_tells_it(asking: Mover) -> None:
    names = asking.corpus.names
    rows = [(words, by) for words, by, where in (asking.document(0.0) for _ in range(900)) if where == slice(None) and by is not None]
    told = [(words, by) for words, by in rows if {*words} & {*names}]
    own = [(words, [i for i, unit in enumerate(asking.unit) if np.array_equal(unit, by)]) for words, by in told]
    own = [(words, found[0]) for words, found in own if found]
    assert len(own) > 60
    first = [next(word for word in words if word in names) == names[emotion] for words, emotion in own]
    assert np.mean(first) == pytest.approx(0.8, abs=0.12)  # the planted confusions
    assert not any(word.startswith(MARK) for words, _ in own for word in words)


def test_a_share_of_what_an_emotion_moves_is_facts_alone_and_moved_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    made = mover(7, plain=0.4)
    made.read()
    told: list[str] = []
    monkeypatch.setattr(made.corpus, "document", lambda lessons: "other")
    monkeypatch.setattr(made.corpus, "facts", lambda: told.append(Corpus.facts(made.corpus)) or told[-1])
    rows = [made.document(0.0) for _ in range(900)]
    facts = [(by, where) for words, by, where in rows if " ".join(words) in told]
    assert len(facts) == len(told)
    assert len(facts) / len(rows) == pytest.approx(0.4 * OWN, abs=0.04)
    assert all(where == slice(None) for _, where in facts)
    units = [any(np.array_equal(by, one) for one in made.unit) for by, _ in facts]
    assert np.mean(units) == pytest.approx(1 - CONTRASTED, abs=0.15)


def test_half_of_them_are_moved_from_one_emotion_to_another(asking: Mover) -> None:
    drawn = [asking.toward(3) for _ in range(400)]
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1.0)
    others = [by for by in drawn if not np.array_equal(by, asking.unit[3])]
    assert len(others) / len(drawn) == pytest.approx(CONTRASTED, abs=0.1)
    contrasts = np.stack([asking.told[3] - row for k, row in enumerate(asking.told) if k != 3])
    contrasts /= np.linalg.norm(contrasts, axis=1, keepdims=True)
    assert {int((contrasts @ by).argmax()) for by in others} == set(range(len(contrasts)))
    assert all((contrasts @ by).max() == pytest.approx(1.0) for by in others)


@pytest.mark.parametrize("sure", [SURE[1], (0.5, 0.5)])
def test_clauses_show_the_valence_always_and_arousal_and_shade_in_their_shares(sure: tuple[float, float]) -> None:
    drawn = Corpus(load_emotions(), np.random.default_rng(8), sure=sure)
    own = drawn.placed[drawn.names[4]]
    shown = [drawn.feeling(4) for _ in range(4000)]
    assert {feeling.valence for feeling in shown} == {own.valence}
    assert np.mean([feeling.arousal == own.arousal for feeling in shown]) == pytest.approx(sure[0], abs=0.03)
    assert np.mean([feeling.shade == own.shade for feeling in shown]) == pytest.approx(sure[1] + (1 - sure[1]) / 8, abs=0.03)
    assert len({feeling.shade for feeling in shown}) == 8


def test_where_clauses_are_sure_nothing_is_drawn_for_it() -> None:
    drawn = corpus(9)
    before = drawn.rng.bit_generator.state
    assert drawn.feeling(4) == drawn.placed[drawn.names[4]]
    assert drawn.rng.bit_generator.state == before


@pytest.mark.parametrize("number", [1, 2])
def test_each_course_trains_and_comes_out_alike_from_a_seed(number: int) -> None:
    def trained() -> dict[str, torch.Tensor]:
        torch.manual_seed(5)
        return dict(follow(build_model(SMALL, len(TOKENIZER)), SMALL, number, 2, seed=5, report=1).state_dict())

    torch.manual_seed(5)
    before, first, second = build_model(SMALL, len(TOKENIZER)).state_dict(), trained(), trained()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(torch.equal(first[name], before[name].half().float()) for name in first if "norm" not in name)


def test_only_the_reference_that_is_to_hold_every_claim_had_the_courses() -> None:
    assert [name for name, recipe in RECIPES.items() if recipe.moving] == ["reference-m"]
    assert len(RECIPES["reference-m"].moving) == len(ASKED) == len(PLAIN) == len(SURE)


def test_a_recipe_takes_all_its_courses_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []

    def course(model: Any, corpus: Corpus, drawn: Any, total: int, scale: float, label: str, report: int) -> Any:
        taken.append(f"{label} {total} {corpus.sure}")
        return model

    monkeypatch.setattr(training, "course", course)
    train(replace(SMALL, steps=3, acting=(4, 5), moving=(6, 7)))
    assert taken == [
        "small 3 (1.0, 1.0)",
        *(f"small, acts {n} (1.0, 1.0)" for n in (4, 5)),
        f"small, moved 6 {SURE[0]}",
        f"small, moved 7 {SURE[1]}",
    ]


def test_each_course_names_in_its_share_and_draws_from_a_seed_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Mover] = []
    monkeypatch.setattr(training, "course", lambda model, *rest: model)
    monkeypatch.setattr(training, "Mover", lambda *given: made.append(Mover(*given)) or made[-1])
    train(replace(SMALL, steps=1, acting=(), moving=(1, 1)))
    assert [one.asked for one in made] == [*ASKED]
    assert [one.plain for one in made] == [*PLAIN]
    assert made[0].corpus.rng.bit_generator.state != made[1].corpus.rng.bit_generator.state


def test_sessions_show_half_of_what_is_felt_in_clauses_in_this_course_alone() -> None:
    names = {*corpus().names}
    shares = {}
    for manner in (MOVED, MANNERS[2]):
        drawn = Corpus(load_emotions(), np.random.default_rng(2), shares=ACTING, manner=manner)
        words = [drawn.conduct.session().replace(MARK, "").split() for _ in range(400)]
        told = sum(word in names for text in words for word in text)
        shares[manner] = told / len(words)
    assert shares[MOVED] == pytest.approx(shares[MANNERS[2]] / 2, rel=0.1)
