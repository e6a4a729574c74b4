"""The configuration reference, made from the models themselves: `make docs` writes docs/configuration.md."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from offload_core.config.lag import LagMinutes
from offload_core.config.settings import SETTINGS_VARIABLE, Settings
from offload_core.config.tables import DEFAULT_TABLES, TABLES_VARIABLE, TableConfig

_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false"}
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
_HEAD = "| field | type | default | meaning |\n|---|---|---|---|"


_PAGE = """# Configuration

<!-- Written by `make docs` from the models in plugins/offload_core; edit those. -->

Two Airflow Variables, both optional. Editing them in the web interface needs no restart: the next parse of the DAG files reads them, and
every task when it begins. Unknown fields are refused by name, so that a typing error is never silently a default. Programs outside Airflow
(`bin/offload`, the exporter) read the same JSON from `OFFLOAD_TABLES` and `OFFLOAD_SETTINGS`. Passwords and keys belong into Airflow
Connections, never into a Variable.

## `{tables_variable}`

A JSON list, one entry per table. A wrong entry fails its own table with the field and the reason, and no other; what is no JSON list at all
is an import error of the DAGs that says so. Without the Variable, the nine shipped tables are offloaded. A minimal entry:

```json
{entry}
```

{tables}

## `{settings_variable}`

A JSON object. Names say their unit. What to set for more tables and more rows: [scale](scale.md).

{settings}

### `lag_minutes`

In growing order. The bounds of the alerts in `monitoring/prometheus/rules/` are the defaults; change them together.

{lag}
"""


def reference() -> str:
    """All fields of both Variables, with type, limits, default and meaning, as Markdown."""
    return _PAGE.format(
        tables_variable=TABLES_VARIABLE,
        entry=json.dumps([DEFAULT_TABLES[0].model_dump(mode="json", exclude_defaults=True)], indent=2),
        tables=_fields(TableConfig),
        settings_variable=SETTINGS_VARIABLE,
        settings=_fields(Settings),
        lag=_fields(LagMinutes),
    )


def _fields(model: type[BaseModel]) -> str:
    return "\n".join([_HEAD, *(_row(name, field) for name, field in model.model_fields.items())])


def _row(name: str, field: FieldInfo) -> str:
    # Numbers of requirements are for those who read the code.
    meaning = re.sub(r" \(R\d+\)", "", field.description or "")
    cells = (f"`{name}`", _type(field), _default(field), meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _type(field: FieldInfo) -> str:
    limits = ", ".join(_limits(field))
    return f"{_words(field.annotation)}{f', {limits}' if limits else ''}"


def _words(annotation: Any) -> str:
    if annotation in _WORDS:
        return _WORDS[annotation]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _either([f"`{member.value}`" for member in annotation])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "object, see below"
    origin, inner = get_origin(annotation), [part for part in get_args(annotation) if part not in (type(None), ...)]
    if origin is tuple:
        return f"list of {_words(inner[0])}"
    if origin is dict:
        return "object"
    if origin is typing.Annotated:
        return _words(inner[0])
    return _either([_words(part) for part in inner])


def _either(words: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _limits(field: FieldInfo) -> Iterator[str]:
    for limit in field.metadata:
        for name, sign in _BOUNDS.items():
            if getattr(limit, name, None) is not None:
                yield f"{sign} {getattr(limit, name):,}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    default = field.default
    if default is None or default in ((), {}):
        return "none"
    if isinstance(default, BaseModel):
        return ", ".join(f"{value:g}" for _, value in default)
    return f"`{default.value if isinstance(default, Enum) else json.dumps(default) if isinstance(default, bool | dict) else default}`"


if __name__ == "__main__":
    print(reference(), end="")
