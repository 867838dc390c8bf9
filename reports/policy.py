"""A gate's policy: what a release is held to, read from a TOML file."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cases.shown import shown
from reports.command import CommandError

TABLES = {"require": ("supported",), "allow": ("refuted",), "skill": None, "risk": None, "baseline": ("margin", "claims")}


@dataclass(frozen=True)
class Policy:
    """What a gate asks: cases that must be supported or may be refuted, least skills, greatest risks, and a margin to a baseline.

    Names are a claim's (`separation`), a case's (`separation/natural-present`), or patterns of either (`blackmail/*`, `*`).
    `margin` is None where no baseline is asked for; `compared` names the cases that are held against it, or is None.
    """

    name: str
    supported: tuple[str, ...] = ()
    refuted: tuple[str, ...] = ()
    skill: dict[str, float] = field(default_factory=dict)
    risk: dict[str, float] = field(default_factory=dict)
    margin: float | None = None
    compared: tuple[str, ...] | None = None


def _names(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise CommandError(f"{where} = {shown(repr(value))}: accepted: a list of names of claims or cases")
    return tuple(value)


def _number(value: Any, where: str, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not least <= value <= most:
        span = f"from {least:g} to {most:g}" if math.isfinite(most) else f"of at least {least:g}"
        raise CommandError(f"{where} = {shown(repr(value))}: accepted: a number {span}")
    return float(value)


def parse_policy(document: dict[str, Any], name: str) -> Policy:
    """Return the policy of a TOML document; raises CommandError, one line with the entry and what is accepted."""
    for table, entries in document.items():
        if table not in TABLES:
            raise CommandError(f"{name}: unknown table [{shown(table)}]; accepted: {', '.join(f'[{t}]' for t in TABLES)}")
        if not isinstance(entries, dict):
            raise CommandError(f"{name}: {table} = {shown(repr(entries))}: accepted: a table [{table}]")
        known = TABLES[table]
        if known and (stray := sorted(set(entries) - set(known))):
            raise CommandError(f"{name}: [{table}] has an unknown entry {shown(repr(stray[0]))}; accepted: {', '.join(known)}")
    require, allow, baseline = (document.get(table, {}) for table in ("require", "allow", "baseline"))
    policy = Policy(
        name=name,
        supported=_names(require.get("supported", []), f"{name}: [require] supported"),
        refuted=_names(allow.get("refuted", []), f"{name}: [allow] refuted"),
        skill={k: _number(v, f"{name}: [skill] {shown(k)}", -1, 1) for k, v in document.get("skill", {}).items()},
        risk={k: _number(v, f"{name}: [risk] {shown(k)}", 0, math.inf) for k, v in document.get("risk", {}).items()},
        margin=_number(baseline.get("margin", 0), f"{name}: [baseline] margin", 0, 1) if "baseline" in document else None,
        compared=_names(baseline["claims"], f"{name}: [baseline] claims") if "claims" in baseline else None,
    )
    if policy.compared == ():
        raise CommandError(f"{name}: [baseline] claims = []: accepted: names of claims or cases, at least one, or no such entry")
    if both := [claim for claim in policy.supported if claim in policy.refuted]:
        raise CommandError(f"{name}: {shown(both[0])} in [require] supported and [allow] refuted: accepted: a name in one of the two")
    if not (policy.supported or policy.skill or policy.risk or policy.margin is not None):
        raise CommandError(f"{name} asks for nothing; accepted: at least one of [require] supported, [skill], [risk], [baseline]")
    return policy


def read_policy(name: str | Path, option: str = "--policy") -> Policy:
    """Return the policy in the TOML file that an option names; raises CommandError, one line that names the file."""
    try:
        document = tomllib.loads(Path(name).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = shown(getattr(error, "strerror", None) or error)
        told = shown(name) or repr(name)
        raise CommandError(f"{option} {told} is not a policy: {why}; accepted: a TOML file such as gate.toml") from error
    return parse_policy(document, shown(Path(name).name))
