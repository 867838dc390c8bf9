"""Prompting beside steering: how far asking in words goes, as a yardstick."""

from __future__ import annotations

from typing import Any


def test_prompting(measure: Any, judge: Any) -> None:
    judge(measure("prompting"))
