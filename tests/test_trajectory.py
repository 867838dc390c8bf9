"""The trajectory over sessions: a planted rise, peak or fall is found and nothing else; what other work shows as well cancels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.acts import NO_ACTS, PHASES, Session
from cases.claims import load_claims
from cases.emotions import load_emotions
from cases.stimuli import Passage
from fixtures import trajectory
from fixtures.activations import Activations
from fixtures.bench import Bench, Settings
from fixtures.directions import mixed_directions
from fixtures.models import Subject, encode
from fixtures.trajectory import differences, measure, steps, weights
from fixtures.verdicts import INCONCLUSIVE, REFUTED, SUPPORTED, Judgement, Measurement, NotApplicable, judge
from tests.planted import few_stimuli, null
from tests.tiny import CONTEXT, LAYERS, WIDTH, build, streams, tiny

CLAIM = load_claims()["trajectory"]
STATEMENTS = ("rising", "peak", "subsiding")
PATTERNS = np.linalg.pinv(np.stack([weights(statement) for statement in STATEMENTS])).T
"""A course of steps for each statement on which its own contrast is 1 and those of the others are 0."""

COUNT = 18
EMOTIONS = tuple(emotion for emotion in load_emotions() if emotion.name in ("desperate", "calm", "happy", "sad"))
STIMULI = few_stimuli(
    emotions=EMOTIONS,
    implicit=tuple(Passage(e.name, f"topic {t}", f"{e.name} {t}") for e in EMOTIONS for t in range(3)),
    neutral=tuple(f"neutral {i}" for i in range(8)),
    acts=replace(NO_ACTS, sessions=tuple(Session(f"s{i}", (f"coding {i}",), (f"other {i}",)) for i in range(COUNT))),
)


def bench(read: np.ndarray | None = None, seed: int = 0) -> Bench:
    """Return a bench whose vectors are made of random activations; `read` is coding less other work, (sessions, steps, width)."""
    rng = np.random.default_rng(0)
    captured = {
        key: Activations(rng.normal(size=(count, 1, WIDTH)).astype(np.float32), (1,))
        for key, count in (("implicit", len(STIMULI.implicit)), ("neutral", len(STIMULI.neutral)))
    }
    measured = {} if read is None else {"sessions": read}
    return Bench(lambda: tiny("llama"), STIMULI, Settings(seed, layer=1), _captured=captured, _measured=measured)


def own(name: str = "desperate") -> np.ndarray:
    return np.asarray(bench().vectors("implicit").unit[STIMULI.names.index(name)])


def course(pattern: np.ndarray, size: float = 1.0, seed: int = 0, noise: float = 0.1) -> np.ndarray:
    """Return sessions that move along the emotion's direction as the pattern says, in noise."""
    drawn = np.random.default_rng(seed).normal(size=(COUNT, len(PHASES), WIDTH))
    return np.asarray(size * pattern[:, None] * own() + noise * drawn)


def measured(read: np.ndarray, statement: str, seed: int = 0) -> tuple[Measurement, Judgement]:
    case = CLAIM.case(statement)
    m = measure(bench(read, seed), case)
    return m, judge(m, CLAIM, case, np.random.default_rng(seed))


# contrasts of steps


@pytest.mark.parametrize("statement", STATEMENTS)
def test_the_weights_of_a_contrast_sum_to_0_so_that_a_level_decides_nothing(statement: str) -> None:
    found = weights(statement)
    assert found.shape == (len(PHASES),)
    assert found.sum() == pytest.approx(0, abs=1e-12)
    assert np.abs(found).max() > 0.1


def test_the_weights_by_hand() -> None:
    np.testing.assert_allclose(weights("rising"), [-0.2, -0.1, 0, 0.1, 0.2, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(weights("peak"), [-1 / 7] * 5 + [1] + [-1 / 7] * 2)
    np.testing.assert_allclose(weights("subsiding"), [0] * 5 + [1, -0.5, -0.5])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_rising_is_the_slope_of_a_line_through_the_failures_peak_and_subsiding_are_differences_of_means(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=len(PHASES))
    assert weights("rising") @ values == pytest.approx(np.polyfit(np.arange(5), values[:5], 1)[0])
    assert weights("peak") @ values == pytest.approx(values[5] - np.delete(values, 5).mean())
    assert weights("subsiding") @ values == pytest.approx(values[5] - values[6:].mean())


# planted courses


@pytest.mark.parametrize("planted", STATEMENTS)
def test_a_planted_course_is_found_by_its_own_statement_and_by_no_other(planted: str) -> None:
    read = course(PATTERNS[STATEMENTS.index(planted)])
    for statement in STATEMENTS:
        m, found = measured(read, statement)
        assert (found.verdict == SUPPORTED) == (statement == planted)
        contrast = np.mean([row["contrast"] for row in m.items])
        assert contrast == pytest.approx(float(statement == planted), abs=0.15)
    m, found = measured(read, planted)
    assert (found.estimate.clusters, m.layer, m.scores.min()) == (COUNT, 1, 1.0)  # type: ignore[union-attr]


@pytest.mark.parametrize("planted", STATEMENTS)
def test_a_course_turned_round_is_refuted_as_reversed(planted: str) -> None:
    found = measured(course(-PATTERNS[STATEMENTS.index(planted)]), planted)[1]
    assert (found.verdict, found.reason) == (REFUTED, "reversed")


def test_noise_is_supported_in_at_most_5_per_cent_and_centres_on_one_half() -> None:
    found, values = Counter[str](), []
    for seed in range(15):
        read = course(np.zeros(len(PHASES)), seed=seed)
        for statement in STATEMENTS:
            judged = measured(read, statement, seed)[1]
            found[judged.verdict] += 1
            values.append(judged.estimate.value)
    assert found[SUPPORTED] <= 2
    assert np.mean(values) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_course_that_every_direction_shows_is_not_supported(statement: str) -> None:
    b = bench()
    everything = np.concatenate([own()[None], mixed_directions(b, "random directions, sessions")])
    shared = np.linalg.pinv(everything) @ np.ones(len(everything))  # reads as 1 on the emotion and on every random direction
    noise = 0.1 * np.random.default_rng(0).normal(size=(COUNT, len(PHASES), WIDTH))
    read = PATTERNS[STATEMENTS.index(statement)][:, None] * shared + noise
    assert measured(read, statement)[1].verdict != SUPPORTED


def test_sessions_that_yield_no_number_conclude_nothing() -> None:
    read = course(np.arange(len(PHASES), dtype=float))
    read[:2] = np.nan
    found = measured(read, "rising")[1]
    assert (found.verdict, found.reason) == (INCONCLUSIVE, "the interval cannot be computed")


def test_another_emotions_course_is_not_desperations() -> None:
    moved = course(np.zeros(len(PHASES))) + PATTERNS[0][:, None] * (own("calm") - own("calm") @ own() * own())
    assert measured(moved, "rising")[1].verdict != SUPPORTED


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(STATEMENTS), st.integers(0, 100), st.floats(0.01, 100))
def test_a_shift_of_all_steps_and_the_size_of_activations_change_no_figure(statement: str, seed: int, scale: float) -> None:
    read = course(PATTERNS[0], 0.05, seed)
    shift = 3 * np.random.default_rng(seed).normal(size=(COUNT, 1, WIDTH))
    before, after = measured(read, statement)[0], measured(scale * (read + shift), statement)[0]
    assert [row["score"] for row in after.items] == pytest.approx([row["score"] for row in before.items])
    assert null(after, "random directions").draws == pytest.approx(null(before, "random directions").draws)


def test_scores_are_shares_of_random_directions_below_and_each_of_those_is_ranked_in_the_place_of_the_judged_one() -> None:
    m, _ = measured(course(PATTERNS[1], 0.1, 3), "peak")
    b = bench(course(PATTERNS[1], 0.1, 3))
    drawn = mixed_directions(b, "random directions, sessions")
    contrast = np.einsum("ktd,t->kd", differences(b) @ np.concatenate([own()[None], drawn]).T, weights("peak"))
    np.testing.assert_allclose([row["score"] for row in m.items], [np.mean(row[1:] < row[0]) for row in contrast])
    others = [np.mean([np.mean(np.delete(row, 1 + i) < row[1 + i]) for row in contrast]) for i in range(len(drawn))]
    np.testing.assert_allclose(null(m, "random directions").draws, others)
    assert null(m, "random directions").guards
    assert np.mean([*others, np.mean([row["score"] for row in m.items])]) == pytest.approx(0.5)
    assert null(m, "chance").level == 0.5


def test_the_details_tell_the_read_out_of_every_step_beside_that_of_random_directions() -> None:
    read = course(PATTERNS[2])
    rows = measured(read, "subsiding")[0].details["trajectory"]
    drawn = (read @ mixed_directions(bench(), "random directions, sessions").T).mean(axis=0)
    assert [(row["step"], row["phase"]) for row in rows] == list(enumerate(PHASES, 1))
    np.testing.assert_allclose([row["desperate"] for row in rows], (read @ own()).mean(axis=0))
    for name, level in (("random, 5th percentile", 0.05), ("random, 95th percentile", 0.95)):
        np.testing.assert_allclose([row[name] for row in rows], np.quantile(drawn, level, axis=1))


def test_an_emotion_without_passages_is_not_applicable() -> None:
    b = bench(course(PATTERNS[0]))
    b.stimuli = replace(STIMULI, emotions=tuple(e for e in EMOTIONS if e.name != "desperate"))
    with pytest.raises(NotApplicable, match="no passages of 'desperate'"):
        measure(b, CLAIM.case("rising"))


# coding less other work


def planted_steps(monkeypatch: pytest.MonkeyPatch, seen: dict[Sequence[str], np.ndarray]) -> np.ndarray:
    """Return what `differences` makes of transcripts whose steps are read as `seen` says."""
    monkeypatch.setattr(trajectory, "steps", lambda _bench, parts: seen[parts])
    return differences(bench())


@pytest.mark.parametrize("kind", ["shift", "drift", "course"])
def test_what_both_transcripts_show_cancels_and_what_coding_alone_shows_stays(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    rng, sessions = np.random.default_rng(0), STIMULI.acts.sessions
    seen = {parts: rng.normal(size=(len(PHASES), WIDTH)) for s in sessions for parts in (s.coding, s.other)}
    plain = planted_steps(monkeypatch, seen)
    np.testing.assert_allclose(plain, [seen[s.coding] - seen[s.other] for s in sessions])
    place = np.arange(len(PHASES))
    both = {"shift": np.ones(len(PHASES)), "drift": place - 3.0, "course": PATTERNS.sum(axis=0)}[kind][:, None] * own()
    moved = {parts: values + 5 * both for parts, values in seen.items()}
    np.testing.assert_allclose(planted_steps(monkeypatch, moved), plain, atol=1e-9)
    own_only = {parts: values + 5 * both * (parts[0].startswith("coding")) for parts, values in seen.items()}
    np.testing.assert_allclose(planted_steps(monkeypatch, own_only), plain + 5 * both, atol=1e-9)


def test_transcripts_are_read_once_for_all_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Sequence[str]] = []
    monkeypatch.setattr(trajectory, "steps", lambda _bench, parts: asked.append(parts) or np.zeros((len(PHASES), WIDTH)))
    b = bench()
    for statement in STATEMENTS:
        measure(b, CLAIM.case(statement))
    assert asked == [parts for s in STIMULI.acts.sessions for parts in (s.coding, s.other)]


# reading a transcript

PARTS = ("He sat on the hill.", "The boat was gone", "Glad, he ran down, and no dog was there.", "So", "The rain came over the sea")


def reader(subject: Subject, layer: int = 1, joint: str = " ") -> Bench:
    acts = replace(NO_ACTS, formats=replace(NO_ACTS.formats, step=joint))
    return Bench(lambda: subject, replace(STIMULI, acts=acts), Settings(layer=layer))


def by_hand(subject: Subject, parts: Sequence[str], layer: int, joint: str = " ") -> np.ndarray:
    """Return each step's mean over the tokens that it adds to the transcript, from a plain pass."""
    own_ids = [encode(subject, part if i == 0 else joint + part) for i, part in enumerate(parts)]
    whole = [token for ids in own_ids for token in ids]
    assert whole == encode(subject, joint.join(parts))
    stream = streams(subject, torch.tensor([whole]))[layer][0].double().numpy()
    ends = np.cumsum([len(ids) for ids in own_ids])
    return np.stack([stream[end - len(ids) : end].mean(axis=0) for ids, end in zip(own_ids, ends, strict=True)])


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "falcon", "gemma3", "mixtral"])
@pytest.mark.parametrize("layer", [0, LAYERS - 1])
def test_every_step_is_the_mean_of_a_plain_passs_stream_over_its_own_tokens(architecture: str, layer: int) -> None:
    subject = tiny(architecture)
    found = steps(reader(subject, layer), PARTS)
    assert found.shape == (len(PARTS), WIDTH)
    np.testing.assert_allclose(found, by_hand(subject, PARTS, layer), rtol=1e-4, atol=1e-4)


def test_a_step_is_read_after_all_earlier_steps_and_knows_nothing_of_later_ones() -> None:
    b = reader(tiny("llama"))
    whole, cut, moved = steps(b, PARTS), steps(b, PARTS[:3]), steps(b, (*PARTS[1:2], *PARTS[:1], *PARTS[2:]))
    np.testing.assert_allclose(cut, whole[:3], atol=1e-5)
    assert np.abs(moved[2] - whole[2]).max() > 0.01


def test_the_blocks_above_rest_and_no_hook_stays() -> None:
    subject = build("llama")
    ran: list[int] = []
    handles = [block.register_forward_hook(lambda *_, i=i: ran.append(i)) for i, block in enumerate(subject.blocks)]
    steps(reader(subject, layer=0), PARTS)
    assert max(ran, default=0) == 0
    for handle in handles:
        handle.remove()
    assert not any(block._forward_hooks for block in subject.blocks)


def test_the_same_transcript_on_both_sides_says_nothing() -> None:
    texts = tuple(f"The dog sat {i}." for i in range(len(PHASES)))
    b = bench()
    b.stimuli = replace(STIMULI, acts=replace(NO_ACTS, sessions=tuple(Session(f"s{i}", texts, texts) for i in range(COUNT))))
    assert (differences(b) == 0).all()
    m = measure(b, CLAIM.case("rising"))
    assert [row["score"] for row in m.items] == [0.5] * COUNT
    assert judge(m, CLAIM, CLAIM.case("rising"), np.random.default_rng(0)).verdict != SUPPORTED


def test_a_special_token_before_the_transcript_is_no_part_of_its_first_step() -> None:
    subject = build("llama", bos=True)
    ids = encode(subject, " ".join(PARTS))
    first = encode(subject, PARTS[0])
    assert ids[: len(first)] == first
    stream = streams(subject, torch.tensor([ids]))[1][0].numpy()
    np.testing.assert_allclose(steps(reader(subject), PARTS)[0], stream[1 : len(first)].mean(axis=0), rtol=1e-4, atol=1e-4)


def test_a_session_longer_than_the_context_is_not_applicable_and_one_that_fits_exactly_is_read() -> None:
    subject = tiny("gpt2")
    fits = ["glad"] * (CONTEXT - len(encode(subject, "glad")) + 1)
    assert len(encode(subject, " ".join(fits))) == CONTEXT
    assert steps(reader(subject), fits).shape == (len(fits), WIDTH)
    with pytest.raises(NotApplicable, match=f"^its context of {CONTEXT} tokens is too short for a session of {CONTEXT + 1}$"):
        steps(reader(subject), [*fits, "glad"])
