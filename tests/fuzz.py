"""Bad input by the thousand: mutations of good files, and what is made of each; counts for the campaign that prints them."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

KINDS = ("options", "case files", "passages", "ratings", "vectors (safetensors)", "vectors (npz)", "runs", "gate policies")
COUNTS: dict[str, Counter[str]] = {}
"""By kind of input: how many were accepted and how many refused in one line."""


def bounded(examples: int) -> Any:
    """Settings of a deterministic fuzz with so many examples."""
    health = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=health)


def outcome(kind: str, attempt: Callable[[], Any], refusals: tuple[type[Exception], ...]) -> tuple[Any, str | None]:
    """Run an attempt and count it: its result, or the one line in which it was refused; anything else is raised."""
    counted = COUNTS.setdefault(kind, Counter())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # numpy leaves a broken archive open
            found = attempt()
    except refusals as error:
        told = str(error)
        assert told.strip(), "a refusal says nothing"
        assert len(told.splitlines()) == 1, told
        assert told.isprintable(), repr(told)
        assert len(told) < 1200, told
        counted["refused"] += 1
        return None, told
    counted["accepted"] += 1
    return found, None


PLAIN = """- -- . .. / ../.. ~ * %s {} {x} NaN nan inf -inf -1 -0 0 1e3 1_000 0x10 +1 true null None [] auto AUTO cuda: cuda:-1 cuda:99
cuda:999 cpu:0 mps:1 none a@b @ x@ org/name org/name/more http:// http://[ http://h:x/v1 http://h:70000 https://h
file:///etc/passwd ftp://h :// http://u:secret@h/v1
reference reference@main Reference reference-xxl /dev/null /etc/passwd /proc/self/mem \\ " ' $HOME `id`""".split()
HOSTILE = st.sampled_from(
    [*PLAIN, "", " ", "\n", "a\nb", "\t", "\u0663", "\u202e", "\ufeff", "auto ", "1" * 400, "9" * 5000, "x" * 300, "x" * 5000]
)
WORDS = HOSTILE | st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), max_size=12)

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([10**30, -1e308, 1e308, float("nan"), float("inf"), 0.5])
    | HOSTILE.filter(lambda text: len(text) < 500)
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=5
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in nested lists and objects, the root left out."""
    inside = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    return [p for key, value in inside for p in [(*path, key), *places(value, (*path, key))]]


def alike(value: Any) -> st.SearchStrategy[Any]:
    """Another value of the same kind, which the next check may not see."""
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int | float):
        return st.sampled_from([0, 1, -1, 0.5, -0.5, 1e-9, 1e12, 10**20, value])
    return HOSTILE if isinstance(value, str) else st.just(value) if value is None else VALUES


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:
    """A document of which one to three places hold something else, are gone, or came twice."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        known = places(document)
        if not known:
            return draw(VALUES)
        *path, last = draw(st.sampled_from(known))
        holder = at(document, path)
        act = draw(st.sampled_from(["alike", "alike", "alike", "set", "delete", "add"]))
        if act == "delete":
            del holder[last]
        elif act == "add" and isinstance(holder, list):
            holder.insert(last, copy.deepcopy(holder[last]))
        elif act == "add":
            holder[draw(st.text(max_size=6))] = draw(VALUES)
        else:
            holder[last] = draw(alike(holder[last]) if act == "alike" else VALUES)
    return document


@st.composite
def gently(draw: st.DrawFn, document: Any) -> Any:
    """A document of which one innermost value is another of its kind."""
    document = copy.deepcopy(document)
    inner = [path for path in places(document) if not isinstance(at(document, path), dict | list)]
    *path, last = draw(st.sampled_from(inner))
    at(document, path)[last] = draw(alike(at(document, [*path, last])))
    return document


def at(document: Any, path: Sequence[Any]) -> Any:
    """What stands at a place."""
    for key in path:
        document = document[key]
    return document


@st.composite
def torn(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes cut short, with bits flipped, a piece repeated, or other bytes put in."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        act = draw(st.sampled_from(["cut", "flip", "repeat", "insert", "replace"]))
        if act == "cut":
            content = content[:at]
        elif act == "flip" and content:
            content = content[:at] + bytes([content[at] ^ (1 << draw(st.integers(0, 7)))]) + content[at + 1 :]
        elif act == "repeat":
            content = content[:at] + content[at : at + draw(st.integers(1, 64))] * 3 + content[at:]
        else:
            other = draw(
                st.binary(max_size=6) | st.sampled_from([b"\x00", b"\xff\xfe", b"\n", b'"', b"[", b"=", b"nan", b"1e999", b"[" * 3000])
            )
            content = content[:at] + other + content[at + (len(other) if act == "replace" else 0) :]
    return content
