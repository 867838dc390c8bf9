"""Self-tests of the cache: what was kept comes back bit for bit, and nothing else ever does."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from cases.claims import load_claims
from cases.emotions import load_emotions
from cases.stimuli import Pair
from fixtures import bench as benches
from fixtures import cache as module
from fixtures import lens, separation
from fixtures.bench import Bench, Settings
from fixtures.cache import Cache, cache_folder, code_hash, content_hash, identity, tokenizer_hash
from fixtures.checkpoints import folder_hash
from fixtures.models import Subject
from fixtures.verdicts import builtin
from tests.planted import few_stimuli
from tests.tiny import SENTENCES, build, save, tiny, tokenizer

ARRAY = np.random.default_rng(0).normal(size=(4, 2, 8)).astype(np.float32)
KNOWN = "sha256:0123456789abcdef"


class Maker:
    """Makes an array and counts how often."""

    def __init__(self, array: np.ndarray = ARRAY) -> None:
        self.array, self.made = array, 0

    def __call__(self) -> np.ndarray:
        self.made += 1
        return self.array


def entry(folder: Path) -> Path:
    (path,) = folder.glob("*.safetensors")
    return path


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_])
def test_what_was_kept_comes_back_bit_for_bit_and_is_not_made_again(dtype: Any, tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(24).reshape(4, 6) * 0.37).astype(dtype)
    make = Maker(array)
    first, second = (Cache(tmp_path).kept({"a": 1}, make) for _ in range(2))
    assert make.made == 1
    assert second.dtype == array.dtype
    assert first.tobytes() == second.tobytes() == np.ascontiguousarray(array).tobytes()


def test_a_file_cut_at_any_byte_is_made_again(tmp_path: Path) -> None:
    Cache(tmp_path).kept({"a": 1}, Maker())
    path = entry(tmp_path)
    whole = path.read_bytes()
    for cut in (0, 1, 7, 8, 9, *random.Random(0).sample(range(10, len(whole)), 20), len(whole) - 1):
        path.write_bytes(whole[:cut])
        make = Maker()
        np.testing.assert_array_equal(Cache(tmp_path).kept({"a": 1}, make), ARRAY)
        Cache(tmp_path).kept({"a": 1}, make)
        assert make.made == 1


def test_a_file_with_any_flipped_bit_never_gives_another_array(tmp_path: Path) -> None:
    Cache(tmp_path).kept({"a": 1}, Maker())
    path = entry(tmp_path)
    whole = path.read_bytes()
    made = 0
    for place in range(len(whole)):
        bits = bytearray(whole)
        bits[place] ^= 1 << random.Random(place).randrange(8)
        path.write_bytes(bits)
        make = Maker()
        found = Cache(tmp_path).kept({"a": 1}, make)
        assert found.dtype == ARRAY.dtype
        np.testing.assert_array_equal(found, ARRAY)
        made += make.made
    # all but the blanks that pad the header
    assert made >= len(whole) - 16


def test_an_entry_under_the_name_of_another_key_is_not_read(tmp_path: Path) -> None:
    first = Cache(tmp_path)
    first.kept({"a": 1}, Maker(ARRAY + 1))
    stranger = entry(tmp_path)
    first.kept({"a": 2}, Maker())
    (own,) = (path for path in tmp_path.glob("*.safetensors") if path != stranger)
    own.write_bytes(stranger.read_bytes())
    make = Maker()
    np.testing.assert_array_equal(first.kept({"a": 2}, make), ARRAY)
    assert make.made == 1


def test_an_entry_without_a_sum_is_not_read(tmp_path: Path) -> None:
    Cache(tmp_path).kept({"a": 1}, Maker())
    save_file({"array": ARRAY + 1}, entry(tmp_path), {"key": json.dumps({"a": 1})})
    np.testing.assert_array_equal(Cache(tmp_path).kept({"a": 1}, Maker()), ARRAY)


def test_the_entries_used_longest_ago_go_first_and_the_folder_stays_below_its_limit(tmp_path: Path) -> None:
    size = 40_000
    found = Cache(tmp_path, limit=6 * size)
    arrays = [np.full(size // 8 - 200, i, dtype=np.float64) for i in range(8)]
    for i in range(5):
        found.kept({"a": i}, Maker(arrays[i]))
        os.utime(max(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns), (i, i))
    found.kept({"a": 0}, Maker())  # used: now the newest
    for i in range(5, 8):
        found.kept({"a": i}, Maker(arrays[i]))
    held = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert held <= found.limit
    makers = [Maker(arrays[i]) for i in range(8)]
    for i in (0, 7, 6, 5, 4):
        found.kept({"a": i}, makers[i])
    assert [makers[i].made for i in (0, 7, 6, 5, 4)] == [0] * 5
    found.kept({"a": 1}, makers[1])
    assert makers[1].made == 1


def test_an_entry_that_would_push_out_the_rest_is_not_kept(tmp_path: Path) -> None:
    Cache(tmp_path, limit=ARRAY.nbytes).kept({"a": 1}, Maker())
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_keeps_nothing_and_breaks_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    make = Maker()
    for _ in range(2):
        np.testing.assert_array_equal(Cache(tmp_path / "file" / "cache").kept({"a": 1}, make), ARRAY)
    assert make.made == 2


def test_a_disk_that_fills_up_leaves_no_half_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(arrays: Any, path: Path, told: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    np.testing.assert_array_equal(Cache(tmp_path).kept({"a": 1}, Maker()), ARRAY)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_half_written_is_never_read_and_goes_in_time(tmp_path: Path) -> None:
    found = Cache(tmp_path)
    found.kept({"a": 1}, Maker())
    half, fresh = tmp_path / f".{entry(tmp_path).stem}.1", tmp_path / ".other.2"
    for path in (half, fresh):
        path.write_bytes(entry(tmp_path).read_bytes()[:50])
    os.utime(half, (time.time() - 7200,) * 2)
    found.kept({"a": 2}, Maker())
    assert not half.exists()
    assert fresh.exists()


def test_clearing_deletes_every_entry_and_nothing_else(tmp_path: Path) -> None:
    found = Cache(tmp_path)
    found.kept({"a": 1}, Maker())
    (tmp_path / "note.txt").write_text("mine", "utf-8")
    found.clear()
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_the_folder_is_the_users_own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "emotion-steering-referee" / "activations"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (["ab", "c"], ["a", "bc"]),
        ([[1, 2], [3]], [[1], [2, 3]]),
        ([[12]], [[1, 2]]),
        (["a"], ["a", ""]),
        ([ARRAY], [ARRAY.astype(np.float64)]),
        ([ARRAY], [ARRAY.reshape(8, 8)]),
        ([ARRAY], [ARRAY + np.float32(1e-7)]),
    ],
)
def test_contents_that_differ_anyhow_have_different_hashes(ours: list[Any], theirs: list[Any]) -> None:
    assert content_hash(ours) == content_hash(list(ours)) != content_hash(theirs)


def known(architecture: str = "llama", **changes: Any) -> Subject:
    return replace(tiny(architecture), revision=KNOWN, **changes)


@pytest.mark.parametrize(
    "other",
    [
        lambda: known(name="other"),
        lambda: replace(known(), revision="sha256:" + "f" * 16),
        lambda: known("qwen2"),
        lambda: known(tokenizer=tokenizer(bos=True)),
        lambda: known(dtype="bfloat16"),
        lambda: known(device=torch.device("meta")),
        lambda: replace(build("llama", num_key_value_heads=4), revision=KNOWN),
    ],
    ids=["name", "weights", "architecture", "tokenizer", "dtype", "device", "configuration"],
)
def test_another_subject_has_another_identity(other: Callable[[], Subject]) -> None:
    assert identity(known()) == identity(known()) is not None
    assert identity(known()) != identity(other())


@pytest.mark.parametrize("revision", ["none", "main", "v1.0", "0123abc", "sha256:"])
def test_nothing_is_kept_of_weights_that_are_not_known_for_certain(revision: str) -> None:
    assert identity(replace(tiny("llama"), revision=revision)) is None


def test_the_code_that_computes_and_the_packages_are_part_of_an_identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = identity(known())
    assert before is not None
    for name in module.COMPUTING:
        (tmp_path / f"{name}.py").write_bytes((Path(module.__file__).parent / f"{name}.py").read_bytes())
    monkeypatch.setattr(module, "__file__", str(tmp_path / "cache.py"))
    assert code_hash() == before["code"]
    (tmp_path / "activations.py").write_text("changed", "utf-8")
    assert identity(known()) == {**before, "code": code_hash()} != before
    monkeypatch.setattr(module.metadata, "version", lambda name: "0.0")
    assert identity(known()) != {**before, "code": code_hash()}


def test_every_source_file_that_the_computing_ones_rest_on_is_hashed_with_them() -> None:
    # what measures nothing may stay out: verdicts, statistics and nulls judge, and the reference's weights have their own hash
    beside = {"verdicts", "nulls", "statistics", "reference"}
    here = Path(module.__file__).parent
    for name in module.COMPUTING:
        lines = (here / f"{name}.py").read_text("utf-8").splitlines()
        used = {line.split()[1].removeprefix("fixtures.").split(".")[0] for line in lines if line.startswith("from fixtures.")}
        assert used <= {*module.COMPUTING, *beside}, name


def test_a_chat_template_is_part_of_the_tokenizer() -> None:
    before = tokenizer_hash(tokenizer())
    other = type(tokenizer())(tokenizer_object=tokenizer().backend_tokenizer, **tokenizer().special_tokens_map, chat_template="{{ 1 }}")
    assert tokenizer_hash(other) != before


@pytest.mark.parametrize("name", ["merges.txt", "chat_template.jinja", "modeling_own.py"])
def test_whatever_in_a_folder_may_change_a_figure_changes_its_revision(name: str, tmp_path: Path) -> None:
    save(tmp_path)
    before = folder_hash(tmp_path)
    (tmp_path / name).write_text("changed", "utf-8")
    assert folder_hash(tmp_path) != before


PAIRS = tuple(Pair(f"matched/{i}", first, second) for i, (first, second) in enumerate(pairwise(SENTENCES)))
STIMULI = few_stimuli(neutral=SENTENCES, pairs={"matched": PAIRS}, emotions=load_emotions()[:3], controls=("house", "boat", "hill", "door"))


def bench(folder: Path, subject: Subject | None = None, **changes: Any) -> Bench:
    settings = Settings(layer=1, **changes)
    return Bench(lambda: subject or known(), STIMULI, settings, cache=Cache(folder))


def test_a_second_bench_runs_no_forward_pass_and_draws_no_twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bench(tmp_path)
    case = load_claims()["separation"].case("matched-present")
    claim = separation.measure(first, case)
    values, norms = first.activations("neutral").values, first.norms()

    def never(*given: Any, **rest: Any) -> Any:
        raise AssertionError("a forward pass, or a twin")

    for name in ("capture", "residual_norms", "untrained_twin"):
        monkeypatch.setattr(benches, name, never)
    second = bench(tmp_path)
    again = separation.measure(second, case)
    assert again.statistic(np.arange(len(again.clusters))) == claim.statistic(np.arange(len(claim.clusters)))
    assert builtin(again.items) == builtin(claim.items)
    assert [builtin(null.summary()) for null in again.nulls] == [builtin(null.summary()) for null in claim.nulls]
    assert second.activations("neutral").values.tobytes() == values.tobytes()
    assert second.norms().tobytes() == norms.tobytes()
    assert second.cache is not None
    assert second.cache.misses == 0


def test_base_rates_and_the_lens_are_kept_too_also_the_twins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bench(tmp_path)
    vectors = np.random.default_rng(0).normal(size=(len(STIMULI.emotions), 32)).astype(np.float32)
    families = np.arange(len(STIMULI.emotions))
    controls = lens.matched_controls(first, 3)
    found = [lens.areas(b, vectors, families, controls) for b in (first, *first.twins)]

    def never(*given: Any, **rest: Any) -> Any:
        raise AssertionError("a forward pass, or a twin")

    monkeypatch.setattr(lens, "frame_logprobs", never)
    monkeypatch.setattr(benches, "untrained_twin", never)
    second = bench(tmp_path)
    assert lens.matched_controls(second, 3) == controls
    for ours, theirs in zip((second, *second.twins), found, strict=True):
        np.testing.assert_array_equal(lens.areas(ours, vectors, families, controls), theirs)


def test_a_model_its_twin_and_another_layer_are_kept_apart(tmp_path: Path) -> None:
    b = bench(tmp_path)
    other = Bench(lambda: known(), STIMULI, Settings(layer=2), cache=Cache(tmp_path))
    (twin,) = b.twins
    found = [x.capture("x", SENTENCES).values for x in (b, twin, other)]
    found.append(b.capture("y", SENTENCES, pooling="last").values)
    found.append(b.capture("z", SENTENCES[:3]).values)
    assert b.cache is not None
    assert b.cache.hits == 0
    assert len({values.tobytes() for values in found}) == 5
    assert len(list(tmp_path.glob("*.safetensors"))) == 5


def test_the_batch_size_is_no_part_of_the_key(tmp_path: Path) -> None:
    bench(tmp_path, batch_size=1).capture("x", SENTENCES)
    second = bench(tmp_path, batch_size=3)
    second.capture("x", SENTENCES)
    assert second.cache is not None
    assert (second.cache.hits, second.cache.misses) == (1, 0)
