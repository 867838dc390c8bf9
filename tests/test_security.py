"""What a run must never do: reach the network, run what it was given, write outside its folders, or tell whose machine it was."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from cases.emotions import load_emotions
from cases.passages import PassagesError, read_passages
from cases.shown import private, shown, unusable
from fixtures.bench import Settings
from fixtures.checkpoints import ModelError
from fixtures.exchange import MOST_BYTES, VectorsError, export, read_vectors
from fixtures.models import check, load
from reports.store import run_folder, slug
from tests.fuzz import bounded
from tests.odd import all_nan, folder
from tests.runs import ROOT, suite
from tests.test_exchange import bench
from tests.tiny import build, save, tokenizer

USER, TOKEN, KEY = "jane-xyzzy", "hf_TOKENxyzzy", "sk-KEYxyzzy"

GUARD = """
import os, socket
def _refused(*given, **named):
    with open(os.environ["GUARD_LOG"], "a") as log:
        log.write(repr(given[1:] or given) + "\\n")
    raise OSError("the network is cut off")
socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = _refused
socket.getaddrinfo = socket.gethostbyname = socket.create_connection = _refused
"""
"""A sitecustomize that cuts the network off inside Python and writes down who asked for it."""


def environment(root: Path) -> dict[str, str]:
    """A home, a user and keys by which they would be known in any output, and a network that is cut off and watched."""
    (root / "guard").mkdir(parents=True, exist_ok=True)
    (root / "guard" / "sitecustomize.py").write_text(GUARD)
    told = {"HOME": str(root / USER), "USER": USER, "LOGNAME": USER, "HF_TOKEN": TOKEN, "OPENAI_API_KEY": KEY}
    # online as far as the hub's client knows: only the guard is in the way
    return {**told, "PYTHONPATH": str(root / "guard"), "GUARD_LOG": str(root / "asked.log"), "HF_HUB_OFFLINE": "0", "XDG_CACHE_HOME": ""}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A run of a reference, of a local folder in somebody's home and of one that breaks, with files from that home."""
    root = tmp_path_factory.mktemp("outside")
    home = root / USER
    models = [folder(home / "my models" / name, tokenizer(), spoil=spoil) for name, spoil in (("fine", None), ("broken", all_nan))]
    norms = home / "norms.csv"
    rated = [f"{e.name},{(e.valence + 1) / 2},{(e.arousal + 1) / 2}" for e in load_emotions()]
    norms.write_text("\n".join(["Word,Valence,Arousal", *rated, ""]))
    output = root / "runs"
    chosen = [
        "-k",
        "separation and natural",
        "--limit=2",
        f"--norms={norms}",
        "--log-samples",
        f"--junitxml={output}/junit.xml",
    ]
    named = ["--model=reference-xs", *(f"--model={path}" for path in models), "--output-path", os.path.relpath(output, ROOT)]
    return suite(*named, *chosen, "-rA", timeout=900, **environment(root)), root


def test_a_run_on_a_reference_and_on_a_local_folder_asks_for_no_network(run: Any) -> None:
    done, root = run
    assert done.returncode in (0, 1), done.stdout[-3000:]
    assert sorted(path.name for path in (root / "runs").iterdir()) == ["broken", "fine", "junit.xml", "reference-xs"]
    assert not (root / "asked.log").exists(), (root / "asked.log").read_text()


def test_the_guard_would_have_seen_it(tmp_path: Path) -> None:
    code = "import urllib.request; urllib.request.urlopen('http://192.0.2.1/')"
    kept = {**os.environ, **environment(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, timeout=60, check=False)
    assert "the network is cut off" in done.stderr
    assert (tmp_path / "asked.log").read_text()


@pytest.mark.slow  # the hub's client tries again and again
def test_a_hub_name_without_a_network_is_refused_in_one_line(tmp_path: Path) -> None:
    done = suite("--model=nobody/nothing-xyzzy", timeout=300, **environment(tmp_path))
    assert done.returncode == 4
    assert (tmp_path / "asked.log").read_text()
    assert "Traceback" not in done.stdout + done.stderr


def test_no_output_tells_user_home_working_folder_or_keys(run: Any) -> None:
    done, root = run
    texts = {str(path.relative_to(root)): path.read_bytes().decode() for path in (root / "runs").rglob("*") if path.is_file()}
    # pytest's own lines name the root of the project and the file of --junitxml
    own = re.compile(r"rootdir: |-+ generated xml file: ")
    texts["terminal"] = "\n".join(line for line in (done.stdout + done.stderr).splitlines() if not own.match(line))
    assert {Path(name).name for name in texts} >= {"run.json", "records.jsonl", "report.md", "samples.jsonl", "junit.xml"}
    secret = [USER, TOKEN, KEY, str(root), str(ROOT) + "/", str(Path.home()) + "/", "my models"]
    known = os.environ.get("USER", "")
    secret += [f"/{known}/"] if known else []
    # the output folder was given as a relative path; it is told as it was given
    given_ = os.path.relpath(root / "runs", ROOT)
    for name, text in texts.items():
        found = [word for word in secret if word in text.replace(given_, "out")]
        assert found == [], f"{name}: {found}: " + "".join(re.findall(rf".*{re.escape(found[0])}.*", text)[:2])
        lines = [m[0] for m in re.finditer(r"(?<![\w.:/<-])/(?:[\w.-]+/)+[\w.-]*", text.replace(given_, "out"))]
        assert [line for line in lines if not line.startswith(("/usr/", "/dev/"))] == [], name


def test_a_local_model_is_recorded_by_its_folders_name_and_a_hash(run: Any) -> None:
    _, root = run
    fine = json.loads(next((root / "runs" / "fine").rglob("run.json")).read_text())["subject"]
    assert fine["model"] == "fine"
    assert re.fullmatch(r"sha256:[0-9a-f]{16}", fine["revision"])
    broken = json.loads(next((root / "runs" / "broken").rglob("run.json")).read_text())
    assert broken["subject"]["model"] == "broken"
    assert {record["reason"].split(": ", 2)[2] for record in broken["records"]} == {"block 1 yields what is no number on a probe"}


def test_telemetry_is_off_unless_the_user_says_otherwise() -> None:
    ask = "print(c.HF_HUB_DISABLE_TELEMETRY, os.environ['RAY_USAGE_STATS_ENABLED'])"
    code = f"import conftest, os; from huggingface_hub import constants as c; {ask}"
    kept = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_DISABLE_TELEMETRY", "RAY_USAGE_STATS_ENABLED")}
    for given_, told in (({}, "True 0"), ({"HF_HUB_DISABLE_TELEMETRY": "0", "RAY_USAGE_STATS_ENABLED": "1"}, "False 1")):
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**kept, **given_}, capture_output=True, text=True, check=False)
        assert done.stdout.split("\n")[0] == told, done.stderr


# what is private


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("--model {home}/my models/x: block 0", "--model my models/x: block 0"),
        ("No such file: '/data/jane/a.txt'", "No such file: 'a.txt'"),
        ("AUROC = 0.5 [separation/natural-present on org/model]", "AUROC = 0.5 [separation/natural-present on org/model]"),
        ("fixtures/models.py:12: and/or 1/2", "fixtures/models.py:12: and/or 1/2"),
        ("http://jane:secret@host/v1/chat", "http://host/v1/chat"),
        ("C:\\Users\\jane\\m: bad", "m: bad"),
        ("a key sk-xyzzy1 told", "a key *** told"),
    ],
)
def test_what_is_told_keeps_its_sense_and_loses_what_is_private(text: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-xyzzy1")
    assert private(text.format(home=Path.home())) == told


@bounded(200)
@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=400))
def test_what_is_shown_is_one_printable_line_of_bounded_length(text: str) -> None:
    assert shown(text).isprintable()
    assert len(shown(text)) <= 123
    if text.isprintable() and len(text) <= 120:
        assert shown(text) == text


# where files may lie


def test_a_folder_is_usable_if_something_can_be_made_in_it_and_trying_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    assert unusable(str(tmp_path / "new" / "deeper")) is None
    assert unusable(str(tmp_path / "file")) == "that is a file"
    assert unusable(str(tmp_path / "file" / "runs")) == "file on the way is a file"
    assert unusable(" ") == "no path"
    # a file system that refuses what the permissions allow, as those that are mounted read-only do
    monkeypatch.setattr("tempfile.mkdtemp", Mock(side_effect=OSError(30, "Read-only file system")))
    assert unusable(str(tmp_path)) == "it cannot be written to"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


TRICKS = ["..", "../..", ".", "", "/", "/etc", "..\\..", "a/../../b", "~", "-rf", ".hidden", "con\x00", "...npz"]


@bounded(300)
@given(st.text(max_size=30) | st.sampled_from(TRICKS))
def test_no_model_name_leaves_the_folder_of_runs(name: str) -> None:
    found = slug(name)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", found)
    assert found not in (".", "..")


@pytest.mark.parametrize("name", ["..", "../..", "/etc/x", "a/../../b", ".", ""])
def test_runs_and_exports_lie_in_the_folders_that_were_given(name: str, tmp_path: Path) -> None:
    inside = tmp_path / "a" / "b"
    run_folder(inside / "runs", {"model": name, "device": "cpu", "dtype": "float32"}, "now")
    export(bench(name=name), inside / "vectors")
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(inside)]
    assert outside == []
    assert {path.name for path in inside.iterdir()} == {"runs", "vectors"}
    assert all(path.is_dir() for path in (inside / "vectors").iterdir())


# archives and pickles


def archive(path: Path, **extra: bytes) -> Path:
    names = [e.name for e in load_emotions()[:4]]
    np.savez(path, vectors=np.random.default_rng(0).normal(size=(4, 2, 5)), emotions=names)
    with zipfile.ZipFile(path, "a") as file:
        for name, content in extra.items():
            file.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["../outside.npy", "/tmp/outside.npy", "..\\outside.npy"])
def test_members_that_point_outside_are_never_unpacked(name: str, tmp_path: Path) -> None:
    place = tmp_path / "in"
    place.mkdir()
    path = archive(place / "given.npz", **{name: b"x"})
    read_vectors(path)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]
    assert not Path("/tmp/outside.npy").exists()


def test_a_link_as_a_member_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "given.npz"
    link = zipfile.ZipInfo("vectors.npy")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(link, "/etc/passwd")
        file.writestr("emotions.npy", b"")
    with pytest.raises(VectorsError, match=r"^cannot be read"):
        read_vectors(path)


def test_an_archive_that_unpacks_to_more_than_memory_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = archive(tmp_path / "given.npz", **{"huge.npy": bytes(1000)})
    told, count = bytearray(path.read_bytes()), 0
    at = told.rfind(b"PK\x01\x02")
    told[at + 24 : at + 28] = (2**32 - 2).to_bytes(4, "little")  # the size that the directory states
    path.write_bytes(bytes(told))
    with pytest.raises(VectorsError, match=rf"^it unpacks to [\d,]+ bytes; accepted: up to {MOST_BYTES:,}$"):
        read_vectors(path)
    assert count == 0


def test_passages_that_are_a_link_to_something_else_quote_nothing_of_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root:x:0:0:hunter2\n")
    (tmp_path / "given.jsonl").symlink_to(secret)
    with pytest.raises(PassagesError) as caught:
        read_passages(tmp_path / "given.jsonl", load_emotions())
    assert "hunter2" not in str(caught.value)


class Trap:
    """What a pickle of it does when it is read: a folder is made."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return (os.mkdir, (self.path,))


def test_a_pickle_beside_or_instead_of_safetensors_is_not_read(tmp_path: Path) -> None:
    both = save(tmp_path / "both")
    torch.save(Trap(tmp_path / "sprung"), both / "pytorch_model.bin")
    assert load(str(both), device="cpu").layers
    alone = save(tmp_path / "alone", safe=False)
    torch.save(Trap(tmp_path / "sprung"), alone / "pytorch_model.bin")
    for attempt in (lambda: load(str(alone), device="cpu"), lambda: checked(alone)):
        with pytest.raises(ModelError, match="no safetensors weights"):
            attempt()
    assert not (tmp_path / "sprung").exists()


def checked(path: Path) -> None:
    check(str(path), revision=None, device="cpu", layer="auto", trust_remote_code=False)


def test_code_in_a_models_folder_is_not_run(tmp_path: Path) -> None:
    place = save(tmp_path / "subject")
    (place / "modeling_trap.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'sprung')!r})\n")
    settings = json.loads((place / "config.json").read_text())
    mapped = {"AutoConfig": "modeling_trap.TrapConfig", "AutoModelForCausalLM": "modeling_trap.Trap"}
    (place / "config.json").write_text(json.dumps({**settings, "model_type": "trap", "auto_map": mapped}))
    for attempt in (lambda: load(str(place), device="cpu"), lambda: checked(place)):
        with pytest.raises(ModelError, match="needs code from its repository, which stays off"):
            attempt()
    assert not (tmp_path / "sprung").exists()


def test_nothing_is_executed_or_trusted_unless_it_was_asked_for() -> None:
    source = (ROOT / "conftest.py").read_text("utf-8")
    assert re.search(r'"--execute-code", action="store_true"', source)
    assert re.search(r'"--trust-remote-code", action="store_true"', source)
    assert Settings().execute_code is False


UNSAFE = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
STARTS = {
    "fixtures/calibration/controls.py",
    "fixtures/confined.py",
    "fixtures/perf/memory.py",
    "fixtures/perf/overhead.py",
    "fixtures/sandbox.py",
    "reports/record.py",
}
"""Modules that may start a process: the sandbox, speed and calibration, on request alone, and git's state of the checkout."""


def sources() -> list[Path]:
    return [path for room in ("cases", "fixtures", "reports", "benchmark") for path in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_reads_pickles_or_runs_text(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name.split(".")[0] for alias in node.names} | {(getattr(node, "module", "") or "").split(".")[0]}
            assert not names & UNSAFE, names
            assert "subprocess" not in names or str(path.relative_to(ROOT)) in STARTS, "it starts processes"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
            runs = ("eval", "exec", "os.system", "os.popen", "torch.hub.load")
            assert called not in runs or (called == "exec" and path.name == "confined.py"), called  # the inside of the sandbox
            assert called != "torch.load" or keywords.get("weights_only") == "True", "a pickle may be read"
            assert called != "np.load" or keywords.get("allow_pickle") == "False", "a pickle may be read"
            assert keywords.get("shell") != "True"
            if called.endswith("CausalLM.from_pretrained"):
                assert keywords.get("use_safetensors") == "True"
            assert keywords.get("trust_remote_code") != "True"


def test_a_header_of_a_safetensors_file_names_no_place_outside(tmp_path: Path) -> None:
    save_file({"vectors": np.ones((4, 2, 5)), "../../x": np.ones(2)}, tmp_path / "given.safetensors", metadata={"emotions": "[]"})
    with pytest.raises(VectorsError):
        read_vectors(tmp_path / "given.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["given.safetensors"]


def test_a_tiny_model_is_built_without_leaving_a_trace() -> None:
    before = {path for path in Path.cwd().iterdir()}
    build("llama")
    assert {path for path in Path.cwd().iterdir()} == before
