"""Passages from outside: a JSONL file of {emotion, text, topic}, checked line by line before any model is loaded."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cases.checks import leaks
from cases.emotions import Emotion
from cases.shown import shown
from cases.stimuli import Passage

FEWEST = 2
"""Passages that an emotion needs: one has no halves and no topic to leave out."""


ALLOWED = "\t\n\r\u0085"
"""Control characters that a text may hold: the tab, and what begins a line."""


class PassagesError(ValueError):
    """A file of passages that cannot be used; the message names the first line that does not fit, and what is accepted."""


def own_words(emotion: Emotion) -> set[str]:
    """Return what an implicit passage of this emotion may not contain: the word, its inflections, its direct synonyms."""
    return {word for word in (*emotion.family, *emotion.synonyms) if " " not in word}


def leaked(text: str, banned: set[str]) -> list[str]:
    """Return the banned words of a text; "self-critical" is found whole, and so is "grief" in "grief-stricken"."""
    plain = text.lower().replace("\u2019", "'").replace("\u2010", "-").replace("\u2011", "-")
    joined = [word for word in banned if "-" in word and re.search(rf"\b{re.escape(word)}\b", plain)]
    return leaks(text, banned) + sorted(joined)


def bare(text: str) -> str:
    """Return what of a text is checked: compatibility forms as usual letters (NFKC), without format characters, which nobody sees."""
    return "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")


def read_passages(path: Path, emotions: Sequence[Emotion]) -> tuple[Passage, ...]:
    """Return the passages of a JSONL file.

    Raises PassagesError at the first line that is no object of three texts, is about an emotion outside `emotions`, is
    empty, holds a control character, repeats a text (but for case and blanks) or contains its emotion's own word or a direct
    synonym; and for an emotion with too few passages.
    """
    known = {emotion.name: emotion for emotion in emotions}
    found: list[Passage] = []
    seen: dict[str, int] = {}
    try:
        lines = path.read_text("utf-8-sig").removesuffix("\n").split("\n")  # splitlines would cut at separators inside a text
    except (OSError, UnicodeDecodeError) as error:
        raise PassagesError(f"cannot be read as UTF-8 text ({type(error).__name__})") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        passage = _passage(line, f"line {number}")
        if passage.emotion not in known:
            accepted = f"one of the {len(known)} of this run's --emotions"
            raise PassagesError(f"line {number}: emotion {passage.emotion[:40]!r}; accepted: {accepted}")
        if found_in := leaked(bare(passage.text), own_words(known[passage.emotion])):
            accepted = f"passages without {passage.emotion!r} and its synonyms"
            raise PassagesError(f"line {number}: the text contains {found_in[0]!r}; accepted: {accepted}")
        same = " ".join(bare(passage.text).casefold().split())
        if same in seen:
            raise PassagesError(f"line {number}: the text of line {seen[same]} again; accepted: different texts")
        seen[same] = number
        found.append(passage)
    counts = Counter(passage.emotion for passage in found)
    if short := [name for name in known if counts[name] < FEWEST]:
        raise PassagesError(
            f"{counts[short[0]]} passages for {short[0]!r} and too few for {len(short) - 1} more; "
            f"accepted: at least {FEWEST} for each of the {len(known)} of this run's --emotions"
        )
    return tuple(found)


def _passage(line: str, where: str) -> Passage:
    """Return the passage of one line; raises PassagesError."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, or a number of thousands of digits
        raise PassagesError(f"{where}: not JSON; accepted: an object with emotion, text, topic") from error
    fields = ("emotion", "text", "topic")
    if not isinstance(row, dict) or any(not isinstance(row.get(field), str) or not row[field].strip() for field in fields):
        raise PassagesError(f"{where}: accepted: an object with emotion, text, topic, none of them empty")
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise PassagesError(f"{where}: half a surrogate pair; accepted: text that UTF-8 can hold") from error
    if odd := [c for field in fields for c in row[field] if unicodedata.category(c) == "Cc" and c not in ALLOWED]:
        raise PassagesError(f"{where}: a control character, {shown(repr(odd[0]))}; accepted: none but tabs and line breaks")
    return Passage(row["emotion"], row["topic"], row["text"])
