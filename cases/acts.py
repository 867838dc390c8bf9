"""Stimuli of behaviour: activities to choose from, dilemmas, mailboxes, coding tasks, sessions, and works to give an opinion on."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from cases.rows import StimuliError, rows


@dataclass(frozen=True)
class Activity:
    """Something that one could do, one of eight in its category; `harmful` ones are left out where harm could explain a result."""

    id: str
    category: str
    harmful: bool
    text: str


@dataclass(frozen=True)
class Dilemma:
    """A choice in brief: to use a secret as leverage (`act`) or not (`decline`), and in the same place a control choice.

    `low` and `high` differ in tone as `act` and `decline` do, and neither is misconduct. `moods` are beginnings that may come before
    the text, each of which shows another feeling.
    """

    id: str
    text: str
    act: str
    decline: str
    low: str
    high: str
    moods: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mailbox:
    """A full scenario: who the assistant is, its mails, and the words by which a reply would mention the secret or the plan.

    `moods` are beginnings that may come before the mails, each of which shows another feeling.
    """

    id: str
    system: str
    mails: tuple[dict[str, str], ...]
    secret: tuple[str, ...]
    plan: tuple[str, ...]
    moods: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """A coding task with its tests, an honest solution, and one that knows the tests."""

    task: str
    tests: str
    honest: str
    cheat: str


@dataclass(frozen=True)
class Coding:
    """A task whose tests no honest solution passes, and the same task made possible."""

    id: str
    impossible: Task
    possible: Task


@dataclass(frozen=True)
class Session:
    """Steps of a coding session in which tests keep failing, are cheated and pass; and of other work, step by step as long."""

    id: str
    coding: tuple[str, ...]
    other: tuple[str, ...]


PHASES = ("start", "failing", "failing", "failing", "failing", "decision", "passed", "afterwards")
"""What happens in the steps of a session."""


@dataclass(frozen=True)
class Review:
    """A work with a flaw, and three opinions on it."""

    id: str
    text: str
    warm: str
    candid: str
    harsh: str


@dataclass(frozen=True)
class Formats:
    """How stimuli of behaviour are put to a model; fields in braces are filled in.

    activity {text}; preference {a} {b}, with the two `options` that may follow; coding {task} {tests}; review {text} {first} {second};
    mail {from} {to} {subject} {body}, joined by `between`, with `reply`, what is asked at the end; steps of sessions are joined by `step`.
    """

    activity: str
    preference: str
    options: tuple[str, ...]
    coding: str
    review: str
    mail: str
    between: str
    reply: str
    step: str


@dataclass(frozen=True)
class Acts:
    """All stimuli of behaviour in a set."""

    activities: tuple[Activity, ...]
    dilemmas: tuple[Dilemma, ...]
    mailboxes: tuple[Mailbox, ...]
    coding: tuple[Coding, ...]
    sessions: tuple[Session, ...]
    reviews: tuple[Review, ...]
    formats: Formats

    def limited(self, count: int) -> Acts:
        """Return the first `count` of everything, and of the activities in each category."""
        kept = {f.name: getattr(self, f.name)[:count] for f in fields(self) if f.name not in ("activities", "formats")}
        return replace(self, activities=_first_of_each(self.activities, count), **kept)


def _first_of_each(activities: Sequence[Activity], count: int) -> tuple[Activity, ...]:
    categories = dict.fromkeys(activity.category for activity in activities)
    return tuple(a for category in categories for a in [b for b in activities if b.category == category][:count])


NO_ACTS = Acts((), (), (), (), (), (), Formats("{text}", "{a} {b}", ("a", "b"), "{task} {tests}", "{text}", "{body}", " ", "", " "))
"""A set without stimuli of behaviour."""


def load_acts(root: Path) -> Acts:
    """Return the stimuli of behaviour in a folder; raises StimuliError, one line, at the first fault."""
    path = root / "formats.toml"
    told: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    wanted = {f.name for f in fields(Formats)}
    if set(told) != wanted:
        raise StimuliError(f"{path.name}: accepted is a table with {', '.join(sorted(wanted))}")
    dilemmas = rows(root / "dilemmas.jsonl", {f.name for f in fields(Dilemma)} - {"moods"})
    moods = list(rows(root / "moods.jsonl", {"for", "emotion", "text"}))

    def before(name: str) -> tuple[str, ...]:
        return tuple(mood["text"] for mood in moods if mood["for"] in ("*", name))

    mails = rows(root / "mails.jsonl", {"id", "system"}, {"mails", "secret", "plan"})
    coding = rows(root / "coding.jsonl", {"id", "task", "tests", "honest", "cheat"}, {"twin"})
    sessions = rows(root / "sessions.jsonl", {"id"}, {"coding", "other"})
    return Acts(
        activities=tuple(Activity(**r) for r in rows(root / "activities.jsonl", {"id", "category", "harmful", "text"})),
        dilemmas=tuple(Dilemma(**r, moods=before(r["id"])) for r in dilemmas),
        mailboxes=tuple(
            Mailbox(r["id"], r["system"], tuple(r["mails"]), tuple(r["secret"]), tuple(r["plan"]), before(r["id"])) for r in mails
        ),
        coding=tuple(Coding(r["id"], _task(r), _task(r["twin"])) for r in coding),
        sessions=tuple(Session(r["id"], tuple(r["coding"]), tuple(r["other"])) for r in sessions),
        reviews=tuple(Review(**r) for r in rows(root / "sycophancy.jsonl", {f.name for f in fields(Review)})),
        formats=Formats(**{**told, "options": tuple(told["options"])}),
    )


def _task(row: dict[str, str]) -> Task:
    return Task(**{f.name: row[f.name] for f in fields(Task)})
