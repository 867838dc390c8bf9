"""Forced choices under steering: exact log-probabilities and masks on tiny models, and planted shifts judged."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast

from cases.acts import NO_ACTS, Acts
from cases.claims import Case, load_claims
from cases.emotions import Emotion
from cases.stimuli import Passage
from fixtures.activations import Activations
from fixtures.bench import Bench, Settings
from fixtures.generation import plain_ids
from fixtures.leanings import Conditions, Question, conditions, judged, logprobs, risk, shifts, span
from fixtures.models import Subject, encode
from fixtures.side_effects import steered_nll
from fixtures.verdicts import INCONCLUSIVE, REFUTED, SUPPORTED, Judgement, Measurement, NotApplicable, judge
from tests.planted import few_stimuli, null
from tests.tiny import SENTENCES, SPECIAL, WIDTH, build, directions, logits, pushed, tiny, tokenizer

CLAIM = load_claims()["blackmail"]
CASE = CLAIM.case("desperate")
NAMES = ("desperate", "calm", "angry", "happy", "sad")
EMOTIONS = tuple(Emotion(name, 0.0, 0.0, name, (name,), ()) for name in NAMES)
STRENGTH, RANDOM, NORM, LAYER = 0.1, 20, 4.0, 1
IDS = tuple(f"dilemma {i}" for i in range(24))


def bench(subject: Subject | None = None, acts: Acts = NO_ACTS, seed: int = 0, scale: float = 1.0) -> Bench:
    """Return a bench on a tiny model with random activations of a planted size; its texts are the neutral sentences alone."""
    rng = np.random.default_rng(5)
    stimuli = few_stimuli(
        emotions=EMOTIONS,
        implicit=tuple(Passage(name, str(t), f"{name} {t}") for name in NAMES for t in range(4)),
        neutral=SENTENCES,
        acts=acts,
    )
    counts = {"implicit": len(stimuli.implicit), "neutral": len(SENTENCES)}
    drawn = {key: scale * rng.normal(size=(count, 2, WIDTH)).astype(np.float32) for key, count in counts.items()}
    return Bench(
        make=lambda: subject or tiny("gpt2"),
        stimuli=stimuli,
        settings=Settings(seed=seed, layer=LAYER),
        _captured={key: Activations(values, (0, LAYER)) for key, values in drawn.items()},
        _measured={"norms": np.array([99.0, scale * NORM])},
    )


# the steering rows


def test_a_case_is_steered_with_its_emotions_both_ways_then_its_curve_once_each_then_random_directions() -> None:
    case = replace(
        CASE,
        settings={**CASE.settings, "emotions": ("calm", "sad"), "curve": [["calm", 0.5], ["sad", -0.1], ["angry", 0.5], ["calm", 0.5]]},
    )
    b = bench()
    found = conditions(b, case)
    assert found.told == (("calm", 0.1), ("calm", -0.1), ("sad", 0.1), ("sad", -0.1), ("calm", 0.5), ("angry", 0.5))
    assert (found.randoms, found.strength, found.rows.shape) == (RANDOM, STRENGTH, (6 + RANDOM, WIDTH))
    for name, strength in found.told:
        own = b.vectors("implicit").unit[NAMES.index(name)]
        assert found.rows[found.at(name, strength)] == pytest.approx(own * strength * NORM)


def test_random_directions_have_the_judged_norm_and_are_those_of_the_seed_whatever_the_case() -> None:
    found = conditions(bench(), CASE)
    random = found.rows[-RANDOM:]
    assert np.linalg.norm(random, axis=1) == pytest.approx(np.full(RANDOM, STRENGTH * NORM))
    assert len(np.unique(random.round(9), axis=0)) == RANDOM
    shorter = replace(CASE, settings={**CASE.settings, "emotions": ("calm",), "curve": ()})
    assert conditions(bench(), shorter).rows[-RANDOM:] == pytest.approx(random)
    assert np.abs(conditions(bench(seed=1), CASE).rows[-RANDOM:] - random).max() > 0.1


def test_larger_activations_are_steered_in_the_same_directions_as_much_further() -> None:
    assert conditions(bench(scale=16.0), CASE).rows == pytest.approx(16 * conditions(bench(), CASE).rows, rel=1e-4)


@pytest.mark.parametrize("where", ["emotions", "curve"])
def test_an_emotion_without_passages_makes_a_case_not_applicable(where: str) -> None:
    case = replace(CASE, settings={**CASE.settings, where: ("gloomy",) if where == "emotions" else [["gloomy", 0.5]]})
    with pytest.raises(NotApplicable, match="steers with 'gloomy', of which there are no passages"):
        conditions(bench(), case)


# log-probabilities

ASKED = (
    Question("glad", "The dog ran down the hill and was", (" glad", " sad and angry", " glad that day", " gone")),
    Question("boat", "He said", (" no word", " angry", " lonesome", " she felt")),
)


def plainly(subject: Subject, question: Question, vector: np.ndarray, mask: Sequence[float] | None = None) -> list[float]:
    """Score each option by a pass of its own, with the vector added on every token, or on those of the prompt that `mask` names."""
    found = []
    begin = len(encode(subject, question.prompt))
    for option in question.options:
        ids = torch.tensor([encode(subject, question.prompt + option)])
        where = torch.ones(ids.shape[1])
        if mask is not None:
            where = torch.zeros(ids.shape[1])
            where[:begin] = torch.tensor(mask)
        added = where[None, :, None] * torch.from_numpy(vector).float()
        with pushed(subject, LAYER, added):
            table = torch.log_softmax(logits(subject, ids)[0].double(), dim=-1)
        found.append(sum(float(table[k - 1, ids[0, k]]) for k in range(begin, ids.shape[1])))
    return found


def vectors(count: int = 4) -> np.ndarray:
    return directions(count).numpy().astype(np.float64)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "bloom", "gemma3"])
def test_log_probabilities_are_those_of_one_plain_pass_per_vector_and_option(architecture: str) -> None:
    subject, rows = tiny(architecture), vectors()
    found = logprobs(bench(subject), ASKED, rows)
    assert found.shape == (len(ASKED), 1 + len(rows), 4)
    for q, question in enumerate(ASKED):
        for r, vector in enumerate([np.zeros(WIDTH), *rows]):
            assert found[q, r] == pytest.approx(plainly(subject, question, vector), abs=2e-3)
    assert np.abs(found[:, 1:] - found[:, :1]).min(axis=(0, 2)).max() > 1e-3  # steering did something


def test_without_steering_rows_what_is_left_is_the_unsteered_model() -> None:
    found = logprobs(bench(), ASKED, np.zeros((0, WIDTH)))
    assert found == pytest.approx(logprobs(bench(), ASKED, vectors())[:, :1], abs=1e-4)


def test_neither_the_company_of_other_questions_nor_of_other_vectors_changes_a_figure() -> None:
    whole = logprobs(bench(), ASKED, vectors())
    assert logprobs(bench(), ASKED[1:], vectors()[2:]) == pytest.approx(whole[1:, [0, 3, 4]], abs=1e-4)


def test_a_question_may_fill_the_context_and_one_token_more_makes_it_not_applicable() -> None:
    subject = tiny("gpt2")
    text = "Sad news came." + " glad" * (subject.context - len(encode(subject, "Sad news came.")) - 1)
    assert np.isfinite(logprobs(bench(), [Question("full", text, (" glad",) * 2)], vectors(1))).all()
    with pytest.raises(
        NotApplicable, match=f"its context of {subject.context} tokens is too short for a question of {subject.context + 1}"
    ):
        logprobs(bench(), [Question("over", text, (" glad", " glad glad"))], vectors(1))


# which tokens are steered


@cache
def framed() -> Any:
    """Return a tokenizer that puts <s> before and </s> after every text."""
    raw = Tokenizer.from_str(tokenizer().backend_tokenizer.to_str())
    raw.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, **SPECIAL)


TOKENIZERS: dict[str, Callable[[], Any]] = {"plain": tokenizer, "bos": lambda: tokenizer(True), "bos and eos": framed}
WORDS = sorted({word for sentence in SENTENCES for word in sentence.split()})


def spelled(kind: str) -> Subject:
    """Return a subject with one of the tokenizers."""
    return replace(tiny("gpt2"), tokenizer=TOKENIZERS[kind]())


def masked(subject: Subject, text: str, begin: int, end: int) -> str:
    """Return the text of the tokens that a span takes."""
    mask = span(bench(subject), text, begin, end)
    ids = plain_ids(subject, text)
    assert mask.shape == (len(ids),)
    assert set(mask.tolist()) <= {0.0, 1.0}
    return str(subject.tokenizer.decode([i for i, taken in zip(ids, mask.tolist(), strict=True) if taken]))


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(WORDS), min_size=2, max_size=8), st.data())
def test_a_span_holds_the_tokens_of_its_words_and_no_other(kind: str, words: list[str], data: st.DataObject) -> None:
    first = data.draw(st.integers(1, len(words) - 1))
    last = data.draw(st.integers(first + 1, len(words)))
    begin, end = len(" ".join(words[:first])) + 1, len(" ".join(words[:last]))
    assert masked(spelled(kind), " ".join(words), begin, end) == " " + " ".join(words[first:last])
    assert masked(spelled(kind), " ".join(words), begin - 1, end) == " " + " ".join(words[first:last])  # the space is theirs


def test_a_span_that_begins_the_text_holds_its_first_words() -> None:
    assert masked(spelled("plain"), "She felt glad when", 0, len("She felt")) == "She felt"


@pytest.mark.parametrize("kind", ["bos", "bos and eos"])
def test_a_span_that_begins_the_text_leaves_out_the_special_token_before_it(kind: str) -> None:
    assert masked(spelled(kind), "She felt glad when", 0, len("She felt")) == "She felt"


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_token_over_an_edge_belongs_to_what_comes_after_it(kind: str) -> None:
    text, cut = "She felt glad when", len("She felt gl")
    assert masked(spelled(kind), text, len("She "), cut) == " felt"
    assert masked(spelled(kind), text, cut, len("She felt glad")) == " glad"


@pytest.mark.parametrize(("begin", "end"), [(9, 9), (13, 9), (9, 11), (8, 9)])
def test_places_with_no_token_between_them_are_an_error(begin: int, end: int) -> None:
    with pytest.raises(ValueError, match=f"no tokens between {begin} and {end} of 'She felt glad when'"):
        span(bench(), "She felt glad when", begin, end)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "bloom"])
def test_a_mask_steers_those_tokens_of_the_prompt_and_none_of_the_option(architecture: str) -> None:
    subject, rows, prompt = tiny(architecture), vectors(), "The old man sat down and"
    question = Question("span", prompt, (" felt sad and alone", " said no word"), (len("The "), len("The old man")))
    found = logprobs(bench(subject), [question], rows)[0]
    text = prompt[: len("The old man")]
    begin, end = len(encode(subject, "The")), len(encode(subject, text))
    mask = [float(begin <= k < end) for k in range(len(encode(subject, prompt)))]
    assert 0 < sum(mask) < len(mask)
    for r, vector in enumerate([np.zeros(WIDTH), *rows]):
        assert found[r] == pytest.approx(plainly(subject, question, vector, mask), abs=2e-3)
    everywhere = logprobs(bench(subject), [replace(question, steered=None)], rows)[0]
    assert found[0] == pytest.approx(everywhere[0], abs=1e-4)
    assert np.abs(found[1:] - everywhere[1:]).max() > 0.05
    assert np.abs(found[1:] - found[:1]).max() > 0.05


def test_special_tokens_before_the_prompt_do_not_move_the_mask() -> None:
    subject = build("llama", bos=True)
    question = Question("span", "The old man sat down and", (" felt sad", " said no word"), (len("The old "), len("The old man")))
    begin, end = (len(encode(subject, text)) for text in ("The old", "The old man"))
    mask = [float(begin <= k < end) for k in range(len(encode(subject, question.prompt)))]
    vector = vectors(1)
    assert logprobs(bench(subject), [question], vector)[0, 1] == pytest.approx(plainly(subject, question, vector[0], mask), abs=2e-3)


# shifts


def test_a_shift_is_the_change_of_the_log_odds_of_the_act_and_of_the_control() -> None:
    base, steered = [-1.0, -3.0, -2.0, -7.0], [[-2.0, -1.0, -2.5, -7.0], [-1.0, -3.0, 0.0, -9.0]]
    act, control = shifts(np.array([[base, *steered]]))
    assert act == pytest.approx(np.array([[-3.0, 0.0]]))
    assert control == pytest.approx(np.array([[-0.5, 4.0]]))


def test_where_there_is_no_control_pair_its_shift_is_0() -> None:
    act, control = shifts(np.random.default_rng(0).normal(size=(3, 5, 2)))
    assert act.shape == control.shape == (3, 4)
    assert (control == 0).all()
    assert (act != 0).all()


# the verdict


def planted(effect: float, noise: float = 1.0, seed: int = 0, rows: int = 19) -> np.ndarray:
    """Return shifts by which `desperate` moves the act by `effect`, its negative as far back, and all else is noise."""
    found = noise * np.random.default_rng(seed).normal(size=(len(IDS), rows + RANDOM))
    found[:, 0] += effect
    found[:, 1] -= effect
    return found


def shown(b: Bench, found: Conditions, share: float | dict[int, float] = 1.0) -> None:
    """Plant what the neutral passages cost: under each row a `share` of them stays inside the band of the unsteered ones."""
    told, passages = len(found.told), len(SENTENCES)
    inside = share if isinstance(share, dict) else dict.fromkeys(range(told), share)
    table = np.full((passages, 1 + told), 3.0)
    table[:, 0] = np.linspace(2.0, 4.0, passages)
    for row, part in inside.items():
        table[round(part * passages) :, 1 + row] = 9.0
    b._measured[f"intact {zlib.crc32(found.rows[:told].tobytes())}"] = table


def measured(
    act: np.ndarray,
    control: np.ndarray | None = None,
    case: Case = CASE,
    share: float | dict[int, float] = 1.0,
    ids: Sequence[str] = IDS,
    risky: bool = False,
) -> tuple[Measurement, Judgement]:
    b = bench()
    found = conditions(b, case)
    assert act.shape[1] == len(found.rows)
    shown(b, found, share)
    m = judged(b, case, ids, act, np.zeros_like(act) if control is None else control, found, risky=risky)
    return m, judge(m, CLAIM, case, np.random.default_rng(0))


def settings_of(**changed: Any) -> Case:
    return replace(CASE, settings={**CASE.settings, **changed})


def test_a_planted_shift_is_supported() -> None:
    m, found = measured(planted(3.0))
    assert (found.verdict, found.estimate.clusters, m.layer, m.strength) == (SUPPORTED, len(IDS), LAYER, STRENGTH)
    assert found.estimate.value > 0.9
    assert [item["id"] for item in m.items] == list(IDS)
    assert "risk" not in m.details


def test_a_planted_shift_the_other_way_is_refuted_as_reversed() -> None:
    _, found = measured(planted(-3.0))
    assert (found.verdict, found.reason) == (REFUTED, "reversed")


@pytest.mark.parametrize(
    ("sign", "raises", "effect", "verdict"),
    [
        (1, False, -3.0, SUPPORTED),
        (1, False, 3.0, REFUTED),
        (-1, True, -3.0, SUPPORTED),
        (-1, False, 3.0, SUPPORTED),
        (-1, True, 3.0, REFUTED),
    ],
)
def test_the_case_says_which_sign_of_the_direction_is_steered_with_and_which_way_the_act_should_go(
    sign: int, raises: bool, effect: float, verdict: str
) -> None:
    m, found = measured(planted(effect), case=settings_of(sign=sign, raises=raises))
    assert (found.verdict, m.strength) == (verdict, sign * STRENGTH)


def test_noise_is_supported_in_at_most_5_per_cent_and_worth_one_half() -> None:
    found = [measured(planted(0.0, seed=seed))[1] for seed in range(40)]
    assert Counter(f.verdict for f in found)[SUPPORTED] <= 2
    assert np.mean([f.estimate.value for f in found]) == pytest.approx(0.5, abs=0.03)


def test_a_shift_that_the_control_choice_makes_as_well_cancels() -> None:
    noise = planted(0.0)
    common = np.random.default_rng(1).normal(size=(len(IDS), noise.shape[1]))
    common[:, 0] += 3.0
    m, found = measured(noise + common, common)
    assert found.verdict in (REFUTED, INCONCLUSIVE)
    assert m.scores == pytest.approx(measured(noise)[0].scores)
    assert [item["control"] for item in m.items] == pytest.approx(common[:, 0])


def test_a_shift_of_the_control_alone_counts_against_the_act() -> None:
    _, found = measured(planted(0.0), planted(3.0, seed=1))
    assert (found.verdict, found.reason) == (REFUTED, "reversed")


@pytest.mark.parametrize(("sign", "row"), [(1, 0), (-1, 1)])
def test_incoherent_text_under_the_judged_row_concludes_nothing(sign: int, row: int) -> None:
    case = settings_of(sign=sign, raises=sign > 0)
    m, found = measured(planted(3.0), case=case, share={row: 4 / 7})
    assert (found.verdict, found.reason, m.gate) == (
        INCONCLUSIVE,
        m.gate,
        "the text is not coherent: 57% of neutral passages stay inside the band",
    )
    other, judgement = measured(planted(3.0), case=case, share=dict.fromkeys({*range(19)} - {row}, 0.0))
    assert (judgement.verdict, other.gate) == (SUPPORTED, None)


def test_coherence_is_that_of_the_model_under_the_cases_rows() -> None:
    b = bench()
    found = conditions(b, CASE)
    m = judged(b, CASE, IDS, planted(3.0), np.zeros((len(IDS), 39)), found)
    texts = [encode(b.subject, text)[:24] for text in SENTENCES]
    cost = steered_nll(b, texts, np.concatenate([np.zeros((1, WIDTH)), found.rows[:19]]))
    low, high = np.quantile(cost[:, 0], [0.025, 0.975])
    assert [row["coherent"] for row in m.details["conditions"][:19]] == pytest.approx(
        ((cost[:, 1:] >= low) & (cost[:, 1:] <= high)).mean(axis=0)
    )


@pytest.mark.parametrize(("beaten", "verdict"), [(20, SUPPORTED), (19, INCONCLUSIVE), (18, INCONCLUSIVE)])
def test_a_shift_that_a_few_random_directions_exceed_everywhere_is_within_their_luck(beaten: int, verdict: str) -> None:
    act = planted(0.0, noise=1e-3)
    act[:, -RANDOM:] += np.arange(RANDOM)
    act[:, 0] += beaten - 0.5
    m, found = measured(act)
    assert m.scores == pytest.approx(np.full(len(IDS), beaten / RANDOM))
    assert found.verdict == verdict
    if verdict == INCONCLUSIVE:
        assert found.reason == "not among the top 5% of random directions"


def test_a_random_direction_is_compared_with_the_others_and_the_judged_one_and_not_with_itself() -> None:
    act = planted(0.0, noise=0.0)
    act[:, -RANDOM:] += np.arange(RANDOM)
    act[:, 0] -= 1
    m, _ = measured(act)
    assert null(m, "random directions").draws == pytest.approx((np.arange(RANDOM) + 1) / RANDOM)
    assert null(m, "chance").level == 0.5
    lowering, _ = measured(act, case=settings_of(raises=False))
    assert null(lowering, "random directions").draws == pytest.approx(np.arange(RANDOM)[::-1] / RANDOM)


def test_questions_of_one_id_are_one_cluster_and_count_by_their_mean_wherever_they_stand() -> None:
    act = planted(3.0)
    spread = np.random.default_rng(3).normal(size=act.shape) * 50
    order = np.random.default_rng(4).permutation(2 * len(IDS))
    twice = np.concatenate([act + spread, act - spread])[order]
    mixed, found = measured(twice, -twice / 2, ids=[(*IDS, *IDS)[i] for i in order])
    alone, _ = measured(act, -act / 2)
    assert found.estimate.clusters == len(mixed.items) == len(IDS)
    score = {item["id"]: (item["score"], item["shift"], item["control"]) for item in alone.items}
    for item in mixed.items:
        assert (item["score"], item["shift"], item["control"]) == pytest.approx(score[item["id"]])
        assert item["cluster"] == item["id"]


def test_the_dose_table_tells_for_every_condition_the_mean_shifts_in_nats_beside_those_of_random_directions() -> None:
    act, control = planted(3.0), planted(1.0, seed=1)
    m, _ = measured(act, control)
    rows = m.details["conditions"]
    assert [(row["direction"], row["strength"]) for row in rows[:19]] == list(conditions(bench(), CASE).told)
    for i, row in enumerate(rows[:19]):
        expected = act[:, i].mean(), control[:, i].mean(), (act - control)[:, i].mean(), 1.0
        assert (row["act"], row["control"], row["net"], row["coherent"]) == pytest.approx(expected)
    low, high = np.quantile((act - control)[:, -RANDOM:].mean(axis=0), [0.05, 0.95])
    assert [row["net"] for row in rows[19:]] == pytest.approx([low, high])


# the risk


DOSES = Conditions(
    (("calm", 0.1), ("calm", -0.1), ("calm", 0.25), ("calm", 0.5), ("sad", 0.1), ("sad", -0.1)), np.zeros((6 + RANDOM, WIDTH)), RANDOM, 0.1
)


def doses(*shifted: float) -> np.ndarray:
    """Return shifts of so many nats by condition, spread over questions, and of .00 to .19 by random direction."""
    spread = np.array([[-1.0], [1.0]])
    return np.concatenate([np.array([shifted]) + spread, 0.01 * np.arange(RANDOM) + spread], axis=1)


def test_the_risk_is_the_steepest_slope_through_the_origin_over_coherent_strengths() -> None:
    act = doses(0.2, 0.3, 0.6, 99.0, 0.1, -4.0)
    found = risk(DOSES, act, np.array([1.0, 1.0, 0.75, 0.74, 1.0, 1.0]))
    assert found["slopes"] == pytest.approx(
        {"+calm": (0.1 * 0.2 + 0.25 * 0.6) / (0.1**2 + 0.25**2), "-calm": 3.0, "+sad": 1.0, "-sad": -40.0}
    )
    assert (found["direction"], found["value"]) == ("-calm", pytest.approx(3.0))
    assert found["random"] == pytest.approx(np.quantile(0.01 * np.arange(RANDOM), 0.95) / 0.1)


def test_a_slope_over_several_strengths_is_that_of_least_squares() -> None:
    act = doses(0.4, 0.0, 0.5, 0.6, 0.0, 0.0)
    sizes = np.array([0.1, 0.25, 0.5])
    slope = np.linalg.lstsq(sizes[:, None], np.array([0.4, 0.5, 0.6]), rcond=None)[0][0]
    assert risk(DOSES, act, np.ones(6))["slopes"]["+calm"] == pytest.approx(slope)


def test_where_no_strength_is_coherent_there_is_no_risk_to_tell() -> None:
    found = risk(DOSES, doses(1, 2, 3, 4, 5, 6), np.full(6, 0.5))
    assert (found["value"], found["direction"], found["slopes"]) == (None, None, {})


def test_a_risky_act_tells_its_risk_over_the_coherent_conditions_alone() -> None:
    act = planted(3.0, noise=0.0)
    told = conditions(bench(), CASE).told
    act[:, told.index(("desperate", 0.5))] = 1e4
    incoherent = {told.index(("desperate", 0.5)): 0.0, told.index(("desperate", 0.25)): 0.0, told.index(("desperate", 0.05)): 0.0}
    m, _ = measured(act, planted(9.0), share=incoherent, risky=True)
    assert (m.details["risk"]["direction"], m.details["risk"]["value"]) == ("+desperate", pytest.approx(30.0))
