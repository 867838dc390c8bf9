"""Comparability: what must be alike before figures of two runs may be set against each other."""

from __future__ import annotations

from cases.versions import Current, as_shipped
from reports.record import Record, Run

CONDITIONS = {
    "profile": "profile",
    "layer": "judged layer",
    "emotions": "emotions",
    "passages": "passages",
    "norms": "norms of valence and arousal",
    "vectors": "given vectors",
}
"""Options that change what is asked, by the words in which they are named."""


def hashes(run: Run) -> str:
    """Return the hash of the stimuli that a run's records were made on; of several, each once."""
    return ", ".join(sorted({r.stimuli for r in run.records if r.stimuli}))


def outdated(run: Run, current: Current) -> str | None:
    """Return how a run was judged otherwise than it would be now, or None."""
    return current.outdated(run.subject, run.options, map(vars, run.records))


def conditions(run: Run) -> dict[str, str]:
    """Return under which conditions a run was made: runs that differ in one are never ranked together.

    Passages or norms of a user's own are told apart by the hash, for two files may share a name.
    """
    found = {"stimuli": str(run.subject.get("stimuli")), **{words: str(run.options.get(key)) for key, words in CONDITIONS.items()}}
    return found if as_shipped(run.options) else {**found, "stimuli hash": hashes(run)}


def condition_gaps(ours: Run, theirs: Run) -> list[str]:
    """Return a sentence for each condition that differs, ours first."""
    a, b = conditions(ours), conditions(theirs)
    return [f"other {name}: {a[name]} here, {b[name]} there" for name in a if a[name] != b.get(name, a[name])]


def record_gap(ours: Record, theirs: Record) -> str | None:
    """Return why two records of a case cannot be compared, or None where they can."""
    if ours.version != theirs.version:
        return f"other claim version: {ours.version} here, {theirs.version} there"
    if ours.stimuli != theirs.stimuli:
        return f"other stimuli or passages: {ours.stimuli} here, {theirs.stimuli} there"
    if ours.value is None or theirs.value is None:
        where, blank = ("here", ours) if ours.value is None else ("there", theirs)
        return f"no figure {where}: {blank.verdict}" + (f" ({blank.reason})" if blank.reason else "")
    return None


def named(run: Run) -> str:
    """Return a run in a few words: model, revision, device, dtype, start."""
    s = run.subject
    return f"{s.get('model')} (revision {s.get('revision', '?')}) on {s.get('device', '?')}-{s.get('dtype', '?')}, run of {run.start}"
