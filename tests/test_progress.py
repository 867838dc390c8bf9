"""The line that shows progress: silent in a log, but for what has to stay."""

from __future__ import annotations

from fixtures.progress import Progress


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
