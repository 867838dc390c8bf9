"""The arithmetic of the report on speed; nothing here asserts a time."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fixtures.activations import capture
from fixtures.continuations import continuations
from fixtures.models import encode
from fixtures.perf import capturing, costs, overhead, report, scores, warm
from fixtures.perf.__main__ import options
from fixtures.perf.forwards import Forwards
from fixtures.perf.models import LADDER, TOKENIZER, Absent, Measured, build_gpt2, tokenizer_folder
from fixtures.perf.peers import PEERS, Peer
from fixtures.perf.resident import peak_bytes
from fixtures.perf.section import MISSED, REACHED, Goal, Section, exponent, seconds, times, why
from fixtures.perf.timings import Slope, Spread, Timings, interleaved, log_log_slope, spread
from fixtures.reference import REFERENCES
from fixtures.scoring import word_logprobs
from tests import tiny


def test_a_ratio_is_of_the_rounds_not_of_the_medians() -> None:
    # a machine that is three times slower in some rounds is so for both ways
    taken = Timings({"a": (1.0, 3.0, 30.0, 1.0, 2.0), "b": (0.5, 1.5, 15.0, 0.5, 0.5)})
    assert taken.ratio("a", "b") == Spread(2.0, 2.0, 2.0)
    assert taken.of("a").median == 2.0
    assert spread([1, 2, 3, 4, 5]) == Spread(3.0, 2.0, 4.0)
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_rounds_begin_with_every_way_in_turn_and_the_first_counts_nothing() -> None:
    said: list[str] = []
    taken = interleaved({name: lambda name=name: said.append(name) for name in "abc"}, 3, lambda: said.append("|"))  # type: ignore[misc]
    rounds = "".join(said).replace("|", "")
    assert rounds == "cab" + "abc" + "bca" + "cab"
    assert "".join(said).startswith("|c||a||b|"), "what an accelerator still does is waited for before and after"
    assert {name: len(found) for name, found in taken.seconds.items()} == {"a": 3, "b": 3, "c": 3}


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_a_planted_exponent_comes_back_within_its_interval(power: float) -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        sizes = np.repeat([10, 20, 40, 80], 5)
        found = log_log_slope(sizes, 3 * sizes**power * np.exp(rng.normal(0, 0.1, len(sizes))))
        hits += found.low <= power <= found.high
        assert found.points == 20
    assert 180 <= hits <= 199


@pytest.mark.parametrize(("sizes", "costs"), [([1, 2], [1, 2]), ([3, 3, 3], [1, 2, 3]), ([1, 2, 4], [1, 0, 2])])
def test_no_slope_without_points(sizes: list[float], costs: list[float]) -> None:
    with pytest.raises(ValueError, match="three positive points"):
        log_log_slope(sizes, costs)


@pytest.mark.parametrize(
    ("value", "bound", "at_most", "outcome"),
    [(1.04, 1.05, True, REACHED), (1.06, 1.05, True, MISSED), (8.1, 8, False, REACHED), (7.9, 8, False, MISSED)],
)
def test_a_goal_is_reached_or_missed(value: float, bound: float, at_most: bool, outcome: str) -> None:
    assert Goal("g", value, bound, at_most).outcome == outcome
    assert Goal("g", float("nan"), bound, at_most).outcome == MISSED


def test_the_report_names_what_is_missing_and_every_goal(tmp_path: Path) -> None:
    goals = (Goal("fast enough", 1.234, 1.05), Goal("many times faster", 9.0, 8.0, at_most=False))
    section = Section("Title", "What it says.", ("model", "time"), (("m", "1.0"),), goals, {"peer 1.0": "ImportError: gone"}, {"m": [1.0]})
    empty = Section("Nothing", "Broken.", (), (), missing={"all": "ValueError: bad"})
    written, figures = report.write(tmp_path / "new", {"processor": "p"}, [section, empty])
    text = written.read_text(encoding="utf-8")
    assert "- peer 1.0: ImportError: gone" in text
    for said in ("| fast enough", "1.23", "at most 1.05", MISSED, "at least 8", REACHED, "Nothing was measured.", "- all: ValueError: bad"):
        assert said in text
    told = json.loads(figures.read_text(encoding="utf-8"))
    assert told["machine"] == {"processor": "p"}
    assert told["sections"]["Title"]["data"] == {"m": [1.0]}
    assert told["sections"]["Title"]["goals"][0] == {
        "goal": "fast enough",
        "value": 1.234,
        "bound": 1.05,
        "at most": True,
        "outcome": MISSED,
    }


def test_figures_are_written_with_their_spread() -> None:
    assert seconds(Spread(1.0, 0.5, 2.0)) == "1.000 s [0.500, 2.000]"
    assert times(Spread(1.5, 1.0, 2.0)) == "1.50 [1.00, 2.00]"
    assert exponent(Slope(1.0, 0.9, 1.1, 8)) == "1.00 [0.90, 1.10]"
    assert why(ValueError("first\nsecond")) == "ValueError: first"
    assert why(KeyError()) == "KeyError: no message"


def test_families_add_up_to_the_whole_run_the_costliest_first() -> None:
    tests = [
        {"family": "a", "seconds": 4.0, "forward": 3.9},
        {"family": "b", "seconds": 3.0, "forward": 1.0},
        {"family": "a", "seconds": 1.0, "forward": 1.0},
    ]
    rows = overhead.by_family({"tests": tests, "wall": 10.5, "forward": 6.0})
    assert [row[0] for row in rows][1:] == ["b", "a"]
    assert rows[0][1:] == pytest.approx((2.5, 0.1)), "what is outside the claims"
    assert sum(row[1] for row in rows) == pytest.approx(10.5)
    assert sum(row[2] for row in rows) == pytest.approx(6.0)
    assert overhead.row("m", "a", 3.0, 2.0)[-1] == "1.50"
    assert overhead.row("m", "a", 3.0, 0.0)[-1] == "-"


@pytest.mark.slow
def test_a_second_run_makes_no_forward_pass_that_the_first_kept() -> None:
    section = warm.measure({"tiny": "reference-xxs", "none": "no-such-model"}, ("separation",))
    ((_, first, *_), (_, second, *_)) = section.rows
    assert (first, second) == ("empty", "warm")
    (_, _, cold), (_, _, again) = section.data["tiny"]
    assert 0 < again < cold, "the norms of the residual stream are measured anew"
    assert list(section.missing) == ["none"]
    assert "no-such-model" in section.missing["none"]
    assert [goal.bound for goal in section.goals] == [0.10]


def test_the_peak_is_of_this_process_alone(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n")
    assert peak_bytes(tmp_path / "status") == 2048 * 1024
    assert peak_bytes(tmp_path / "none") > 1 << 24


def ticking(timer: Forwards) -> Forwards:
    ticks = count()
    timer.clock = lambda: float(next(ticks))  # type: ignore[method-assign]
    return timer


def test_the_outermost_forward_pass_is_timed_without_what_is_read_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timer = ticking(Forwards(tmp_path / "told.json"))
    subject = tiny.build("llama")
    monkeypatch.setattr(type(subject.model), "__call__", lambda model, *a, **k: timer.call(model, *a, **k), raising=False)
    monkeypatch.setattr(type(subject.model.model), "__call__", lambda model, *a, **k: timer.call(model, *a, **k), raising=False)
    ids = tiny.tokens(2, 5)
    subject.model(input_ids=ids, use_cache=False)
    assert (timer.calls, timer.tokens) == (1, 10), "the decoder inside the model is no second pass"
    assert timer.seconds == 1.0

    import fixtures.activations as module

    monkeypatch.setattr(module, "recording", timer.recording(module.recording))
    plain = capture(subject, [list(range(5, 12))], layers=[0, 1])
    assert timer.calls == 2, "a pass that ends early, by an exception, counts"
    # two readings of one tick each, and the pass that holds them: 1 + 2 * 2 ticks
    assert timer.reading == 2.0
    assert timer.inside == 1.0 + 5.0
    assert timer.depth == 0
    monkeypatch.undo()
    np.testing.assert_array_equal(plain.values, capture(subject, [list(range(5, 12))], layers=[0, 1]).values)
    timer.pytest_unconfigure()
    told = json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))
    assert (told["forward"], told["calls"]) == (4.0, 2)
    assert told["peak_bytes"] > 1 << 24


def test_one_forward_per_vector_gives_the_scores_of_the_suite() -> None:
    subject, vectors = tiny.tiny("gpt2"), tiny.directions(3)
    words = (*tiny.SINGLE, *tiny.SEVERAL)
    plan = continuations(subject, "She felt", words)
    assert len({len(leaf) for leaf in plan.leaves()}) > 1, "rows of different lengths"
    found = scores.one_each(subject, plan, 1, vectors)
    np.testing.assert_allclose(found, word_logprobs(subject, "She felt", words, layer=1, vectors=vectors), atol=1e-4)
    ids, mask = scores.right_padded(plan, 0)
    assert ids.shape == mask.shape == (len(plan.leaves()), mask.shape[1])
    assert mask.sum(1).tolist() == [len(plan.prompt) + len(leaf) for leaf in plan.leaves()]
    assert set(scores.ways(subject, ["She felt"], words, 1, vectors)) == {scores.OURS, scores.EACH, scores.PLAIN}
    assert scores.depths(subject) == {"two thirds": 1, "half": 0}


class Passages:
    """Stimuli that hold nothing but passages."""

    def passages(self, kind: str) -> list[Any]:
        assert kind == "implicit"
        return [type("Passage", (), {"text": text}) for text in tiny.SENTENCES]


def measured(architecture: str = "llama") -> Measured:
    return Measured(tiny.tiny(architecture), Passages())  # type: ignore[arg-type]


def test_every_model_of_the_ladder_is_there() -> None:
    assert set(LADDER) <= set(REFERENCES)


def test_other_ways_to_read_are_reduced_as_capture_does(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured()
    texts = found.texts(9)
    assert texts[7] == texts[0], "passages begin again"
    made = capturing.batched(found, [encode(found.subject, text) for text in texts])
    ours = capture(found.subject, texts).values
    theirs = capturing.pooled(found, made, capturing.stated(found))
    np.testing.assert_allclose(theirs[:, :-1], ours[:, :-1], atol=1e-5)
    assert np.abs(theirs[:, -1] - ours[:, -1]).max() > 1e-2, "transformers' last state has the final norm applied"


def test_a_library_that_is_missing_or_reads_something_else_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(subject: Any) -> Any:
        raise ModuleNotFoundError("No module named 'gone'")

    def wrong(subject: Any) -> Any:
        return lambda batch: [torch.zeros(*batch.ids.shape, subject.width)] * subject.layers

    peers = (Peer("no-such-package", gone), Peer("numpy", wrong))
    monkeypatch.setattr(capturing, "PEERS", peers)
    found, missing = capturing.ways(measured(), 4)
    assert set(found) == {capturing.BARE, capturing.OURS, capturing.TEXTS, capturing.STATED}
    label = measured().label
    assert missing[f"no-such-package (not installed) on {label}"] == "ModuleNotFoundError: No module named 'gone'"
    assert missing[f"numpy {np.__version__} on {label}"].startswith("ValueError: it reads something else")


def test_sections_are_made_of_tiny_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capturing, "PEERS", ())
    section = capturing.measure({"a": measured, "b": lambda: measured("gpt2")}, 3, 4)
    assert [row[:2] for row in section.rows[:2]] == [("a", capturing.BARE), ("a", capturing.OURS)]
    assert [goal.text[-1] for goal in section.goals] == ["a", "b"]
    assert len(section.data["b"][capturing.OURS]) == 3
    assert {peer.package for peer in PEERS} == {"transformer-lens", "nnsight", "steering-vectors", "repeng"}


def test_costs_are_fitted_over_all_rounds() -> None:
    taken = Timings({"10": (1.0, 1.1), "20": (2.0, 2.2), "40": (4.0, 4.4)})
    assert costs.points(taken, {"10": 10.0, "20": 20.0, "40": 40.0}) == ([10, 10, 20, 20, 40, 40], [1.0, 1.1, 2.0, 2.2, 4.0, 4.4])
    row = costs.line("passages", "m", taken, {"10": 10.0, "20": 20.0, "40": 40.0})
    assert row[:3] == ("passages", "m", "10 to 40")
    assert row[5].startswith("1.00 [")


def test_gpt2_is_built_from_a_vocabulary_or_its_absence_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKENIZER, raising=False)
    with pytest.raises(Absent, match=f"--gpt2-tokenizer or {TOKENIZER}"):
        tokenizer_folder(None)
    (tmp_path / "vocab.json").write_text("{}")
    monkeypatch.setenv(TOKENIZER, str(tmp_path))
    with pytest.raises(Absent, match=r"has no merges\.txt"):
        tokenizer_folder(None)
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    assert tokenizer_folder(str(tmp_path)) == tmp_path
    with pytest.raises(Absent, match="GPT-2 has 50257"):
        build_gpt2(tmp_path, tmp_path / "built")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "speed"], "--only speed: accepted: capture, scores, overhead, warm, costs, memory"),
        (["--rounds", "2"], "--rounds 2: accepted: 3 or more"),
        (["--output", __file__], "that is a file; accepted: a folder"),
    ],
)
def test_a_wrong_option_ends_with_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options(words)
    assert ended.value.code == 4
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]
