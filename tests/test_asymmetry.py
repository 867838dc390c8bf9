"""Self-tests of the suppression asymmetry: which side's text breaks first, counted by prompt."""

from __future__ import annotations

import numpy as np

from fixtures.asymmetry import reach, sooner
from fixtures.sweeps import Sweep


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
