"""The parcel: the suite's own code and stimuli, as they travel to every machine, and the hash that stands for them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from reports.record import ROOT, STAMP, suite_version

PARTS = ("benchmark", "cases", "cluster", "fixtures", "reports", "conftest.py", "pyproject.toml")
LEFT = ("__pycache__", "*.pyc", "runs", "baselines", ".*")


def pack(folder: Path, root: Path = ROOT) -> str:
    """Copy the suite into `folder`, which is made, with its version and commit in a file, and return the hash of what was copied."""
    folder.mkdir(parents=True)
    for name in PARTS:
        part = root / name
        if part.is_dir():
            shutil.copytree(part, folder / name, ignore=shutil.ignore_patterns(*LEFT))
        else:
            shutil.copy2(part, folder / name)
    found = code_hash(folder)
    (folder / STAMP).write_text(json.dumps(suite_version()), "utf-8")
    return found


def code_hash(folder: Path) -> str:
    """Return a short hash of every file's path and content."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
