"""The emotions: their place on the circumplex, their word families, and the words that would leak them."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cases.shown import shown

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Emotion:
    """One emotion: valence and arousal in [-1, 1], its cluster, its word family and its direct synonyms."""

    name: str
    valence: float
    arousal: float
    cluster: str
    family: tuple[str, ...]
    synonyms: tuple[str, ...]


def load_emotions(path: Path = HERE / "emotions.toml") -> list[Emotion]:
    """Return the core emotions in the order of the file."""
    rows = tomllib.loads(path.read_text("utf-8"))["emotion"]
    return [Emotion(**{**row, "family": tuple(row["family"]), "synonyms": tuple(row["synonyms"])}) for row in rows]


def all_emotions() -> list[Emotion]:
    """Return the 171 emotions of the paper: the 30 core ones, then the others in its order."""
    return load_emotions() + load_emotions(HERE / "emotions_further.toml")


def banned_words(emotions: Sequence[Emotion]) -> set[str]:
    """Return every word that an implicit passage may not contain: all families and all direct synonyms."""
    return {word for emotion in emotions for word in (*emotion.family, *emotion.synonyms)}


def coordinates(emotions: Sequence[Emotion]) -> np.ndarray:
    """Return valence and arousal, shape (emotions, 2)."""
    return np.array([[e.valence, e.arousal] for e in emotions])


def similarity(emotions: Sequence[Emotion]) -> np.ndarray:
    """Return circumplex similarity, shape (emotions, emotions): minus the Euclidean distance of (valence, arousal)."""
    place = coordinates(emotions)
    return np.asarray(-np.linalg.norm(place[:, None] - place[None, :], axis=2))


def opposite(emotions: Sequence[Emotion]) -> list[int]:
    """Return for every emotion the index of the one farthest from it on the circumplex."""
    return [int(i) for i in similarity(emotions).argmin(axis=1)]


def load_topics(path: Path = HERE / "topics.toml") -> list[str]:
    """Return the topics on which every emotion has one implicit passage."""
    topics: list[str] = tomllib.loads(path.read_text("utf-8"))["topics"]
    return topics


class NormsError(ValueError):
    """A ratings table that cannot be read, lacks a column or lacks an emotion; the message says which."""


def with_norms(emotions: Sequence[Emotion], path: Path) -> list[Emotion]:
    """Return the emotions with valence and arousal from a table of human ratings, rescaled to [-1, 1].

    The table is CSV or TSV with a header. Accepted columns: NRC VAD (Word or term, Valence, Arousal; 0 to 1 or -1 to 1)
    and Warriner et al. 2013 (Word, V.Mean.Sum, A.Mean.Sum; 1 to 9). The scale is read off the column names and range.
    Raises NormsError on a missing file, column or word.
    """
    import pandas as pd

    name = shown(path.name)
    try:
        table = pd.read_csv(path, sep=None, engine="python", encoding="utf-8-sig")
    except (OSError, ValueError, csv.Error) as error:
        raise NormsError(f"{name} cannot be read as CSV or TSV ({type(error).__name__})") from error
    columns = {str(c).lower(): c for c in table.columns}
    word = next((columns[c] for c in ("word", "term") if c in columns), None)
    pairs = (("v.mean.sum", "a.mean.sum"), ("valence", "arousal"))
    pair = next((p for p in pairs if all(c in columns for c in p)), None)
    if word is None or pair is None:
        raise NormsError(
            f"{name} has columns {shown(list(map(str, table.columns)))}; wants Word and V.Mean.Sum, A.Mean.Sum or Valence, Arousal"
        )
    ratings = table[[columns[c] for c in pair]].apply(pd.to_numeric, errors="coerce")
    low = float(ratings.replace([np.inf, -np.inf], np.nan).min().min())
    middle, half = (5.0, 4.0) if pair[0] == "v.mean.sum" else ((0.0, 1.0) if low < 0 else (0.5, 0.5))
    rated = ratings.assign(_key=table[word].astype(str).str.lower()).drop_duplicates("_key").set_index("_key")
    found = []
    for emotion in emotions:
        # ratings tables list lemmas: an emotion without an entry takes that of the first of its family that has one
        key = next((w for w in (emotion.name, *emotion.family) if w in rated.index), None)
        if key is None:
            raise NormsError(f"{name} rates none of the words of {emotion.name!r}: {', '.join(emotion.family)}")
        valence, arousal = ((float(str(rated.at[key, columns[c]])) - middle) / half for c in pair)
        if not np.isfinite([valence, arousal]).all():
            raise NormsError(f"{name} rates {key!r} by what is no number; wants numbers")
        if max(abs(valence), abs(arousal)) > 1 + 1e-6:
            scale = f"{middle - half:g} to {middle + half:g}"
            raise NormsError(f"{name} rates {key!r} outside the scale of {scale} that its columns have; wants ratings on that scale")
        found.append(replace(emotion, valence=valence, arousal=arousal))
    if flat := [axis for axis, column in zip(("valence", "arousal"), coordinates(found).T, strict=True) if np.ptp(column) == 0]:
        raise NormsError(f"{name} rates the {flat[0]} of every emotion alike; wants ratings that differ")
    return found
