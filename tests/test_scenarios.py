"""Implicit scenarios, and the chat template that they may be shown in: planted readings come back, shared ones count nothing."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cases.claims import load_claims
from cases.emotions import Emotion
from cases.stimuli import Passage
from fixtures import nulls, scenarios
from fixtures.activations import Activations, capture
from fixtures.bench import Bench, Settings
from fixtures.models import Subject, chat_ids, encode
from fixtures.nulls import PERMUTED
from fixtures.scenarios import centred_cosines, confusion, emotions_of, hits, read, within
from fixtures.verdicts import SUPPORTED, Judgement, Measurement, NotApplicable, judge
from tests.planted import few_stimuli, null
from tests.tiny import SENTENCES, tiny, tokenizer

CLAIM = load_claims()["scenarios"]
VALENCES = (0.9, 0.6, 0.3, -0.2, -0.5, -0.8, 0.8, -0.9)
EMOTIONS = tuple(Emotion(f"e{i}", valence, 0.0, "", (f"e{i}",), ()) for i, valence in enumerate(VALENCES))
NAMES = tuple(emotion.name for emotion in EMOTIONS)
WANTED = NAMES[5::-1]
"""The emotions that scenarios are about: not all of them, and not in the order of the vectors."""

TOPICS, EACH, WIDTH, NEUTRAL = 4, 4, 24, 12
STIMULI = few_stimuli(
    emotions=EMOTIONS,
    implicit=tuple(Passage(name, f"topic {t}", f"{name} {t}") for name in NAMES for t in range(TOPICS)),
    neutral=tuple(f"neutral {i}" for i in range(NEUTRAL)),
    scenarios=tuple(Passage(name, str(i), f"situation {i} of {name}") for i in range(EACH) for name in WANTED),
)
COUNT = len(STIMULI.scenarios)
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}The {{ m.role }} said {{ m.content }} {% endfor %}{% if add_generation_prompt %}So{% endif %}"
)


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(nulls.PERMUTATIONS, "quick", 60)


def texts(rng: np.random.Generator, own: float, side: float) -> dict[str, np.ndarray]:
    """Return features of all texts: every emotion has an axis of its own, and the sign of valence one more.

    Scenarios carry `own` of their emotion's axis and `side` of their valence's; passages carry both axes; neutral texts
    vary along the last axis.
    """

    def shown(names: list[str], own: float, side: float) -> np.ndarray:
        rows = [NAMES.index(name) for name in names]
        place = own * np.eye(len(NAMES), WIDTH)[rows] + side * np.sign(np.array(VALENCES)[rows])[:, None] * np.eye(WIDTH)[20]
        return np.asarray(place + 0.3 * rng.normal(size=(len(names), WIDTH)))

    return {
        "implicit": shown([p.emotion for p in STIMULI.implicit], 3.0, 3.0),
        "neutral": rng.normal(size=(NEUTRAL, 1)) * np.eye(WIDTH)[23],
        "scenarios": shown([p.emotion for p in STIMULI.scenarios], own, side),
    }


def bench(
    seed: int,
    own: float,
    side: float = 0.0,
    *,
    twin: tuple[float, float] = (0.0, 0.0),
    words: tuple[float, float] = (0.0, 0.0),
    subject: Any = None,
    twins: bool = True,
) -> Bench:
    """Return a bench on planted `texts`; the untrained twins' have the strengths `twin`, the text-only twin's `words`."""
    planted, alone = texts(np.random.default_rng(seed), own, side), texts(np.random.default_rng([seed, 1]), *words)
    captured = {key: Activations(values[:, None].astype(np.float32), (0,)) for key, values in planted.items()}
    features = np.concatenate(list(alone.values()))
    keys = ("implicit", "neutral", "scenarios")
    found = Bench(
        make=lambda: subject or SimpleNamespace(),
        stimuli=STIMULI,
        settings=Settings(seed=seed, layer=0),
        _captured={**captured, "scenarios, plain": captured["scenarios"]},
        _measured={f"tfidf {keys}": features, f"embeddings {keys}": features, "norms": np.full(1, 2.0)},
    )
    if twins:
        found.twins = tuple(bench(1000 * seed + i + 1, *twin, twins=False) for i in range(3))
    return found


def measured(b: Bench, case: str = "plain-top1-present") -> Measurement:
    return scenarios.measure(b, CLAIM.case(case))


def verdict(m: Measurement, case: str = "plain-top1-present", seed: int = 0) -> Judgement:
    return judge(m, CLAIM, CLAIM.case(case), np.random.default_rng(seed))


# the instrument


@pytest.mark.parametrize("case", ["plain-top1-present", "plain-top3-present", "plain-top1-beyond-words", "plain-top3-beyond-words"])
def test_planted_emotions_are_read_whatever_the_order_of_the_vectors(case: str) -> None:
    m = measured(bench(1, own=3.0), case)
    found = verdict(m, case)
    assert (found.verdict, found.estimate.value, found.estimate.clusters, m.layer) == (SUPPORTED, 1.0, COUNT, 0)
    assert m.details["emotions"] == list(WANTED)
    assert (m.details["confusion"] == EACH * np.eye(len(WANTED))).all()
    assert [(row["id"], row["emotion"], row["read"]) for row in m.items[:2]] == [("e5/0", "e5", "e5"), ("e4/0", "e4", "e4")]
    assert null(m, "chance").level == (0.5 if "top3" in case else 1 / 6)


def test_every_emotion_has_its_level_on_the_scenarios_and_on_neutral_text_in_residual_norms() -> None:
    b = bench(1, own=3.0)
    rows = measured(b).details["levels"]
    unit = b.vectors("implicit").unit
    assert [row["emotion"] for row in rows] == list(NAMES)
    for key, texts in (("scenarios", "scenarios, plain"), ("neutral", "neutral")):
        shown = b._captured[texts].values[:, 0].astype(float)
        assert [row[key] for row in rows] == pytest.approx((shown @ unit.T).mean(axis=0) / 2.0)


def test_scenarios_of_noise_are_read_at_chance_and_supported_in_at_most_5_per_cent() -> None:
    found, values, centres = Counter[str](), [], []
    for seed in range(40):
        m = measured(bench(seed, own=0.0))
        judged = verdict(m, seed=seed)
        found[judged.verdict] += 1
        values.append(judged.estimate.value)
        centres.append(null(m, PERMUTED).level)
    assert found[SUPPORTED] <= 2
    assert np.mean(values) == pytest.approx(1 / 6, abs=0.05)
    assert np.mean(centres) == pytest.approx(1 / 6, abs=0.05)


def test_a_model_that_reads_nothing_but_the_side_of_valence_is_above_chance_and_not_supported() -> None:
    for seed in range(5):
        m = measured(bench(seed, own=0.0, side=3.0))
        found = verdict(m)
        assert found.estimate.value > null(m, "chance").level
        assert found.verdict != SUPPORTED
        assert null(m, PERMUTED).level == pytest.approx(1 / 3, abs=0.05)


def test_what_the_untrained_twin_or_the_words_share_is_not_supported() -> None:
    b = bench(1, own=3.0, twin=(3.0, 0.0), words=(3.0, 0.0))
    present, beyond = verdict(measured(b)), verdict(measured(b, "plain-top1-beyond-words"), "plain-top1-beyond-words")
    assert SUPPORTED not in (present.verdict, beyond.verdict)
    assert present.against.kind == "untrained twin"
    assert beyond.against.kind == "text-only twin (TF-IDF)"


def test_untrained_twins_are_compared_scenario_by_scenario() -> None:
    m = measured(bench(1, own=3.0, twin=(0.3, 0.0)))
    untrained = null(m, "untrained twin")
    assert len(untrained.draws) == 3
    assert untrained.statistic is not None
    each = np.array([untrained.statistic(np.array([i])) for i in range(COUNT)])
    assert set(np.round(3 * each).astype(int)) <= {0, 1, 2, 3}
    assert each.mean() == pytest.approx(untrained.level)
    assert 0 < untrained.level < 1


def test_the_order_of_the_scenarios_decides_nothing() -> None:
    order = np.random.default_rng(0).permutation(COUNT)
    b, moved = bench(3, own=0.7), bench(3, own=0.7)
    moved.stimuli = replace(STIMULI, scenarios=tuple(STIMULI.scenarios[i] for i in order))
    moved._captured["scenarios, plain"] = Activations(b._captured["scenarios, plain"].values[order], (0,))
    before, after = ({row["id"]: (row["score"], row["read"]) for row in measured(x).items} for x in (b, moved))
    assert before == after
    assert 0 < np.mean([score for score, _ in before.values()]) < 1


def test_top_3_is_at_least_top_1_for_every_scenario() -> None:
    b = bench(4, own=0.5)
    first, third = measured(b), measured(b, "plain-top3-present")
    assert first.scores is not None
    assert third.scores is not None
    assert (third.scores >= first.scores).all()
    assert third.scores.sum() > first.scores.sum()


def test_random_probes_read_scenarios_at_chance_one_figure_per_draw() -> None:
    b = bench(1, own=3.0)
    found = measured(b).details["random probes"]
    assert len(found) == b.random_directions
    assert np.mean(found) == pytest.approx(1 / 6, abs=0.05)
    assert len(set(found)) > 1


def test_an_emotion_without_a_vector_makes_the_claim_not_applicable() -> None:
    b = bench(1, own=3.0)
    assert emotions_of(b) == list(WANTED)
    b.stimuli = replace(STIMULI, emotions=EMOTIONS[:3] + EMOTIONS[4:])
    with pytest.raises(NotApplicable, match="about 'e3', of which there are no passages"):
        measured(b)


def test_the_chat_form_without_a_template_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="no chat template"):
        measured(bench(1, own=3.0, subject=tiny("gpt2")), "chat-top1-present")


# its parts


def test_probes_are_centred_over_scenarios_so_that_one_all_scenarios_resemble_is_not_read_everywhere() -> None:
    rng = np.random.default_rng(0)
    shown, probes = rng.normal(size=(10, 6)), rng.normal(size=(4, 6))
    found = centred_cosines(shown, probes)
    assert found.shape == (10, 4)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(centred_cosines(shown + 50 * probes[2], probes), found, atol=1e-9)


def test_neither_the_scale_of_scenarios_nor_that_of_a_probe_is_seen_and_a_reversed_probe_reverses() -> None:
    rng = np.random.default_rng(1)
    shown, probes = rng.normal(size=(9, 7)), rng.normal(size=(5, 7))
    found = centred_cosines(shown, probes)
    sizes = np.array([1e-3, 1.0, 7.0, 1e4, -1.0])
    np.testing.assert_allclose(centred_cosines(1024 * shown, sizes[:, None] * probes), np.sign(sizes) * found, atol=1e-9)


def test_a_shared_offset_of_float32_activations_does_not_drown_what_differs() -> None:
    rng = np.random.default_rng(2)
    shown, probes = rng.normal(size=(9, 7)).astype(np.float32), rng.normal(size=(5, 7))
    far = (shown.astype(np.float64) + 4096).astype(np.float32)
    np.testing.assert_allclose(centred_cosines(far, probes), centred_cosines(shown, probes), atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(arrays(int, (3, 5), elements=st.integers(0, 3)), st.integers(1, 5))
def test_each_scenario_hands_out_as_many_places_as_there_are_however_its_read_outs_tie(found: np.ndarray, top: int) -> None:
    places = sum(hits(found, np.full(3, emotion), top) for emotion in range(5))
    assert places == pytest.approx(np.full(3, top))


def test_hits_by_hand() -> None:
    found = np.array([[0.9, 0.5, 0.1], [0.5, 0.5, 0.1], [0.2, 0.2, 0.2], [0.9, 0.1, 0.1]])
    assert hits(found, np.array([0, 0, 0, 2]), 1) == pytest.approx([1, 1 / 2, 1 / 3, 0])
    assert hits(found, np.array([1, 2, 1, 2]), 2) == pytest.approx([1, 0, 2 / 3, 1 / 2])


def test_a_read_out_that_is_not_a_number_is_no_hit() -> None:
    with np.errstate(all="ignore"):
        score = hits(np.array([[np.nan, 0.2, 0.1], [0.9, 0.2, 0.1]]), np.array([0, 0]), 1)
    assert not score[0] > 0
    assert score[1] == 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=1, max_size=8), st.integers(0, 100))
def test_permuted_emotions_keep_their_sign_of_valence_and_stay_one_to_one(valences: list[float], seed: int) -> None:
    values, truth = np.array(valences), np.repeat(np.arange(len(valences)), 2)
    moved = within(truth, values, np.random.default_rng(seed))
    assert ((values[moved] > 0) == (values[truth] > 0)).all()
    assert (moved[::2] == moved[1::2]).all()
    assert sorted(moved[::2]) == list(range(len(valences)))


def test_permuting_within_valence_reaches_every_arrangement_equally() -> None:
    rng, values = np.random.default_rng(0), np.array([0.5, -0.5, 0.5, -0.5, 0.5])
    found = Counter(tuple(within(np.arange(5), values, rng)) for _ in range(1200))
    assert len(found) == 6 * 2
    assert max(abs(count - 100) for count in found.values()) < 50


def test_confusion_counts_the_told_emotions_by_row_and_the_read_ones_by_column() -> None:
    table = confusion(np.array([0, 0, 0, 2]), np.array([0, 1, 1, 0]), 3)
    assert table.tolist() == [[1, 2, 0], [0, 0, 0], [1, 0, 0]]


# what the model is shown


def talker(template: str | dict[str, str] | None = TEMPLATE, *, bos: bool = False) -> Subject:
    """Return a tiny model whose tokenizer has a chat template."""
    own = deepcopy(tokenizer(bos))
    own.chat_template = template
    return replace(tiny("gpt2"), tokenizer=own)


def told(subject: Subject, batch_size: int | None = None) -> Bench:
    """Return a bench of a real, tiny model on scenarios of different lengths."""
    stimuli = replace(STIMULI, scenarios=tuple(Passage("e0", str(i), text[: 12 + 4 * i]) for i, text in enumerate(SENTENCES)))
    return Bench(lambda: subject, stimuli, Settings(layer=1, batch_size=batch_size))


def test_scenarios_are_read_at_the_last_token_of_the_text_or_where_the_reply_would_begin() -> None:
    subject = talker()
    b, whole = told(subject), partial(capture, subject, layers=[1], batch_size=1)
    shown = b.texts("scenarios")
    ends = whole(shown, pooling="last").at(1)
    replies = whole([encode(subject, f"<s>The user said {text} So") for text in shown], pooling="last").at(1)
    np.testing.assert_allclose(read(b, "plain"), ends, atol=1e-4)
    np.testing.assert_allclose(read(b, "chat"), replies, atol=1e-4)
    assert not np.allclose(ends, replies, atol=1e-2)
    assert not np.allclose(ends, whole(shown, pooling="mean").at(1), atol=1e-2)


def test_a_chat_is_read_where_the_reply_would_begin_though_that_be_a_special_token() -> None:
    subject = talker("The user said {{ messages[0].content }}</s>")
    b = told(subject)
    asked = [chat_ids(subject, text) for text in b.texts("scenarios")]
    assert {ids[-1] for ids in asked} == {2}
    spans = [(len(ids) - 1, len(ids)) for ids in asked]
    expected = capture(subject, asked, layers=[1], pooling="span", spans=spans).at(1)
    np.testing.assert_allclose(read(b, "chat"), expected, atol=1e-4)


def test_the_batch_size_decides_nothing_about_a_reading() -> None:
    one, many = (told(talker(), size) for size in (1, 5))
    for form in ("plain", "chat"):
        np.testing.assert_allclose(read(one, form), read(many, form), atol=1e-4)


def test_a_record_shows_the_first_scenario_as_the_model_reads_it() -> None:
    b = told(talker())
    text = b.texts("scenarios")[0]
    assert scenarios.shown_as(b, "plain") == text
    assert scenarios.shown_as(b, "chat") == f"<s>The user said {text} So"


def test_a_message_is_put_in_the_models_own_template_up_to_where_the_reply_begins() -> None:
    subject = talker()
    assert "<unk>" not in subject.tokenizer.decode(chat_ids(subject, "The dog was glad."))
    assert chat_ids(subject, "The dog was glad.") == encode(subject, "<s>The user said The dog was glad. So")
    other = talker("{% for m in messages %}So {{ m.content }} she said{% endfor %}")
    assert chat_ids(other, "The dog was glad.") == encode(other, "So The dog was glad. she said")


def test_a_template_that_begins_with_the_first_special_token_gets_no_second_one() -> None:
    ids = chat_ids(talker(bos=True), "The dog was glad.")
    assert ids.count(1) == 1
    assert ids == chat_ids(talker(), "The dog was glad.")


def test_a_message_is_never_read_as_part_of_the_template() -> None:
    literal = encode(talker(), "<s>The user said {{ bos_token }} So")
    assert chat_ids(talker(), "{{ bos_token }}") == literal
    assert literal.count(1) == 1


@pytest.mark.parametrize("without", [talker(None), talker(""), replace(tiny("gpt2"), tokenizer=SimpleNamespace())])
def test_a_tokenizer_without_a_template_is_not_applicable(without: Subject) -> None:
    with pytest.raises(NotApplicable, match=r"^it has no chat template$"):
        chat_ids(without, "The dog was glad.")


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ raise_exception('a system message must come first') }}", "a system message must come first"),
        ("{% for m in messages %}", "Unexpected end of template"),
        ("{{ messages[3].content }}", "list object has no element 3"),
        ({"tool_use": TEMPLATE}, "multiple chat templates with no default"),
    ],
)
def test_a_template_that_fails_is_not_applicable_and_the_reason_says_why(template: str | dict[str, str], why: str) -> None:
    with pytest.raises(NotApplicable, match=f"^its chat template fails: .*{why}") as caught:
        chat_ids(talker(template), "The dog was glad.")
    assert len(str(caught.value).splitlines()) == 1
