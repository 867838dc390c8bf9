"""The published JSON Schema of run.json, against which every file that a command reads is checked."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from reports.record import RecordError

SCHEMA_FILE = Path(__file__).parent / "run.schema.json"


@cache
def validator() -> Draft202012Validator:
    """Return the validator of run.schema.json."""
    schema = json.loads(SCHEMA_FILE.read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def check_document(document: Any) -> None:
    """Raise RecordError, one line with the place and the fault that matters most, for a document that does not fit the schema."""
    error = best_match(validator().iter_errors(document))
    if error is not None:
        # a message of jsonschema's holds the whole offending value, which may be a run
        said = " ".join(error.message.split())
        raise RecordError(f"{error.json_path.removeprefix('$.')}: {said if len(said) <= 200 else said[:100] + ' ... ' + said[-95:]}")
