"""Reading Airflow Variables that hold JSON, with errors that name the Variable and the field."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from offload_core.errors import FixConfiguration


def explain(error: ValidationError) -> str:
    """A pydantic error in one line: each field and its reason."""
    parts = []
    for item in error.errors(include_url=False):
        field = ".".join(str(part) for part in item["loc"])
        reason = item["msg"].removeprefix("Value error, ")
        parts.append(f"{field}: {reason}" if field else reason)
    return "; ".join(parts)


def parse_json(text: str, variable: str) -> Any:
    """The JSON that a Variable holds. Raises FixConfiguration if it holds something else."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise FixConfiguration(
            f"The Airflow Variable `{variable}` is not valid JSON: {error}.",
            "Correct it there, or delete it to use the defaults.",
        ) from error
