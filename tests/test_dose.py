"""Dose-response: planted sweeps are measured, and text outside the band of unsteered text never counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.claims import Case
from fixtures import dose, nulls
from fixtures.bench import Bench
from fixtures.dose import slopes, windows
from fixtures.nulls import PERMUTED
from fixtures.sweeps import COHERENT, Sweep, target
from fixtures.verdicts import INCONCLUSIVE, REFUTED, SUPPORTED
from tests.swept import (
    CELLS,
    CONTRAST,
    IMPLICIT,
    PROMPTS,
    SIZE,
    STEERED,
    STRENGTHS,
    bench,
    incoherent,
    measured,
    names_of,
    plant,
    planted,
)


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(nulls.PERMUTATIONS, "quick", 20)


# the measure


@pytest.mark.parametrize("case", [IMPLICIT, CONTRAST], ids=["implicit", "fear-contrast"])
def test_a_planted_rising_dose_response_is_superior_to_nearly_every_random_direction(case: Case) -> None:
    m, found = measured(planted(bench(), case, effect=6.0), case)
    assert (found.verdict, m.gate) == (SUPPORTED, None)
    assert found.estimate.value > 0.97
    assert (len(m.items), found.estimate.clusters, m.layer) == (PROMPTS, PROMPTS, 1)
    draws = next(n for n in m.nulls if n.kind.startswith(PERMUTED)).draws
    assert draws.mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("case", [IMPLICIT, CONTRAST], ids=["implicit", "fear-contrast"])
def test_superiority_is_the_share_of_all_random_directions_whose_slope_is_smaller(case: Case) -> None:
    b = bench()
    found = planted(b, case, effect=0.3)
    doses = dose.Doses(b, case, found)
    strengths = np.array([s for s in case.settings["strengths"] if s > 0])
    randoms = found.randoms(names_of(case))
    assert len(randoms) >= 20
    for prompt, share in enumerate(doses.superiority(doses.targets)):
        won = [
            doses.slope(d, strengths, own)[prompt] > doses.slope(random, strengths, own)[prompt]
            for d, own in enumerate(doses.targets)
            for random in randoms
        ]
        assert share == pytest.approx(np.mean(won))


def test_a_planted_falling_dose_response_is_refuted_as_reversed() -> None:
    m, found = measured(planted(bench(), IMPLICIT, effect=-6.0))
    assert (found.verdict, found.reason) == (REFUTED, "reversed")
    assert found.estimate.value < 0.03
    assert m.details["anti-steerable share"] == pytest.approx(np.ones(len(STEERED)), abs=0.1)


def test_a_dose_response_of_noise_is_supported_in_at_most_5_per_cent_and_is_worth_one_half() -> None:
    judged = [measured(planted(bench(), IMPLICIT, seed=seed))[1] for seed in range(6)]
    assert sum(found.verdict == SUPPORTED for found in judged) <= 1
    assert np.mean([found.estimate.value for found in judged]) == pytest.approx(0.5, abs=0.04)


def test_read_outs_that_are_all_alike_are_worth_exactly_one_half() -> None:
    m, found = measured(planted(bench(), IMPLICIT, noise=0.0))
    assert list(m.scores if m.scores is not None else ()) == [0.5] * PROMPTS
    assert found.verdict != SUPPORTED


def test_directions_that_raise_every_emotion_alike_are_no_evidence_of_their_own() -> None:
    found = planted(bench(), IMPLICIT, noise=0.3)
    ours = found.which < len(STEERED)
    found.readout[:, ours] += 6.0 * found.strength[None, ours, None]
    m, judgement = measured(found)
    assert m.statistic(np.arange(PROMPTS)) > 0.97
    assert judgement.against.kind.startswith(PERMUTED)
    assert judgement.verdict != SUPPORTED


def test_mean_slopes_are_the_planted_effects() -> None:
    m, _ = measured(planted(bench(), IMPLICIT, effect=6.0, noise=0.1))
    assert m.details["mean slope"] == pytest.approx(np.full(len(STEERED), 6.0), abs=0.15)
    assert m.details["anti-steerable share"] == pytest.approx(np.zeros(len(STEERED)))


@settings(max_examples=3, deadline=None)
@given(order=st.permutations(range(PROMPTS)), scale=st.floats(0.01, 100))
def test_the_order_of_prompts_and_the_unit_of_read_outs_are_irrelevant(order: list[int], scale: float) -> None:
    found = planted(bench(), IMPLICIT, effect=0.7)
    plain = measured(found)[0]
    fields = {k: getattr(found, k)[order] for k in ("readout", "nll", "distinct", "loop", "entropy")}
    moved = measured(replace(found, **{**fields, "readout": scale * fields["readout"]}))[0]
    assert plain.scores is not None
    assert moved.scores == pytest.approx(plain.scores[order])
    assert moved.nulls[0].draws == pytest.approx(plain.nulls[0].draws)


def test_only_the_coherent_strengths_of_a_direction_enter_its_slope() -> None:
    b = bench()
    found = planted(b, IMPLICIT, effect=6.0, noise=0.1)
    for d in range(len(STEERED)):
        # the largest strengths would turn every slope round, but their text loops
        found.readout[:, [found.at(d, s) for s in (0.5, 1.0)], target(b, IMPLICIT, d)] = -50.0
        found.loop[:, [found.at(d, s) for s in (0.5, 1.0)]] = 16
    assert measured(found)[1].estimate.value > 0.9
    found.loop[:] = 0
    assert measured(found)[1].estimate.value < 0.1


@given(st.lists(st.floats(0.1, 3), min_size=1, max_size=5, unique=True), st.floats(-5, 5), st.floats(-5, 5))
@settings(max_examples=20, deadline=None)
def test_the_slope_of_a_line_through_the_origin_is_its_own_and_slopes_add_up(strengths: list[float], a: float, b: float) -> None:
    at, bent = np.array(strengths), np.array(strengths) ** 2
    assert slopes(a * at, at) == pytest.approx(a, abs=1e-9)
    assert slopes(np.stack([a * at + b * bent, b * bent]), at) == pytest.approx(
        [a + b * slopes(bent, at), b * slopes(bent, at)], rel=1e-6, abs=1e-9
    )


# coherence and its gate

OUTSIDE: dict[str, dict[str, float]] = {
    "nats too low": {"nll": 1.0},
    "nats too high": {"nll": 5.0},
    "loops": {"loop": 8},
    "too few distinct pairs": {"distinct": 0.5},
    "nats not a number": {"nll": np.nan},
    "distinct not a number": {"distinct": np.nan},
}


@pytest.mark.parametrize("values", OUTSIDE.values(), ids=OUTSIDE)
def test_text_outside_the_band_of_unsteered_text_is_not_coherent(values: dict[str, float]) -> None:
    found = incoherent(planted(bench(), IMPLICIT), [2], **values)
    assert found.inside().mean(axis=0) == pytest.approx((found.which != 2).astype(float))
    assert not any(found.coherent(2, s) for s in STRENGTHS)
    assert all(found.coherent(1, s) for s in STRENGTHS)


def test_the_band_holds_95_per_cent_of_the_unsteered_text_on_both_sides_and_looping_as_long_as_it_does_is_allowed() -> None:
    found = planted(bench(), IMPLICIT)
    low, high = np.quantile(found.base["nll"], [0.025, 0.975])
    found.base["loop"][:, :2] = 3.0  # a quarter of the samples
    for nll, inside in ((low, True), (high, True), (low - 1e-6, False), (high + 1e-6, False)):
        assert replace(found, nll=np.full_like(found.nll, nll)).inside().all() == inside
    assert replace(found, loop=np.full_like(found.loop, 3.0)).inside().all()
    assert not replace(found, loop=np.full_like(found.loop, 4.0)).inside().any()
    own = replace(found, **{k: found.base[k] for k in ("nll", "distinct", "loop")}).inside()
    assert 0.9 <= own.mean() <= 0.95


def test_a_band_of_what_is_no_number_holds_nothing() -> None:
    found = planted(bench(), IMPLICIT, effect=6.0)
    found.base["nll"][0, 0] = np.nan
    assert not found.inside().any()
    assert measured(found)[1].verdict == INCONCLUSIVE


def test_a_strength_is_coherent_from_three_quarters_of_its_continuations_on() -> None:
    for share, coherent in ((1 - COHERENT, True), (1 - COHERENT + 1 / PROMPTS, False)):
        found = incoherent(planted(bench(), IMPLICIT), [0], share, nll=9.0)
        assert all(found.coherent(0, s) == coherent for s in STRENGTHS)


def test_fewer_than_half_of_the_directions_coherent_concludes_nothing_whatever_the_effect() -> None:
    m, found = measured(incoherent(planted(bench(), IMPLICIT, effect=6.0), [0, 1, 2, 3], nll=9.0))
    assert found.verdict == INCONCLUSIVE
    assert m.gate is not None
    assert found.reason == m.gate
    assert "2 of 6" in m.gate
    assert found.estimate.value > 0.9  # the figures are shown all the same


def test_more_than_half_of_the_directions_coherent_is_judged_by_those_alone() -> None:
    b = bench()
    found = incoherent(planted(b, IMPLICIT, effect=6.0), [0, 1], loop=16)
    for d in (0, 1):
        found.readout[:, found.which == d, target(b, IMPLICIT, d)] = -50.0
    m, judgement = measured(found)
    assert (m.gate, judgement.verdict) == (None, SUPPORTED)
    assert judgement.estimate.value > 0.97


def test_no_coherent_direction_is_worth_one_half_and_concludes_nothing() -> None:
    for case in (IMPLICIT, CONTRAST):
        m, found = measured(incoherent(planted(bench(), case, effect=6.0), list(range(names_of(case))), distinct=0.1), case)
        assert (m.statistic(np.arange(PROMPTS)), found.verdict, found.reason) == (0.5, INCONCLUSIVE, m.gate)
        assert [row["width"] for row in m.details["windows"]] == [0.0] * names_of(case)
        assert {row["largest coherent effect"] for row in m.details["windows"]} == {None}


# what is not a number


@pytest.mark.parametrize("whose", ["a direction's", "random directions'"])
def test_a_read_out_that_is_not_a_number_never_becomes_a_win(whose: str) -> None:
    found = planted(bench(), IMPLICIT, effect=0.7)
    plain = measured(found)[0].scores
    found.readout[3, found.which < len(STEERED) if whose == "a direction's" else found.which >= len(STEERED)] = np.nan
    scores = measured(found)[0].scores
    assert plain is not None
    assert scores is not None
    assert not scores[3] > 0
    others = np.arange(PROMPTS) != 3
    assert (scores[others] == plain[others]).all()


@pytest.mark.parametrize("whose", ["a direction's", "random directions'"])
def test_read_outs_that_are_not_numbers_conclude_nothing(whose: str) -> None:
    found = planted(bench(), IMPLICIT, effect=6.0)
    found.readout[:, found.which < len(STEERED) if whose == "a direction's" else found.which >= len(STEERED)] = np.nan
    assert measured(found)[1].verdict == INCONCLUSIVE


@pytest.mark.parametrize("whose", [0, len(STEERED) + 3])
def test_what_is_not_a_number_opens_no_window(whose: int) -> None:
    b = bench()
    found = planted(b, IMPLICIT, effect=40.0)
    found.readout[2, found.which == whose] = np.nan
    rows = windows_of(b, found)
    assert rows[0]["width"] == (0.0 if whose == 0 else pytest.approx(1.9 - sum(CELLS[s] for s in STRENGTHS)))
    assert rows[0]["largest coherent effect"] is None


# windows


def windows_of(b: Bench, found: Sweep, case: Case = IMPLICIT) -> list[dict[str, Any]]:
    plant(b, case, found)
    return windows(b, case, found)


def beyond(rows: list[dict[str, Any]], direction: int) -> list[float]:
    return [point["strength"] for point in rows[direction]["points"] if point["beyond random"] and point["coherent"]]


def test_the_window_of_a_strong_effect_is_every_tested_stretch_but_that_of_no_steering() -> None:
    rows = windows_of(bench(), planted(bench(), IMPLICIT, effect=40.0))
    assert [row["direction"] for row in rows] == list(STEERED)
    for d, row in enumerate(rows):
        assert beyond(rows, d) == sorted(STRENGTHS)
        assert row["width"] == pytest.approx(sum(CELLS.values())) == pytest.approx(2 - 0.1)
        assert row["largest coherent effect"] == pytest.approx(40.0, abs=1.0)


def test_the_window_has_the_cells_that_are_both_coherent_and_beyond_random_directions() -> None:
    b = bench()
    found = planted(b, IMPLICIT, effect=40.0)
    found.nll[:, [found.at(1, s) for s in (-1.0, 0.5, 1.0)]] = 1.0
    found.readout[:, [found.at(1, s) for s in (-0.1, 0.1)], target(b, IMPLICIT, 1)] = 0.0
    rows = windows_of(b, found)
    assert beyond(rows, 1) == [-0.5, -0.25, 0.25]
    assert rows[1]["width"] == pytest.approx(0.375 + 0.2 + 0.2)
    assert rows[1]["largest coherent effect"] == pytest.approx(20.0, abs=0.5)
    assert rows[0]["width"] == pytest.approx(1.9)
    points = {point["strength"]: point for point in rows[1]["points"]}
    assert (points[1.0]["beyond random"], points[1.0]["coherent"], points[1.0]["inside band"]) == (True, False, 0.0)
    assert (points[0.1]["beyond random"], points[0.1]["coherent"], points[0.1]["nats per token"]) == (False, True, 3.0)


def test_an_effect_against_the_sign_of_the_strength_is_not_beyond_random() -> None:
    rows = windows_of(bench(), planted(bench(), IMPLICIT, effect=-40.0))
    assert all(row["width"] == 0 for row in rows)
    assert min(point["random p"] for row in rows for point in row["points"]) > 0.95


def test_effects_as_large_as_those_of_random_directions_of_either_sign_open_no_window() -> None:
    b = bench()
    found = planted(b, IMPLICIT, effect=4.0, noise=0.01)
    random = found.which >= len(STEERED)
    found.readout[:, random] -= 8.0 * found.strength[None, random, None]
    assert all(row["width"] == 0 for row in windows_of(b, found))


def test_a_window_is_open_under_noise_for_about_one_cell_in_twenty() -> None:
    b, open_cells = bench(), []
    for seed in range(8):
        rows = windows_of(bench(), planted(b, IMPLICIT, seed=seed))
        open_cells += [point["beyond random"] for row in rows for point in row["points"]]
    assert 0.01 < np.mean(open_cells) < 0.12


def test_the_contrasts_window_is_read_from_the_emotion_that_it_names_and_its_raw_alphas_stand_apart() -> None:
    b = bench()
    found = planted(b, CONTRAST, effect=40.0, noise=0.1)
    m, _ = measured(found, CONTRAST, b)
    (row,) = m.details["windows"]
    assert (row["direction"], row["width"]) == ("fear_calm", pytest.approx(1.9))
    raw = m.details["raw alphas"]
    assert [line["alpha"] for line in raw] == list(CONTRAST.settings["alphas"])
    assert [line["strength"] for line in raw] == pytest.approx([a / SIZE for a in CONTRAST.settings["alphas"]])
    assert [line["effect"] for line in raw] == pytest.approx([40 * a / SIZE for a in CONTRAST.settings["alphas"]], abs=0.2)
    assert [line["text"] for line in raw] == found.texts[0][-len(raw) :]
    found.loop[:, -1] = 16
    last = dose.raw_alphas(b, CONTRAST, found)[-1]
    assert (last["inside band"], last["loop tokens"]) == (0.0, 16.0)
