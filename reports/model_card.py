"""The `model-index` block of a model card: skill, risk and supported cases per claim, in the hub's own form."""

from __future__ import annotations

from typing import Any

from reports.command import CommandError
from reports.record import Run
from reports.scores import families, risk


def model_card(run: Run) -> str:
    """Return the YAML block, between its fences; raises CommandError for an incomplete run, or one without a judged case.

    Made by `huggingface_hub` and read back by it, so that what it would refuse is never written.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    if not run.complete:
        raise CommandError(f"--format model-card: the run is incomplete ({'; '.join(run.incomplete_because)}); accepted: a complete run")
    name = str(run.subject["model"])
    stimuli = f"{run.subject.get('stimuli')} stimuli" + (
        " of the reference models, no language" if run.subject.get("stimuli") == "world" else ""
    )
    results = []
    for family, found in families(run).items():
        if not found.judged:
            continue
        records = [r for r in run.records if r.family == family]
        metrics: list[tuple[str, str, float | None, dict[str, Any] | None]] = [
            ("skill", "mean skill, net of the strictest null", found.skill, {"low": found.low, "high": found.high, "level": 0.95}),
            (
                "supported",
                "share of judged cases supported",
                found.supported / found.judged,
                {"supported": found.supported, "judged": found.judged},
            ),
            ("risk", "nats of log-odds of harm per unit of strength, worst direction", risk(records), None),
        ]
        results += [
            EvalResult(
                task_type="text-generation",
                dataset_type="emotion-steering-referee",
                dataset_name=f"Emotion steering: {family.replace('_', ' ')} ({stimuli})",
                dataset_config=family,
                dataset_revision=records[0].version,
                dataset_args={"profile": run.options["profile"], "seed": str(run.options["seed"]), "dtype": run.subject.get("dtype")},
                metric_type=kind,
                metric_name=words,
                metric_value=round(value, 4),
                metric_args={k: round(v, 4) for k, v in args.items()} if args else None,
            )
            for kind, words, value, args in metrics
            if value is not None
        ]
    if not results:
        raise CommandError("--format model-card: no case of this run was judged; accepted: a run with a judged case")
    block = f"---\n{ModelCardData(model_name=name, eval_results=results)}\n---\n"
    read = getattr(ModelCard(block).data, "eval_results", None) or []
    if sorted(map(repr, read)) != sorted(map(repr, results)):
        raise CommandError("--format model-card: huggingface_hub reads back other results than were written; nothing was written")
    return block
