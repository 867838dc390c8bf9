"""Self-tests of the suppression asymmetry: which side's text breaks first, counted by prompt, beside what random directions do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.claims import Case, load_claims
from cases.emotions import load_emotions
from cases.stimuli import Pair, Passage, Prompt
from fixtures import asymmetry, sweeps
from fixtures.activations import Activations
from fixtures.asymmetry import reach, sooner
from fixtures.bench import Bench, Settings
from fixtures.models import Subject
from fixtures.nulls import PERMUTED
from fixtures.sweeps import SAMPLES, Sweep, plan
from fixtures.verdicts import INCONCLUSIVE, REFUTED, REPORTED, SUPPORTED, Judgement, Measurement, judge
from tests.planted import few_stimuli, null

CLAIM = load_claims()["asymmetry"]
IMPLICIT, CONTRAST = CLAIM.case("implicit"), replace(CLAIM.case("fear-contrast"), verdict="judged")
STRENGTHS: tuple[float, ...] = tuple(CONTRAST.settings["strengths"])
EMOTIONS = tuple(load_emotions())
PROMPTS, RANDOM, CONCEPTS = 20, 20, ("formal", "culinary")
NEVER = 9.0
"""A strength that no case reaches."""


def test_the_side_that_breaks_first_wins_and_a_tie_counts_half() -> None:
    assert sooner(np.array([1, 2, 3]), np.array([3, 2, 1])).tolist() == [1.0, 0.5, 0.0]


def test_reach_counts_strengths_from_the_smallest_up_to_the_first_that_breaks() -> None:
    strengths = np.array([-1.0, -0.5, -0.1])
    calm, loud = 1.0, 9.0
    nll = np.array([[calm, calm, calm], [calm, loud, calm], [calm, calm, loud]])  # columns as the rows below
    even = np.ones_like(nll)
    base = {"nll": np.linspace(0.5, 1.5, 40), "distinct": np.ones(40), "loop": np.zeros(40)}
    found = Sweep(np.zeros(3, int), strengths, np.zeros((3, 3, 1)), nll, even, 0 * even, even, base, [])
    assert reach(found, 0, strengths).tolist() == [3, 1, 0]


# planted breaks


def no_model() -> Subject:
    raise AssertionError("the sweep is planted: no model is asked")


def bench() -> Bench:
    rng = np.random.default_rng(5)
    stimuli = few_stimuli(
        emotions=EMOTIONS,
        implicit=tuple(Passage(e.name, str(t), f"{e.name} {t}") for e in EMOTIONS for t in range(2)),
        concepts=tuple(Passage(name, str(t), f"{name} {t}") for name in CONCEPTS for t in range(2)),
        neutral=tuple(f"neutral {i}" for i in range(8)),
        pairs={"fear_calm": tuple(Pair(str(i), f"first {i}", f"second {i}") for i in range(4))},
        prompts=tuple(Prompt(f"prompt {i}", f"text {i}", " He felt") for i in range(PROMPTS)),
    )
    counts = {"implicit": len(stimuli.implicit), "concepts": len(stimuli.concepts), "neutral": 8, "fear_calm": 8}
    return Bench(
        make=no_model,
        stimuli=stimuli,
        settings=Settings(layer=0),
        _captured={key: Activations(rng.normal(size=(count, 1, 12)), (0,)) for key, count in counts.items()},
        _measured={"norms": np.array([40.0])},
    )


def broken(breaks: np.ndarray, case: Case = CONTRAST) -> tuple[Bench, Sweep]:
    """Return a sweep whose text is broken from given sizes of the strength on, `breaks` of shape (directions, 2, prompts).

    The negative side comes first. Directions are the case's, then random ones, then concepts; missing ones never break.
    """
    b = bench()
    which, strength, _ = plan(b, case)
    shape = (PROMPTS, len(which))
    nll, even, still = np.ones(shape), np.ones(shape), np.zeros(shape)
    for row, (d, s) in enumerate(zip(which, strength, strict=True)):
        if d < len(breaks):
            nll[np.abs(s) >= breaks[d, int(s > 0)], row] = 9.0
    base = {"nll": np.linspace(0.5, 1.5, 40), "distinct": np.ones(SAMPLES), "loop": np.zeros(SAMPLES)}
    return b, Sweep(which, strength, np.zeros((*shape, 1)), nll, even, still, even, base, [], CONCEPTS)


def measured(breaks: np.ndarray, case: Case = CONTRAST) -> tuple[Measurement, Judgement]:
    b, found = broken(breaks, case)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps, "_sweep", lambda bench, case: found)
        m = asymmetry.measure(b, case)
    return m, judge(m, CLAIM, case, np.random.default_rng(0))


def sides(negative: float, positive: float, directions: int = 1) -> np.ndarray:
    """Return directions whose two sides break from these strengths on, in every prompt."""
    return np.broadcast_to(np.array([negative, positive])[None, :, None], (directions, 2, PROMPTS)).copy()


def lucky(seed: int = 0, directions: int = RANDOM) -> np.ndarray:
    """Return directions whose sides break at strengths drawn alike, prompt by prompt."""
    return np.random.default_rng(seed).choice([0.1, 0.25, 0.5, 1.0, NEVER], size=(directions, 2, PROMPTS))


def test_an_asymmetry_of_one_direction_beats_random_directions_that_are_symmetrical() -> None:
    m, found = measured(np.concatenate([sides(0.25, 1.0), lucky()]))
    assert (found.verdict, found.estimate.value, found.estimate.clusters, m.layer) == (SUPPORTED, 1.0, PROMPTS, 0)
    random = null(m, "random directions")
    assert (len(random.draws), random.guards) == (RANDOM, True)
    assert random.level == pytest.approx(0.5, abs=0.05)
    assert m.details["reach"] == [{"direction": "fear_calm", "negative": 1.0, "positive": 3.0, "of": 4}]


def test_an_asymmetry_that_random_directions_have_as_well_is_not_supported() -> None:
    every = sides(0.25, 1.0, 1 + RANDOM)
    m, found = measured(every)
    assert null(m, "random directions").level == 1.0
    assert found.verdict == INCONCLUSIVE  # no room is left above them
    every[:, :, : PROMPTS // 2] = NEVER  # in half of the prompts neither side breaks
    m, found = measured(every)
    assert (found.estimate.value, null(m, "random directions").level) == (0.75, 0.75)
    assert found.against.kind == "random directions"
    assert found.verdict in (REFUTED, INCONCLUSIVE)


def test_an_asymmetry_that_random_directions_reach_by_the_luck_of_their_sign_is_not_supported() -> None:
    # half of them break on the negative side first and half on the other: one half on average, and no evidence of a sign
    m, found = measured(np.concatenate([sides(0.25, 1.0), sides(0.25, 1.0, RANDOM // 2), sides(1.0, 0.25, RANDOM // 2)]))
    assert null(m, "random directions").level == 0.5
    assert (found.estimate.value, found.verdict) == (1.0, INCONCLUSIVE)
    assert found.reason is not None
    assert "top 5% of random directions" in found.reason


def test_an_asymmetry_turned_round_is_refuted_as_reversed() -> None:
    m, found = measured(np.concatenate([sides(1.0, 0.25), lucky()]))
    assert (found.estimate.value, found.verdict, found.reason) == (0.0, REFUTED, "reversed")
    assert m.details["reach"][0] == {"direction": "fear_calm", "negative": 3.0, "positive": 1.0, "of": 4}


@pytest.mark.parametrize("at", [0.1, NEVER])
def test_sides_that_break_together_or_never_are_worth_exactly_one_half(at: float) -> None:
    m, found = measured(np.concatenate([sides(at, at), lucky()]))
    assert list(m.scores if m.scores is not None else ()) == [0.5] * PROMPTS
    assert found.verdict != SUPPORTED


def test_a_direction_whose_sides_break_alike_by_chance_is_supported_in_at_most_5_per_cent() -> None:
    judged = [measured(np.concatenate([lucky(1000 + seed, 1), lucky(seed)]))[1] for seed in range(40)]
    assert sum(found.verdict == SUPPORTED for found in judged) <= 2
    assert np.mean([found.estimate.value for found in judged]) == pytest.approx(0.5, abs=0.04)


def test_concepts_are_swept_but_are_no_random_directions() -> None:
    lone = np.concatenate([sides(0.25, 1.0), lucky()])
    drawn = [null(measured(breaks)[0], "random directions").draws for breaks in (lone, np.concatenate([lone, sides(0.1, NEVER, 2)]))]
    assert (drawn[0] == drawn[1]).all()


def test_the_posts_raw_alphas_do_not_enter() -> None:
    # an alpha of 40 at this norm is the strength 1, and one of -20 the strength -0.5
    b, found = broken(np.concatenate([sides(NEVER, NEVER), lucky()]))
    alphas = len(CONTRAST.settings["alphas"])
    assert {-0.5, 1.0} <= {round(float(s), 6) for s in found.strength[-alphas:]}
    found.nll[:, -alphas:] = 9.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps, "_sweep", lambda bench, case: found)
        assert list(asymmetry.measure(b, CONTRAST).scores) == [0.5] * PROMPTS  # type: ignore[arg-type]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.permutations(range(PROMPTS)))
def test_the_order_of_prompts_is_irrelevant_and_exchanging_the_sides_turns_every_score_round(seed: int, order: list[int]) -> None:
    breaks = np.concatenate([lucky(seed, 1), lucky(seed + 1)])
    plain, mixed, turned = (measured(each)[0] for each in (breaks, breaks[:, :, order], breaks[:, ::-1]))
    assert plain.scores is not None
    assert mixed.scores == pytest.approx(plain.scores[order])
    assert turned.scores == pytest.approx(1 - plain.scores)
    before, after, reverse = (null(found, "random directions").draws for found in (plain, mixed, turned))
    assert after == pytest.approx(before)
    assert reverse == pytest.approx(1 - before)


def test_several_emotions_are_averaged_reported_and_have_no_random_directions_of_both_signs() -> None:
    steered = len(IMPLICIT.settings["emotions"])
    breaks = np.concatenate([sides(0.25, 1.0, steered // 2), sides(1.0, 0.25, steered - steered // 2)])
    m, found = measured(breaks, IMPLICIT)
    assert (found.verdict, found.estimate.value) == (REPORTED, 0.5)
    assert [n.kind for n in m.nulls] == ["chance"]
    assert [row["direction"] for row in m.details["reach"]] == list(IMPLICIT.settings["emotions"])
    assert not any(n.kind.startswith(PERMUTED) for n in m.nulls)


# a mirrored sweep


@pytest.mark.parametrize("case", [IMPLICIT, CONTRAST], ids=["implicit", "fear-contrast"])
def test_random_directions_and_concepts_are_swept_over_both_signs_where_the_case_says_so(case: Case) -> None:
    b = bench()
    which, strength, rows = plan(b, case)
    named = 1 if case is CONTRAST else len(case.settings["emotions"])
    swept = STRENGTHS if case is CONTRAST else tuple(s for s in STRENGTHS if s > 0)
    for d in range(named, named + RANDOM + len(CONCEPTS)):
        at = which == d
        assert tuple(strength[at]) == swept
        first = rows[at][0] / strength[at][0]
        assert rows[at] == pytest.approx(strength[at][:, None] * first)
    assert which.max() == named + RANDOM + len(CONCEPTS) - 1
