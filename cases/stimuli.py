"""Stimuli: passages, pairs, frames and word lists, for English and for the planted world of the reference models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cases.emotions import Emotion, load_emotions

HERE = Path(__file__).parent
SETS = ("english", "world")


class StimuliError(ValueError):
    """A stimulus file with a line that does not fit; the message names the file, the line and what is accepted."""


@dataclass(frozen=True)
class Passage:
    """A text that shows (implicit) or names an emotion, on a topic or made from a template."""

    emotion: str
    topic: str
    text: str


@dataclass(frozen=True)
class Pair:
    """Two texts alike but for what the person in them would feel; `first` is the side that the contrast names first."""

    id: str
    first: str
    second: str
    family: str = ""


@dataclass(frozen=True)
class Stimuli:
    """Everything that a model is shown, the same for every model of a set ("english" or "world")."""

    set: str
    emotions: tuple[Emotion, ...]
    implicit: tuple[Passage, ...]
    named: tuple[Passage, ...]
    neutral: tuple[str, ...]
    pairs: dict[str, tuple[Pair, ...]]
    frames: tuple[str, ...]
    controls: tuple[str, ...]
    hash: str

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the emotions, in order."""
        return tuple(emotion.name for emotion in self.emotions)

    def passages(self, kind: str) -> tuple[Passage, ...]:
        """Return the implicit or the named passages."""
        return {"implicit": self.implicit, "named": self.named}[kind]

    def limited(self, count: int) -> Stimuli:
        """Return the first `count` topics, templates, pairs and frames, and four neutral passages for each."""
        return replace(
            self,
            implicit=_first_topics(self.implicit, count),
            named=_first_topics(self.named, count),
            neutral=self.neutral[: 4 * count],
            pairs={name: pairs[:count] for name, pairs in self.pairs.items()},
            frames=self.frames[:count],
        )


def _first_topics(passages: Sequence[Passage], count: int) -> tuple[Passage, ...]:
    kept = list(dict.fromkeys(p.topic for p in passages))[:count]
    return tuple(p for p in passages if p.topic in kept)


def _rows(path: Path, wanted: set[str]) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSONL file; raises StimuliError at the first line that is none or lacks a field."""
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise StimuliError(f"{path.name}, line {number}: not JSON ({error.msg})") from error
        if not isinstance(row, dict) or not wanted <= set(row) or not all(isinstance(row[k], str | int) for k in wanted):
            raise StimuliError(f"{path.name}, line {number}: accepted is an object with {', '.join(sorted(wanted))}")
        yield row


def load_stimuli(name: str, folder: Path = HERE) -> Stimuli:
    """Return a set of stimuli; `name` is "english", or "world" for the reference models."""
    if name not in SETS:
        raise StimuliError(f"stimuli {name!r}; accepted: {', '.join(SETS)}")
    root = folder / name
    emotions = load_emotions()
    if name == "world":
        # the planted world has one word per emotion: no inflections
        emotions = [replace(e, family=(e.name,), synonyms=()) for e in emotions]
    implicit = tuple(Passage(r["emotion"], r["topic"], r["text"]) for r in _rows(root / "implicit.jsonl", {"emotion", "topic", "text"}))
    templates = [r["text"] for r in _rows(root / "named.jsonl", {"text"})]
    named = tuple(Passage(e.name, f"template {i}", t.replace("{emotion}", e.name)) for e in emotions for i, t in enumerate(templates, 1))
    pairs: dict[str, list[Pair]] = {}
    for file in ("pairs.jsonl", "matched.jsonl"):
        for r in _rows(root / file, {"contrast", "pair", "a", "b"}):
            found = pairs.setdefault(r["contrast"], [])
            found.append(Pair(f"{r['contrast']}/{r['pair']}", r["a"], r["b"], r.get("family", "")))
    digest = hashlib.sha256()
    for path in sorted(root.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return Stimuli(
        set=name,
        emotions=tuple(emotions),
        implicit=implicit,
        named=named,
        neutral=tuple(r["text"] for r in _rows(root / "neutral.jsonl", {"text"})),
        pairs={contrast: tuple(rows) for contrast, rows in pairs.items()},
        frames=tuple(_lines(root / "frames.txt")),
        controls=tuple(word for line in _lines(root / "controls.txt") for word in line.split()),
        hash=digest.hexdigest()[:12],
    )


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
