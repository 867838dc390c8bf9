"""Self-tests of paired differences: the right form, a known difference, and coverage."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.statistics import auroc, interval_p, mean_estimate, mover, newcombe, on_each, pairs_auroc
from reports.paired import UNPAIRED, difference, form_of
from tests.stored import paired_sides, scored, spread

RNG = np.random.default_rng(5)


def test_a_record_is_read_in_the_form_that_gives_its_own_value() -> None:
    first, second = RNG.normal(0.8, 1, 40), RNG.normal(0, 1, 40)
    r = RNG.normal(size=40)
    assert form_of(scored(spread(0.7))).name == "mean of scores"  # type: ignore[union-attr]
    assert form_of(paired_sides(first, second)).name == "AUROC"  # type: ignore[union-attr]
    swapped = paired_sides(first, second, value=auroc(second, first))
    assert form_of(swapped).name == "AUROC, second sides higher"  # type: ignore[union-attr]
    items = [{"id": str(i), "score": float(r[i] + i / 9), "r": float(i)} for i in range(40)]
    value = float(np.corrcoef([i["score"] for i in items], [i["r"] for i in items])[0, 1])
    assert form_of(scored(spread(0.7), items=items, value=value)).name == "correlation"  # type: ignore[union-attr]
    # scores that are no parts of the value, such as places on an axis, are never averaged
    assert form_of(scored(spread(0.7), value=0.9)) is None


def test_pairing_tells_apart_what_the_two_intervals_alone_do_not() -> None:
    noise = RNG.normal(0, 0.15, 40)
    theirs, ours = scored(0.6 + noise), scored(0.65 + noise + RNG.normal(0, 0.01, 40))
    paired = difference(ours, theirs)
    loose = difference(scored(0.65 + noise, items=[]), theirs)
    assert paired is not None
    assert loose is not None
    assert paired.value == pytest.approx(0.05, abs=0.01)
    assert paired.low > 0
    assert paired.p < 0.001
    assert loose.form == UNPAIRED
    assert loose.low < 0 < loose.high


def test_a_paired_auroc_difference_is_that_of_the_two_aurocs_and_repeats_itself() -> None:
    second = RNG.normal(0, 1, 60)
    better, worse = second + 2 + RNG.normal(0, 1, 60), second + 0.3 + RNG.normal(0, 1, 60)
    a, b = paired_sides(better, second), paired_sides(worse, second)
    found = difference(a, b)
    assert found is not None
    assert found.value == pytest.approx((a.value or 0) - (b.value or 0))
    assert 0 < found.low < found.value < found.high
    assert difference(a, b) == found
    assert difference(a, b, seed=1) != found


def test_pairs_auroc_is_auroc_on_every_resample() -> None:
    first, second = np.round(RNG.normal(1, 1, 30), 1), np.round(RNG.normal(0, 1, 30), 1)
    takes = RNG.integers(30, size=(50, 30))
    expected = [auroc(first[take], second[take]) for take in takes]
    assert on_each(pairs_auroc(first, second), takes) == pytest.approx(expected)


def test_items_of_other_names_are_not_paired_by_position() -> None:
    ours = scored(spread(0.7))
    theirs = scored(spread(0.6), items=[{**item, "id": f"other {item['id']}", "cluster": item["cluster"]} for item in ours.items])
    found = difference(ours, theirs)
    assert found is not None
    assert found.form == UNPAIRED


def test_items_are_matched_by_id_whatever_their_order() -> None:
    ours, theirs = scored(RNG.uniform(size=40)), scored(RNG.uniform(size=40))
    turned = scored([item["score"] for item in reversed(theirs.items)], items=list(reversed(theirs.items)))
    assert difference(ours, theirs) == difference(ours, turned)


def test_equal_items_leave_room_for_what_so_few_clusters_cannot_show() -> None:
    ones = scored(np.ones(40))
    found = difference(ones, ones)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0, -0.0881, 0.0881), abs=1e-4)
    # what rounding or another machine moves counts as none, so that a margin of 0 is no trap
    nudged = difference(scored(spread(0.7) - 3e-8), scored(spread(0.7)))
    assert nudged is not None
    assert nudged.value == 0
    assert nudged.p_below(0.0) == 1


def test_the_difference_in_skill_takes_each_runs_null_into_account() -> None:
    net = {"value": 0.5, "low": 0.4, "high": 0.6, "null": 0.2, "against": "chance"}
    ours, theirs = scored(spread(0.7), net=net, skill=0.625), scored(spread(0.7, width=0.04))
    found = difference(ours, theirs, skill=True)
    assert found is not None
    assert found.value == pytest.approx((ours.skill or 0) - (theirs.skill or 0), abs=0.02)


def test_no_figure_or_a_single_cluster_gives_no_difference() -> None:
    assert difference(scored(spread(0.7)), scored(spread(0.7), value=None)) is None
    assert difference(scored(spread(0.7), clusters=1, items=[]), scored(spread(0.7))) is None


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_the_paired_interval_covers_the_true_difference_as_often_as_it_says(shift: float) -> None:
    rng, hits = np.random.default_rng(0), 0
    for _ in range(300):
        common = rng.normal(0.5, 0.1, 20)
        a, b = common + shift + rng.normal(0, 0.05, 20), common + rng.normal(0, 0.05, 20)
        found = difference(scored(a, value=float(a.mean())), scored(b, value=float(b.mean())))
        assert found is not None
        hits += found.low <= shift <= found.high
    # 95% nominal, within three binomial standard errors of 300 draws
    assert 0.91 < hits / 300 <= 0.99


def test_p_agrees_with_the_interval_it_inverts_and_with_the_t_test() -> None:
    from scipy import stats

    values = RNG.normal(-0.03, 0.1, 40)
    found = mean_estimate(values, [str(i) for i in range(40)])
    expected = stats.ttest_1samp(values, 0.02, alternative="less").pvalue * 2
    assert interval_p(found.value, found.high, 0.02, 40) == pytest.approx(expected)
    assert interval_p(found.value, found.high, found.high, 40) == pytest.approx(0.05)
    assert interval_p(0.1, 0.2, 0.0, 40) == 1
    assert interval_p(-0.5, -0.5, 0.0, 10) == 2**-9
    assert np.isnan(interval_p(-0.5, -0.4, 0.0, 1))


def test_mover_on_wilson_limits_is_newcombe() -> None:
    from fixtures.statistics import wilson

    assert mover((0.4, *wilson(8, 20)), (0.2, *wilson(4, 20))) == pytest.approx(newcombe(8, 20, 4, 20))
