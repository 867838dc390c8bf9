"""The one line in which a refuted claim says why: the same wherever it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def verdict_line(row: Mapping[str, Any], model: str) -> str:
    """Return the one line in which a failing claim says why, in the suite's fixed grammar."""
    net = row["net"]
    return (
        f"{row['quantity']} = {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}], claim needs > {net['null']:.3f} ({net['against']}) "
        f"(n={row['n']}, clusters={row['clusters']}) [{row['claim']}/{row['case']} on {model}]"
    )
