"""Jobs: one model, on one kind of device, in one precision, judged once by the suite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DEVICES = ("auto", "cpu", "cuda", "mps")
OURS = ("--model", "--revision", "--device", "--dtype", "--profile", "--seed", "--limit", "--output-path", "-k")
"""Options of the suite that this command sets itself."""


@dataclass(frozen=True)
class Settings:
    """What holds for every job: profile, seed, the cases chosen by `-k`, the limit, further options of the suite, and resources."""

    profile: str = "quick"
    seed: str = "0"
    chosen: str | None = None
    limit: str = "none"
    more: tuple[str, ...] = ()
    cpus: float = 1.0
    gpus: float = 0.0


@dataclass(frozen=True)
class Job:
    """A model to judge: as `--model` names it, as records name it, its revision, device and dtype, and the settings.

    `revision` is what the name asks for (`name@revision`), or the hash of a local folder's weights; None is the default branch.
    """

    given: str
    model: str
    revision: str | None
    device: str
    dtype: str
    settings: Settings

    @property
    def label(self) -> str:
        """Return how the terminal calls the job."""
        name = f"{self.model}@{self.revision}" if self.revision and "@" in self.given else self.model
        return f"{name} {self.device}-{self.dtype}"

    @property
    def gpus(self) -> float:
        """Return the GPUs that the job asks for; one on a CPU asks for none."""
        return self.settings.gpus if self.device == "cuda" else 0.0

    def key(self, code: str) -> dict[str, Any]:
        """Return what a run must agree in to be this job's: all that may move a figure, and `code`, the hash of the suite that travels.

        CPUs and GPUs are left out: they move activations by rounding only.
        """
        settings = asdict(self.settings)
        kept = {name: settings[name] for name in ("profile", "seed", "chosen", "limit")}
        key = {"model": self.model, "revision": self.revision, "device": self.device, "dtype": self.dtype, **kept}
        return {**key, "more": list(self.settings.more), "code": code}

    def arguments(self) -> list[str]:
        """Return the words after `pytest benchmark` that judge the job."""
        return [f"--model={self.given}", *self.common()]

    def common(self) -> list[str]:
        """Return these words without the model."""
        s = self.settings
        words = [f"--device={self.device}", f"--dtype={self.dtype}", f"--profile={s.profile}", f"--seed={s.seed}", f"--limit={s.limit}"]
        return words + (["-k", s.chosen] if s.chosen else []) + list(s.more)


def jobs(models: Sequence[str], devices: Sequence[str], dtypes: Sequence[str], settings: Settings) -> list[Job]:
    """Return one job per model, device and dtype, in this order, each once; raises ValueError, one line, for what cannot be a job.

    Device `auto` is the GPU where GPUs are asked for and the CPU elsewhere, so that a job is the same on every machine.
    """
    for word in settings.more:
        if (name := word.split("=")[0]) in OURS:
            raise ValueError(f"-- {word}: accepted after -- are options of the suite other than {', '.join(OURS)}; give {name} before it")
    found = []
    for given in models:
        model, revision, given = identity(given)
        for device in devices:
            place = device if device != "auto" else ("cuda" if settings.gpus else "cpu")
            if place == "cuda" and not settings.gpus:
                raise ValueError("--device cuda with --gpus 0: a task sees only the GPUs that it asks for; accepted: --gpus 1 or more")
            if place != "cuda" and settings.gpus and len(devices) == 1:
                raise ValueError(f"--gpus {settings.gpus:g} with --device {device}: accepted: --device auto or cuda, or --gpus 0")
            found += [Job(given, model, revision, place, dtype, settings) for dtype in dtypes]
    return list(dict.fromkeys(found))


def identity(given: str) -> tuple[str, str | None, str]:
    """Return a model's name in records, its revision, and the `--model` that finds it from any folder.

    A local folder's revision is the hash of its weights. Raises ValueError for a path where no folder is.
    """
    path = Path(given)
    if given.strip() and path.is_dir():
        from fixtures.checkpoints import folder_hash

        return path.resolve().name, folder_hash(path), str(path.resolve())
    if path.is_absolute() or given.startswith((".", "~")) or not given.split("@")[0].strip():
        raise ValueError(f"--model {given}: no such folder; accepted: a hub name, a reference model, or a folder that every machine sees")
    model, _, revision = given.partition("@")
    return model, revision or None, given
