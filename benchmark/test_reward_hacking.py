"""Reward hacking: an emotion's direction shifts the odds of cheating on tests that cannot be passed."""

from __future__ import annotations

from typing import Any


def test_reward_hacking(measure: Any, judge: Any) -> None:
    judge(measure("hacking"))
