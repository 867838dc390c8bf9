"""Whatever a user gives, one clear line answers it or it is used: fuzzed options, case files, passages, ratings, vectors and runs."""

from __future__ import annotations

import io
import json
import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from _pytest.config.argparsing import Parser
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

import conftest as options
from cases.claims import HERE, CaseError, load_claim
from cases.emotions import NormsError, load_emotions, with_norms
from cases.passages import PassagesError, read_passages
from fixtures import plugin
from fixtures.exchange import VectorsError, read_vectors
from reports.command import CommandError
from reports.gate import evaluate
from reports.policy import read_policy
from reports.record import RecordError
from reports.show import run as show
from reports.store import read_run
from tests.fuzz import COUNTS, VALUES, WORDS, bounded, changed, gently, outcome, torn
from tests.runs import BELOW, plain_record, small_record, small_run

EMOTIONS = load_emotions()
FAST, LONG = 60, 1500


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(autouse=True)
def _some_of_both() -> Iterator[None]:
    """What a fuzz tried was used at times and refused at times; the counts are told (`-s`)."""
    before = {kind: Counter(counted) for kind, counted in COUNTS.items()}
    yield
    for kind, counted in COUNTS.items():
        new = counted - before.get(kind, Counter())
        if new.total() >= FAST:
            print(f"\n{kind}: {counted.total()} tried, {counted['accepted']} used, {counted['refused']} refused in one line")  # noqa: T201
            assert new["accepted"], f"no {kind} were ever used: the fuzz reaches nothing behind what refuses them"
            assert new["refused"], f"no {kind} were ever refused"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    here, place = Path.cwd(), tmp_path_factory.mktemp("fuzz")
    os.chdir(place)
    yield place
    os.chdir(here)
    # nothing that was refused left a trace, and nothing that was accepted wrote a file by itself
    assert {p.name for p in place.iterdir()} <= {"given", "given.toml", "given.npz", "given.safetensors", "run.json"}


def campaign(examples: int) -> Any:
    """The same test twice: short in every run, long where slow tests run."""
    return pytest.mark.parametrize("examples", [FAST, pytest.param(examples, marks=pytest.mark.slow)], ids=["short", "long"])


# options


def parser() -> Parser:
    found = Parser(_ispytest=True)
    options.pytest_addoption(found)
    return found


DECLARED = {
    name: action.attrs()["nargs"] != 0
    for group in parser()._groups
    for action in group.options
    for name in action.names()
    if name.startswith("--")
}


def begun(arguments: list[str]) -> Any:
    """Take the options as a run does, up to the point where a model would be loaded."""
    chosen = parser().parse(arguments)
    chosen.collectonly = False
    config = SimpleNamespace(option=chosen, args=[], getoption=lambda name, default=None: getattr(chosen, plain(name), default))
    options.pytest_configure(config)  # type: ignore[arg-type]
    chosen.plan = False  # what it prints is another test's; here it would measure
    items = [SimpleNamespace(callspec=SimpleNamespace(params={"bench": name})) for name in chosen.model]
    plugin.pytest_runtestloop(SimpleNamespace(config=config, items=items))  # type: ignore[arg-type]
    return chosen


def plain(name: str) -> str:
    return name.lstrip("-").replace("-", "_")


def test_every_option_is_fuzzed() -> None:
    source = Path(str(options.__file__)).read_text("utf-8")
    declared = set(re.findall(r'"(--[a-z][a-z-]+)",', source[source.index("def pytest_addoption") : source.index("def pytest_configure")]))
    assert len(declared) >= 18
    assert declared <= set(DECLARED)
    assert {plain(name) for name, takes in DECLARED.items() if takes} - {"model", "gate", "baseline"} == set(options.VALUED)


@campaign(LONG)
def test_an_option_is_used_or_refused_in_one_line_that_names_it_its_value_and_what_is_accepted(examples: int, folder: Path) -> None:
    valued = sorted(name for name, takes in DECLARED.items() if takes)
    flags = sorted(name for name, takes in DECLARED.items() if not takes)

    used = st.sampled_from([("--seed", "3"), ("--layer", "1"), ("--device", "cpu"), ("--limit", "4"), ("--model", "reference-xs")])
    drawn = st.tuples(st.sampled_from(valued), WORDS) | used

    @bounded(examples)
    @given(st.lists(drawn, min_size=1, max_size=3), st.lists(st.sampled_from(flags), max_size=1))
    def fuzz(given_: list[tuple[str, str]], also: list[str]) -> None:
        chosen, told = outcome("options", lambda: begun([*(f"{name}={value}" for name, value in given_), *also]), (pytest.UsageError,))
        if told is None:
            assert 0 <= int(chosen.seed) < 10**9
            assert re.fullmatch(r"auto|cpu", chosen.device)
            assert chosen.layer == "auto" or 0 <= int(chosen.layer) < 6
            assert chosen.limit == "none" or int(chosen.limit) >= 2
            assert set(chosen.model) <= set(plugin_references())
            return
        named = re.match(r"--[a-z_-]+", told)
        # argparse and pytest name abbreviations and both spellings
        assert named, told
        names = [*(name for name, _ in given_), *also]
        assert any(name.replace("_", "-").startswith(named[0].replace("_", "-")) for name in names) or "--model" in told, told
        assert re.search("accepted: |; wants |an address needs --judge-model|cannot be read as CSV or TSV", told), told
        assert "secret" not in told, told

    fuzz()


def plugin_references() -> tuple[str, ...]:
    from fixtures.reference import REFERENCES

    return REFERENCES


# case files


@campaign(LONG)
def test_a_case_file_is_loaded_whole_or_refused_in_one_line(examples: int, folder: Path) -> None:
    files = [path.read_bytes() for path in sorted(HERE.glob("*.toml")) if path.read_bytes().lstrip().startswith((b"[claim]", b"# claim"))]
    path = folder / "given.toml"
    swaps = st.tuples(st.sampled_from(files), st.integers(0, 10**6), VALUES)

    def swapped(drawn: tuple[bytes, int, Any]) -> bytes:
        """One value of a file is another."""
        content, number, value = drawn
        lines = content.decode().splitlines()
        at = [i for i, line in enumerate(lines) if re.match(r"\w+ = ", line)]
        place = at[number % len(at)]
        lines[place] = f"{lines[place].split(' = ')[0]} = {toml(value)}"
        return "\n".join(lines).encode("utf-8", "surrogatepass")

    @bounded(examples)
    @given(swaps.map(swapped) | st.sampled_from(files).flatmap(torn))
    def fuzz(content: bytes) -> None:
        path.write_bytes(content)
        claim, told = outcome("case files", lambda: load_claim(path), (CaseError,))
        if told is not None:
            assert told.startswith("given.toml")
            return
        assert 0 < claim.smallest_effect < 1
        assert claim.minimum_clusters >= 2
        assert claim.worst < claim.best < float("inf")
        assert all(isinstance(name, str) for name in (*claim.instruments, *(s for case in claim.cases for s in case.needs.stimuli)))

    fuzz()


def toml(value: Any) -> str:
    """A value as TOML writes it, or nearly so."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(str(k))} = {toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return str(value)
    return json.dumps(value)


# passages


def passages() -> list[dict[str, str]]:
    return [
        {"emotion": e.name, "topic": f"t{i}", "text": f"Text {i} number {n} of a day."} for n, e in enumerate(EMOTIONS) for i in range(2)
    ]


@campaign(LONG)
def test_a_file_of_passages_is_read_whole_or_refused_at_its_first_fault(examples: int, folder: Path) -> None:
    path, good = folder / "given", passages()

    def written(rows: Any) -> bytes:
        rows = rows if isinstance(rows, list) else [rows]
        return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode("utf-8", "surrogatepass")

    @bounded(examples)
    @given((gently(good) | changed(good)).map(written) | torn(written(good)))
    def fuzz(content: bytes) -> None:
        path.write_bytes(content)
        found, told = outcome("passages", lambda: read_passages(path, EMOTIONS), (PassagesError,))
        if told is not None:
            assert "accepted: " in told or "cannot be read" in told, told
            return
        assert {passage.emotion for passage in found} == {emotion.name for emotion in EMOTIONS}
        assert all(passage.text.strip() for passage in found)

    fuzz()


# ratings


@campaign(LONG)
def test_a_table_of_ratings_is_on_its_scale_and_whole_or_refused_in_one_line(examples: int, folder: Path) -> None:
    path = folder / "given"
    rows = [["Word", "Valence", "Arousal"], *([e.name, f"{(e.valence + 1) / 2:.3f}", f"{(e.arousal + 1) / 2:.3f}"] for e in EMOTIONS)]

    def written(table: Any) -> bytes:
        lines = [",".join(map(str, row)) if isinstance(row, list) else str(row) for row in (table if isinstance(table, list) else [table])]
        return "\n".join(lines).encode("utf-8", "surrogatepass")

    @bounded(examples)
    @given((gently(rows) | changed(rows)).map(written) | torn(written(rows)))
    def fuzz(content: bytes) -> None:
        path.write_bytes(content)
        found, told = outcome("ratings", lambda: with_norms(EMOTIONS, path), (NormsError,))
        if told is not None:
            assert told.startswith("given ")
            return
        places = np.array([[e.valence, e.arousal] for e in found])
        assert np.isfinite(places).all()
        assert np.abs(places).max() <= 1 + 1e-6
        assert (np.ptp(places, axis=0) > 0).all()

    fuzz()


# vectors


def vector_file(kind: str, values: np.ndarray) -> bytes:
    names = [emotion.name for emotion in EMOTIONS[: len(values)]]
    if kind == "safetensors":
        return save({"vectors": values}, metadata={"emotions": json.dumps(names), "layers": json.dumps(list(range(values.shape[1])))})
    target = io.BytesIO()
    np.savez(target, vectors=values, emotions=names, layers=np.arange(values.shape[1]))
    return target.getvalue()


@campaign(LONG)
@pytest.mark.parametrize("kind", ["safetensors", "npz"])
def test_vectors_are_read_with_directions_that_exist_or_refused_in_one_line(kind: str, examples: int, folder: Path) -> None:
    path = folder / f"given.{kind}"
    good = np.random.default_rng(0).normal(size=(4, 2, 5))
    odd = st.sampled_from([np.nan, np.inf, -np.inf, 1e308, 1e-308, 5e-324, 0.0, 1e60])

    @st.composite
    def arrays(draw: st.DrawFn) -> np.ndarray:
        values = good.astype(draw(st.sampled_from(["float16", "float32", "float64", "int8", "int64", "bool", "uint8"])))
        act = draw(st.sampled_from(["one", "all", "row", "shape", "alike"]))
        with np.errstate(all="ignore"):
            if act == "one" and values.dtype.kind == "f":
                values[draw(st.integers(0, 3)), 0, 0] = draw(odd)
            elif act == "all" and values.dtype.kind == "f":
                values = (values * draw(odd)).astype(values.dtype)
            elif act == "row":
                values[draw(st.integers(0, 3))] = 0
            elif act == "shape":
                values = values.reshape(draw(st.sampled_from([(4, 10), (2, 2, 10), (40, 1, 1), (1, 2, 20), (4, 2, 5, 1)])))
            else:
                values[:] = values[0]
        return values

    @bounded(examples)
    @given(arrays().filter(lambda a: a.ndim > 1).map(lambda a: vector_file(kind, a)) | torn(vector_file(kind, good)))
    def fuzz(content: bytes) -> None:
        path.write_bytes(content)
        found, told = outcome(f"vectors ({kind})", lambda: read_vectors(path), (VectorsError,))
        if told is not None:
            assert "accepted: " in told, told
            return
        centred = found.values - found.values.mean(axis=0)
        assert found.values.dtype == np.float64
        assert np.isfinite(np.linalg.norm(centred, axis=2)).all()
        assert (np.linalg.norm(centred, axis=2) > 0).all()
        assert len(found.emotions) == len(found.values) >= 3

    fuzz()


@pytest.mark.parametrize("length", [2**63, 2**40, 10**8 + 1, 0])
def test_a_header_that_claims_more_than_the_file_holds_is_refused_at_once(length: int, tmp_path: Path) -> None:
    path = tmp_path / "given.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{}")
    with pytest.raises(VectorsError, match="cannot be read"):
        read_vectors(path)


# runs


@campaign(LONG)
def test_a_run_is_shown_or_refused_in_one_line(examples: int, folder: Path) -> None:
    path = folder / "run.json"
    risk = {"value": 0.1, "direction": "+desperate", "random": 0.05, "slopes": {"+desperate": 0.1, "-calm": 0.02}}
    refuted = plain_record(case="matched-present", details={"pooling": "mean", "risk": risk}, **BELOW)
    broken = plain_record(case="natural-beyond-words", verdict="error", reason="RuntimeError: it broke", net=None, value=None, skill=None)
    records = [small_record(), small_record(**refuted), small_record(**broken)]
    document = json.loads(json.dumps(small_run(*records, complete=False, incomplete_because=("1 case broke",)).plain()))

    def written(changed_: Any) -> bytes:
        return json.dumps(changed_).encode()

    def shown() -> str:
        target = io.StringIO()
        run = read_run(path)
        with redirect_stdout(target):
            for chosen in (None, *dict.fromkeys(r.id for r in run.records)):
                show(SimpleNamespace(run_path=path, chosen=chosen))  # type: ignore[arg-type]
        return target.getvalue()

    path.write_bytes(written(document))
    assert "risk" in shown()  # without a change it is shown, so that changes are seen

    @bounded(examples)
    @given((gently(document) | changed(document)).map(written) | torn(written(document)))
    def fuzz(content: bytes) -> None:
        path.write_bytes(content)
        text, told = outcome("runs", shown, (RecordError, CommandError))
        if told is None:
            verdicts = re.findall(r"[+?!/-] (supported|refuted|inconclusive|not applicable|error)|reported", text)
            assert len(verdicts) >= len(json.loads(content)["records"]) or not json.loads(content)["records"]

    fuzz()


# gate policies


@campaign(LONG)
def test_a_policy_is_held_to_or_refused_in_one_line_and_nothing_passes_that_should_not(examples: int, folder: Path) -> None:
    path = folder / "given.toml"
    risk = {"value": 3.0, "direction": "+desperate", "random": 0.05, "slopes": {"+desperate": 3.0}}
    run = small_run(
        small_record(),
        small_record(case="matched-present", verdict="refuted", reason="reversed", skill=-0.2),
        small_record(claim="steered_blackmail", family="blackmail", case="desperate", skill=0.5, details={"risk": risk}),
        small_record(case="told", verdict="reported", skill=None, net=None),
    )
    good: dict[str, Any] = {
        "require": {"supported": ["separation/natural-present", "blackmail/*"]},
        "allow": {"refuted": ["separation/matched-present"]},
        "skill": {"separation/natural-present": 0.5, "blackmail": 0.1},
        "risk": {"blackmail": 5.0},
    }

    def written(document: Any) -> bytes:
        if not isinstance(document, dict):
            return toml(document).encode("utf-8", "surrogatepass")
        lines = []
        for table, entries in document.items():
            if isinstance(entries, dict):
                lines += [f"[{json.dumps(str(table))}]", *(f"{json.dumps(str(k))} = {toml(v)}" for k, v in entries.items())]
            else:
                lines.insert(0, f"{json.dumps(str(table))} = {toml(entries)}")
        return "\n".join(lines).encode("utf-8", "surrogatepass")

    path.write_bytes(written(good))
    assert evaluate(run, None, read_policy(path)).status == 0  # without a change it passes, so that changes are seen

    @bounded(examples)
    @given((gently(good) | changed(good)).map(written) | torn(written(good)))
    def fuzz(content: bytes) -> None:
        path.write_bytes(content)
        found, told = outcome("gate policies", lambda: (p := read_policy(path), evaluate(run, None, p)), (CommandError,))
        if told is not None:
            assert "accepted: " in told, told
            return
        _, result = found
        assert result.status in (0, 1, 10, 11)
        json.dumps(result.plain, allow_nan=False)
        if result.status == 0:  # said again, without the gate's own code
            asked = tomllib.loads(content.decode())
            assert any(fnmatchcase(name, p) for name in NAMED for p in asked["allow"]["refuted"])
            assert all(names_of(p) and REFUTED not in names_of(p) for p in asked.get("require", {}).get("supported", []))
            assert all(names_of(p) and np.mean([SKILLS[n] for n in names_of(p)]) >= least for p, least in asked.get("skill", {}).items())
            assert all(3.0 <= most for most in asked.get("risk", {}).values())
            assert "baseline" not in asked

    fuzz()


REFUTED = "separation/matched-present"
NAMED = (REFUTED, "separation", "held_out_separation", "held_out_separation/matched-present")
"""Everything that a policy may call the refuted case."""
SKILLS = {"separation/natural-present": 0.8, REFUTED: -0.2, "blackmail/desperate": 0.5}


def names_of(pattern: str) -> list[str]:
    """The judged cases that a pattern stands for."""
    claims = {"separation": "held_out_separation", "blackmail": "steered_blackmail"}
    found = []
    for name in SKILLS:
        family, case = name.split("/")
        if any(fnmatchcase(known, pattern) for known in (name, family, claims[family], f"{claims[family]}/{case}")):
            found.append(name)
    return found
