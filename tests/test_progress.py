"""The line that shows progress: silent in a log, but for what has to stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fixtures.bench import Settings
from fixtures.pace import Pace, pace_of
from fixtures.progress import Progress
from tests.runs import suite


def test_a_log_sees_what_is_announced_and_nothing_that_only_passes() -> None:
    told: list[str] = []
    progress = Progress(None, told.append)
    progress.begin("gpt2: blackmail/calm")
    progress.shown -= 1
    progress(100)
    progress.say("story 3 of 720")
    progress.announce("planned: 128 answers")
    assert told == ["planned: 128 answers\n"]
    assert progress.tokens == 100


def test_a_terminal_sees_both_and_the_passing_line_is_wiped_before_one_that_stays() -> None:
    seen: list[str] = []
    progress = Progress(seen.append, seen.append)
    progress.begin("gpt2: blackmail/calm")
    progress.shown -= 1
    progress(1200)
    progress.announce("planned: 128 answers")
    assert seen[0].startswith("\r\033[Kgpt2: blackmail/calm  1,200 tokens, ")
    assert seen[1:] == ["\r\033[K", "planned: 128 answers\n"]


def test_tokens_are_shown_at_most_twice_a_second() -> None:
    seen: list[str] = []
    progress = Progress(seen.append)
    progress.begin("gpt2")
    for _ in range(50):
        progress(1)
    assert seen == []
    progress.announce("nobody listens")


def shown_after(progress: Progress, seen: list[str], tokens: int, seconds: float) -> str:
    """The line after tokens that took so many seconds since the first case began."""
    progress.shown -= 1
    progress.begun = (progress.begun or 0.0) - seconds
    progress(tokens)
    return seen[-1]


def test_what_is_left_of_known_totals_is_told_in_tokens_and_time() -> None:
    seen: list[str] = []
    progress = Progress(seen.append)
    progress.expect({"blackmail/calm": 1000, "blackmail/sad": 0, "flip/fear": 3000})
    progress.begin("gpt2: blackmail/calm", "blackmail/calm")
    assert "  500 of 4,000 tokens, " in shown_after(progress, seen, 500, 20.0)
    assert seen[-1].endswith(", about 2 min left")  # 20 s for 500, 3,500 to come
    progress.begin("gpt2: blackmail/sad", "blackmail/sad")
    progress.begin("gpt2: flip/fear", "flip/fear")
    assert "  1,500 of 3,500 tokens, " in shown_after(progress, seen, 1000, 10.0)  # calm took half of what it was thought to
    assert seen[-1].endswith(", about 40 s left")  # 30 s for 1,500, 2,000 to come
    progress.end()
    assert progress.counted == {"blackmail/calm": 500, "blackmail/sad": 0, "flip/fear": 1000}


def test_a_case_that_was_recorded_before_or_broke_counts_as_no_measurement() -> None:
    progress = Progress(None)
    progress.expect({"blackmail/calm": 1000, "flip/fear": 3000})
    progress.begin("gpt2: blackmail/calm", "blackmail/calm")
    progress.forget()
    progress.begin("gpt2: flip/fear", "flip/fear")
    progress(3000)
    progress.end()
    assert progress.counted == {"flip/fear": 3000}
    assert progress.left() == 0


def test_no_time_is_told_early_nor_where_totals_are_not_known_nor_beyond_them() -> None:
    seen: list[str] = []
    progress = Progress(seen.append)
    progress.begin("gpt2: flip/fear", "flip/fear")
    assert seen == []
    assert shown_after(progress, seen, 500, 20.0).endswith("500 tokens, 0 s")
    progress = Progress(seen.append)
    progress.expect({"flip/fear": 1000})
    progress.begin("gpt2: flip/fear", "flip/fear")
    assert shown_after(progress, seen, 500, 1.0).endswith("500 of 1,000 tokens, 0 s")
    assert shown_after(progress, seen, 700, 20.0).endswith("1,200 tokens, 0 s")


def test_counts_are_kept_the_larger_of_each_and_a_damaged_file_is_none(tmp_path: Path) -> None:
    pace = Pace(tmp_path / "new" / "a.plan.json")
    assert pace.known() == {}
    pace.keep({"a": 10, "b": 0})
    pace.keep({"a": 4, "c": 5})
    assert pace.known() == {"a": 10, "b": 0, "c": 5}
    assert [path.name for path in pace.path.parent.iterdir()] == ["a.plan.json"]
    for content in ("", "[1]", '{"a": "x"}', '{"a": null}', '{"a": -1e999}'):
        pace.path.write_text(content, "utf-8")
        assert pace.known() == {}
    (tmp_path / "file").touch()
    Pace(tmp_path / "file" / "a.plan.json").keep({"a": 1})  # not a word


def test_another_size_or_profile_has_another_file_and_other_weights_have_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ours = ("gpt2", 12, 768, 50257, "0123456789ab", Settings())
    others = [("llama", *ours[1:]), ("gpt2", 24, *ours[2:]), (*ours[:4], "other", Settings()), (*ours[:5], Settings(profile="full"))]
    assert len({pace_of(*given).path for given in (ours, *others)}) == 5  # type: ignore[arg-type]
    assert pace_of(*ours) == pace_of(*ours[:5], Settings(seed=3))


def test_a_run_tells_the_time_that_is_left_from_what_the_plan_or_an_earlier_run_counted(tmp_path: Path) -> None:
    words = ("--model", "reference-xxs", "-k", "kinds or cross", "-q", "--output-path", str(tmp_path / "runs"))
    planned = suite(*words, "--plan", XDG_CACHE_HOME=str(tmp_path))
    assert planned.returncode == 0, planned.stdout
    folder = tmp_path / "emotion-steering-referee" / "activations"
    (file,) = folder.glob("*.plan.json")
    before = json.loads(file.read_text("utf-8"))
    assert suite(*words, XDG_CACHE_HOME=str(tmp_path)).returncode in (0, 1)
    # the run looked in the same place, and counted what the plan had foretold
    assert [path.name for path in folder.glob("*.plan.json")] == [file.name]
    assert json.loads(file.read_text("utf-8")) == before
    assert sum(before.values()) > 10_000
    # a case that is not applicable has its count too, so that the next run knows all of them
    assert suite(*words[:2], "-k", "flip and fear", *words[4:], XDG_CACHE_HOME=str(tmp_path)).returncode in (0, 1)
    assert set(json.loads(file.read_text("utf-8"))) - set(before) == {"flip/fear-contrast"}
    suite(*words[2:], "--model", "nowhere", "--clear-cache", XDG_CACHE_HOME=str(tmp_path))
    assert file.exists()  # a model that is not there ends the run before anything is cleared
    suite(*words[:2], "-k", "intensity", *words[4:], "--clear-cache", "--no-cache", XDG_CACHE_HOME=str(tmp_path))
    assert not list(folder.glob("*.plan.json"))
