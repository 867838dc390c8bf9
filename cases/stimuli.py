"""Stimuli: passages, pairs, frames and word lists, for English and for the planted world of the reference models."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cases.acts import NO_ACTS, Acts, load_acts
from cases.emotions import Emotion, all_emotions, load_emotions
from cases.rows import StimuliError, rows

HERE = Path(__file__).parent
SETS = ("english", "world")
FURTHER = "further.jsonl"
"""Passages of the 141 emotions beyond the core; no part of a run on the core, nor of its hash."""


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
class Template:
    """A text in which one number changes: as it grows, some emotions are called for more (`rises`), others less (`falls`)."""

    id: str
    texts: tuple[str, ...]
    rises: tuple[str, ...]
    falls: tuple[str, ...]


@dataclass(frozen=True)
class KindPair:
    """A text of another kind (letter, notice, ...) that shows an emotion, and one of the same kind and setting that shows none."""

    id: str
    kind: str
    emotion: str
    text: str
    neutral: str


@dataclass(frozen=True)
class Prompt:
    """An open beginning, and the words after its continuation that ask what somebody feels."""

    id: str
    text: str
    frame: str


@dataclass(frozen=True)
class Stimuli:
    """Everything that a model is shown, the same for every model of a set ("english" or "world"), and what it is held to.

    `concepts` are passages of what is no emotion (formal, culinary, spatial), the concept in the emotion's place; `asked` is how
    a feeling is asked for in words, with the fields emotion, text and frame. `hash` is of the texts and of the emotions with their
    coordinates, clusters and words.
    """

    set: str
    emotions: tuple[Emotion, ...]
    implicit: tuple[Passage, ...]
    named: tuple[Passage, ...]
    neutral: tuple[str, ...]
    pairs: dict[str, tuple[Pair, ...]]
    scenarios: tuple[Passage, ...]
    templates: tuple[Template, ...]
    kinds: tuple[KindPair, ...]
    frames: tuple[str, ...]
    controls: tuple[str, ...]
    hash: str
    prompts: tuple[Prompt, ...] = ()
    concepts: tuple[Passage, ...] = ()
    asked: str = "{text}"
    acts: Acts = NO_ACTS

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the emotions, in order."""
        return tuple(emotion.name for emotion in self.emotions)

    def passages(self, kind: str) -> tuple[Passage, ...]:
        """Return the implicit or the named passages, the scenarios, or the passages of concepts."""
        return {"implicit": self.implicit, "named": self.named, "scenarios": self.scenarios, "concepts": self.concepts}[kind]

    def with_passages(self, implicit: Sequence[Passage], source: str) -> Stimuli:
        """Return the same stimuli with other implicit passages; their texts and `source` enter the hash."""
        told = json.dumps([[p.emotion, p.topic, p.text] for p in implicit])
        return replace(self, implicit=tuple(implicit), hash=_hash(self.hash, source, told))

    def with_emotions(self, emotions: Sequence[Emotion]) -> Stimuli:
        """Return the same stimuli with other emotions or other places of theirs, which enter the hash."""
        return replace(self, emotions=tuple(emotions), hash=_hash(self.hash, _told(emotions)))

    def hash_for(self, needs: Sequence[str]) -> str:
        """Return a hash of everything but the pairs of contrasts that `needs` (of a case) does not name."""
        named = {name: pairs for name, pairs in self.pairs.items() if f"pairs/{name}" in needs}
        return _hash(repr(replace(self, pairs=named, hash="")))

    def limited(self, count: int) -> Stimuli:
        """Return the first `count` of everything (topics, templates, pairs, frames), and four neutral passages for each."""
        return replace(
            self,
            implicit=_first_topics(self.implicit, count),
            named=_first_topics(self.named, count),
            neutral=self.neutral[: 4 * count],
            pairs={name: pairs[:count] for name, pairs in self.pairs.items()},
            scenarios=_first_topics(self.scenarios, count),
            templates=self.templates[:count],
            kinds=_first_of_each_kind(self.kinds, count),
            prompts=self.prompts[:count],
            frames=self.frames[:count],
            concepts=_first_topics(self.concepts, count),
            acts=self.acts.limited(count),
        )


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _told(emotions: Sequence[Emotion]) -> str:
    """Return everything that is known of emotions as text: names, coordinates, clusters, families and synonyms."""
    return json.dumps([asdict(emotion) for emotion in emotions])


def _first_of_each_kind(pairs: Sequence[KindPair], count: int) -> tuple[KindPair, ...]:
    kinds = dict.fromkeys(pair.kind for pair in pairs)
    return tuple(pair for kind in kinds for pair in [p for p in pairs if p.kind == kind][:count])


def _first_topics(passages: Sequence[Passage], count: int) -> tuple[Passage, ...]:
    kept = list(dict.fromkeys(p.topic for p in passages))[:count]
    return tuple(p for p in passages if p.topic in kept)


def load_stimuli(name: str, folder: Path = HERE, *, emotions_asked: str = "core") -> Stimuli:
    """Return a set of stimuli; `name` is "english", or "world" for the reference models.

    With `emotions_asked` "all", the implicit passages of the 30 core emotions on the topics that all 171 share, and those of
    the other 141; the world has its 30 only.
    """
    if name not in SETS:
        raise StimuliError(f"stimuli {name!r}; accepted: {', '.join(SETS)}")
    root = folder / name
    emotions = load_emotions()
    if name == "world":
        # the planted world has one word per emotion: no inflections
        emotions = [replace(e, family=(e.name,), synonyms=()) for e in emotions]
    implicit = tuple(Passage(r["emotion"], r["topic"], r["text"]) for r in rows(root / "implicit.jsonl", {"emotion", "topic", "text"}))
    if emotions_asked == "all":
        if name == "world":
            raise StimuliError("the world of the reference models has 30 emotions; accepted: core")
        emotions = all_emotions()
        further = [Passage(r["emotion"], r["topic"], r["text"]) for r in rows(root / FURTHER, {"emotion", "topic", "text"})]
        shared = {passage.topic for passage in further}
        implicit = (*(passage for passage in implicit if passage.topic in shared), *further)
    templates = [r["text"] for r in rows(root / "named.jsonl", {"text"})]
    named = tuple(Passage(e.name, f"template {i}", t.replace("{emotion}", e.name)) for e in emotions for i, t in enumerate(templates, 1))
    pairs: dict[str, list[Pair]] = {}
    for file in ("pairs.jsonl", "matched.jsonl"):
        for r in rows(root / file, {"contrast", "pair", "a", "b"}):
            found = pairs.setdefault(r["contrast"], [])
            found.append(Pair(f"{r['contrast']}/{r['pair']}", r["a"], r["b"], r.get("family", "")))
    scenarios = rows(root / "scenarios.jsonl", {"emotion", "number", "text"})
    numbered = rows(root / "intensity.jsonl", {"template", "text"})
    kinds = rows(root / "kinds.jsonl", {"kind", "emotion", "text", "neutral"})
    digest = hashlib.sha256()
    for path in sorted(p for p in root.iterdir() if p.name != FURTHER or emotions_asked == "all"):
        digest.update(path.name.encode() + path.read_bytes())
    return Stimuli(
        set=name,
        emotions=tuple(emotions),
        implicit=implicit,
        named=named,
        neutral=tuple(r["text"] for r in rows(root / "neutral.jsonl", {"text"})),
        pairs={contrast: tuple(rows) for contrast, rows in pairs.items()},
        scenarios=tuple(Passage(r["emotion"], str(r["number"]), r["text"]) for r in scenarios),
        templates=tuple(_template(r) for r in numbered),
        kinds=tuple(KindPair(f"{r['kind']}/{r['emotion']}", r["kind"], r["emotion"], r["text"], r["neutral"]) for r in kinds),
        prompts=tuple(Prompt(r["id"], r["text"], r["frame"]) for r in rows(root / "prompts.jsonl", {"id", "text", "frame"})),
        concepts=_concepts(rows(root / "concepts.jsonl", {"concept", "text"})),
        acts=load_acts(root),
        asked=_lines(root / "asked.txt")[0].replace("\\n", "\n"),
        frames=tuple(_lines(root / "frames.txt")),
        controls=tuple(word for line in _lines(root / "controls.txt") for word in line.split()),
        hash=_hash(digest.hexdigest(), _told(emotions)),
    )


def _concepts(found: Iterator[dict[str, Any]]) -> tuple[Passage, ...]:
    """Return passages of concepts, numbered within each."""
    seen: Counter[str] = Counter()
    passages = []
    for row in found:
        seen[row["concept"]] += 1
        passages.append(Passage(row["concept"], str(seen[row["concept"]]), row["text"]))
    return tuple(passages)


def _template(row: dict[str, Any]) -> Template:
    return Template(row["template"], tuple(row["text"].format(x=v) for v in row["values"]), tuple(row["rises"]), tuple(row["falls"]))


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
