"""Monitoring: a read-out that goes with the odds of an act is found, one that goes with them only between scenarios is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.acts import NO_ACTS, Acts, Dilemma
from cases.claims import load_claims
from cases.emotions import load_emotions
from cases.stimuli import Passage
from fixtures import nulls, verdicts
from fixtures.activations import Activations
from fixtures.bench import Bench, Settings
from fixtures.generation import plain_ids
from fixtures.models import Subject
from fixtures.monitoring import correlations, measure, measured, questions, watched
from fixtures.nulls import PERMUTED, SIGNED
from fixtures.statistics import bootstrap_estimate
from fixtures.verdicts import INCONCLUSIVE, REFUTED, SUPPORTED, Judgement, Measurement, NotApplicable, judge
from tests.planted import few_stimuli, null
from tests.tiny import WIDTH, logits, streams, tiny

CLAIM = load_claims()["monitoring"]
DESPERATE, CALM, CHAT = (CLAIM.case(name) for name in ("desperate", "calm", "sampled-desperate"))
COUNT, MOODS = 18, 12
EMOTIONS = tuple(emotion for emotion in load_emotions() if emotion.name in ("desperate", "calm", "happy", "sad"))
STIMULI = few_stimuli(
    emotions=EMOTIONS,
    implicit=tuple(Passage(e.name, f"topic {t}", f"{e.name} {t}") for e in EMOTIONS for t in range(3)),
    neutral=tuple(f"neutral {i}" for i in range(8)),
)
WHO = tuple(f"s{i}" for i in range(COUNT))


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(nulls.PERMUTATIONS, "quick", 60)
    monkeypatch.setattr(verdicts, "bootstrap_estimate", partial(bootstrap_estimate, draws=150))


def bench(acts: Acts = NO_ACTS, subject: Subject | None = None, seed: int = 0) -> Bench:
    """Return a bench whose vectors are made of random activations."""
    rng = np.random.default_rng(0)
    captured = {
        key: Activations(rng.normal(size=(count, 1, WIDTH)).astype(np.float32), (1,))
        for key, count in (("implicit", len(STIMULI.implicit)), ("neutral", len(STIMULI.neutral)))
    }
    return Bench(lambda: subject or tiny("llama"), replace(STIMULI, acts=acts), Settings(seed, layer=1), _captured=captured)


def own(name: str = "desperate") -> np.ndarray:
    return np.asarray(bench().vectors("implicit").unit[STIMULI.names.index(name)])


# correlations within scenarios


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(3, 9), st.integers(1, 4))
def test_correlations_are_numpys_for_every_scenario_and_direction(seed: int, moods: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    read, odds = rng.normal(size=(5, moods, count)), rng.normal(size=(5, moods))
    found = correlations(read, odds)
    assert found.shape == (5, count)
    wanted = [[np.corrcoef(read[k, :, d], odds[k])[0, 1] for d in range(count)] for k in range(5)]
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    np.testing.assert_allclose(correlations(-2 * read + rng.normal(size=(5, 1, count)), 3 * odds + 7), -found, atol=1e-9)


@pytest.mark.parametrize("value", [0.0, 1.0, -2.5])
def test_a_scenario_in_which_one_side_does_not_vary_has_no_correlation_and_spoils_no_other(value: float) -> None:
    rng = np.random.default_rng(0)
    read, odds = rng.normal(size=(3, 4, 2)), rng.normal(size=(3, 4))
    wanted = correlations(read, odds)
    read[0, :, 1], odds[2] = value, value
    found = correlations(read, odds)
    assert np.isnan(found).tolist() == [[False, True], [False, False], [True, True]]
    np.testing.assert_allclose(found[np.isfinite(found)], wanted[np.isfinite(found)])


def test_a_side_that_is_constant_but_for_rounding_has_no_correlation() -> None:
    assert np.isnan(correlations(np.full((1, 3, 1), 0.1), np.array([[1.0, 2.0, 4.0]]))).all()


# read-out and odds


def planted(act: float, seed: int = 0, *, between: float = 0.0, along: np.ndarray | None = None, control: float = 0.0) -> Bench:
    """Return a bench of read-outs that vary from mood to mood, and of odds that follow them by `act`, and between scenarios by `between`.

    `along` is where the read-outs vary (default: the direction of desperation); the odds of the control follow by `control`.
    """
    rng = np.random.default_rng(seed)
    mood, scenario = rng.normal(size=(COUNT, MOODS)), 5 * rng.normal(size=(COUNT, 1))
    stream = (mood + scenario)[:, :, None] * (own() if along is None else along) + 0.3 * rng.normal(size=(COUNT, MOODS, WIDTH))
    odds = np.stack([act * mood + between * scenario, control * mood]) + 0.5 * rng.normal(size=(2, COUNT, MOODS))
    moods = tuple(f"mood {i}" for i in range(MOODS))
    found = bench(replace(NO_ACTS, dilemmas=tuple(Dilemma(name, "text", "a", "b", "c", "d", moods) for name in WHO)), seed=seed)
    found._measured |= {"monitored odds": odds, "monitored streams": stream}
    return found


def judged(b: Bench, case_name: str = "desperate") -> tuple[Measurement, Judgement]:
    case = CLAIM.case(case_name)
    m = measure(b, case)
    return m, judge(m, CLAIM, case, np.random.default_rng(0))


def test_odds_that_follow_the_read_out_are_found_and_reversed_ones_refuted() -> None:
    m, found = judged(planted(1.0))
    assert (found.verdict, found.estimate.clusters, m.layer) == (SUPPORTED, COUNT, 1)
    assert found.estimate.value > 0.7
    turned = judged(planted(-1.0))[1]
    assert (turned.verdict, turned.reason) == (REFUTED, "reversed")


@pytest.mark.parametrize(("scale", "verdict"), [(1.0, SUPPORTED), (1e-4, SUPPORTED), (1e-7, INCONCLUSIVE)])
def test_odds_that_move_by_no_more_than_rounding_follow_nothing(scale: float, verdict: str) -> None:
    """A model with a short window does not carry the mood to the act: its odds differ by the rounding of float32 alone."""
    b = planted(1.0)
    b._measured["monitored odds"] = 0.7 + scale * b._measured["monitored odds"]
    found = judged(b)[1]
    assert found.verdict == verdict
    if verdict == INCONCLUSIVE:
        assert found.reason == f"in {COUNT} of {COUNT} scenarios no mood moves the log-odds of the act beyond rounding"


def test_the_sign_of_a_case_turns_its_direction() -> None:
    assert CALM.settings["sign"] == -1
    b = bench()
    np.testing.assert_allclose(watched(b, CALM)[0], -own("calm"))
    np.testing.assert_allclose(watched(b, DESPERATE)[0], own())
    assert watched(b, CALM).shape == (1 + b.random_directions, WIDTH)
    np.testing.assert_allclose(np.linalg.norm(watched(b, CALM), axis=1), 1)
    assert judged(planted(-1.0, along=own("calm")), "calm")[1].net.low > 0
    assert judged(planted(1.0, along=own("calm")), "calm")[1].net.high < 0


def test_a_direction_that_reads_the_same_few_moods_by_luck_in_every_scenario_is_not_supported() -> None:
    """Twelve moods in a space of few dimensions: many a random direction goes with the act as desperation does."""
    supported = beyond = 0
    for seed in range(30):
        b, rng = planted(0.0, seed), np.random.default_rng([seed, 1])
        moods, odds = rng.normal(size=(MOODS, WIDTH)), rng.normal(size=MOODS)
        b._measured["monitored streams"] = moods + 0.1 * rng.normal(size=(COUNT, MOODS, WIDTH))
        b._measured["monitored odds"] = odds + 0.1 * rng.normal(size=(2, COUNT, MOODS))
        found = judged(b)[1]
        supported += found.verdict == SUPPORTED
        beyond += found.net.low > 0
    assert supported <= 4
    assert beyond >= 5


def test_odds_of_noise_are_supported_in_at_most_5_per_cent_and_centre_on_0() -> None:
    found = [judged(planted(0.0, seed))[1] for seed in range(30)]
    assert Counter(f.verdict for f in found)[SUPPORTED] <= 1
    assert np.mean([f.estimate.value for f in found]) == pytest.approx(0, abs=0.03)


def test_odds_whose_moods_are_permuted_within_scenarios_are_not_supported() -> None:
    b, rng = planted(2.0), np.random.default_rng(1)
    b._measured["monitored odds"][0] = rng.permuted(b._measured["monitored odds"][0], axis=1)
    assert judged(b)[1].verdict != SUPPORTED


def test_odds_that_follow_the_read_out_only_from_scenario_to_scenario_are_not_supported() -> None:
    b = planted(0.0, between=2.0)
    stream, odds = b._measured["monitored streams"] @ own(), b._measured["monitored odds"][0]
    assert np.corrcoef(stream.ravel(), odds.ravel())[0, 1] > 0.8
    m, found = judged(b)
    assert found.verdict != SUPPORTED
    assert found.estimate.value == pytest.approx(0, abs=0.2)
    assert null(m, PERMUTED).level == pytest.approx(0, abs=0.05)


def test_odds_that_any_direction_reads_say_nothing_about_an_emotion() -> None:
    everything = watched(bench(), DESPERATE)
    signs = np.where(np.arange(len(everything)) % 2, -1.0, 1.0)  # half of the random directions read it upside down
    m, found = judged(planted(1.0, along=3 * np.linalg.pinv(everything) @ signs))
    assert found.estimate.value > 0.7
    assert found.verdict != SUPPORTED
    assert found.against.kind == "random directions, without sign"
    assert (null(m, "random").draws > 0.5).all()


def test_the_nulls_are_permuted_moods_random_directions_and_nothing() -> None:
    b = planted(1.0)
    m, _ = judged(b)
    read, odds = b._measured["monitored streams"] @ watched(b, DESPERATE).T, b._measured["monitored odds"][0]
    random = correlations(read, odds)[:, 1:].mean(axis=0)
    np.testing.assert_allclose(null(m, "random directions, without sign").draws, np.abs(random))
    np.testing.assert_allclose(null(m, SIGNED).draws, random)
    assert null(m, SIGNED).guards
    drawn = null(m, PERMUTED).draws
    assert len(drawn) == 60
    assert drawn.mean() == pytest.approx(0, abs=0.03)
    assert drawn.std() == pytest.approx(1 / np.sqrt((MOODS - 1) * COUNT), rel=0.4)
    assert null(m, "chance").level == 0
    np.testing.assert_allclose([row["score"] for row in m.items], correlations(read, odds)[:, 0])
    assert [row["id"] for row in m.items] == list(m.clusters) == list(WHO)


def test_the_details_tell_what_is_left_net_of_the_control_choice() -> None:
    told = judged(planted(1.0, control=1.0))[0].details["r"]
    assert told["act"] > 0.7
    assert told["net of the control choice"] == pytest.approx(0, abs=0.15)
    told = judged(planted(1.0, control=-1.0))[0].details["r"]
    assert told["net of the control choice"] > told["act"] - 0.05


def test_measuring_depends_on_the_seed_and_leaves_what_was_measured_as_it_is() -> None:
    b = planted(1.0)
    before = {key: values.copy() for key, values in b._measured.items()}
    first, second = judged(b)[0], judged(b)[0]
    assert all((b._measured[key] == values).all() for key, values in before.items())
    np.testing.assert_array_equal(null(first, PERMUTED).draws, null(second, PERMUTED).draws)
    other = planted(1.0)
    other.settings = Settings(1, layer=1)
    assert not np.array_equal(null(judged(other)[0], PERMUTED).draws, null(first, PERMUTED).draws)


def test_an_emotion_without_passages_is_not_applicable() -> None:
    b = planted(1.0)
    b.stimuli = replace(b.stimuli, emotions=tuple(e for e in EMOTIONS if e.name != "desperate"))
    with pytest.raises(NotApplicable, match="no passages of 'desperate'"):
        measure(b, DESPERATE)


# what a model is asked, and where it is read


def dilemmas(moods: Sequence[str] = ("He was glad.", "No word came.", "She sat alone.", "It was the dog.")) -> Acts:
    texts = ("The boat was gone and he", "The old man saw the letter and")
    return replace(
        NO_ACTS,
        dilemmas=tuple(Dilemma(f"d{i}", text, "ran home", "sat down", "was sad", "was glad", tuple(moods)) for i, text in enumerate(texts)),
    )


def test_every_dilemma_is_asked_after_each_of_its_moods() -> None:
    asked = questions(bench(dilemmas()))
    assert [[q.id for q in some] for some in asked] == [["d0"] * 4, ["d1"] * 4]
    assert asked[1][2].prompt == "She sat alone. The old man saw the letter and"
    assert asked[0][0].options == (" ran home", " sat down", " was sad", " was glad")


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_odds_and_streams_are_those_of_plain_passes(architecture: str) -> None:
    subject = tiny(architecture)
    b = bench(dilemmas(), subject)
    odds, stream = measured(b)
    assert (odds.shape, stream.shape) == ((2, 2, 4), (2, 4, WIDTH))
    for k, some in enumerate(questions(b)):
        for j, question in enumerate(some):
            head = plain_ids(subject, question.prompt)

            def logprob(option: str, head: list[int] = head, before: str = question.prompt) -> float:
                ids = plain_ids(subject, before + option)
                assert ids[: len(head)] == head
                told = torch.log_softmax(logits(subject, torch.tensor([ids]))[0].double(), dim=-1)
                return float(sum(told[i - 1, ids[i]] for i in range(len(head), len(ids))))

            act, decline, low, high = map(logprob, question.options)
            np.testing.assert_allclose(odds[:, k, j], [act - decline, low - high], rtol=1e-3, atol=1e-3)
            dilemma = b.stimuli.acts.dilemmas[k]
            skipped = len(plain_ids(subject, dilemma.moods[j]))
            assert head[:skipped] == plain_ids(subject, dilemma.moods[j])
            wanted = streams(subject, torch.tensor([head]))[1][0, skipped:].mean(dim=0)
            np.testing.assert_allclose(stream[k, j], wanted.numpy(), rtol=1e-4, atol=1e-4)


def test_a_correlation_over_fewer_than_three_moods_is_not_applicable() -> None:
    for acts in (dilemmas(("He was glad.", "No word came.")), NO_ACTS):
        with pytest.raises(NotApplicable, match="needs three moods"):
            measure(bench(acts), DESPERATE)
