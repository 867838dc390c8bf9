"""Logit lens: the words that a vector promotes and suppresses."""

from __future__ import annotations

from typing import Any


def test_logit_lens(measure: Any, judge: Any) -> None:
    judge(measure("lens"))
