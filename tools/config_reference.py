"""Generates the configuration reference from the models: `make docs` writes docs/configuration.md."""

from __future__ import annotations

import json
import textwrap
import typing
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from offload_core.config.lag import LagMinutes
from offload_core.config.settings import SETTINGS_VARIABLE, Settings
from offload_core.config.tables import DEFAULT_TABLES, TABLES_VARIABLE, TableConfig

_TYPE_NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false"}
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
_WIDTH = 110

_PAGE = """# Configuration

<!-- Written by `make docs` from the models in plugins/offload_core; edit those. -->

The configuration consists of two optional Airflow Variables. Changes in the web interface need no restart: the next
parse of the DAG files reads them, and so does every task when it starts. Unknown fields are refused by name, so that a
misspelled field never silently becomes a default. Programs outside of Airflow (`bin/offload`, the exporter) read the
same JSON from `OFFLOAD_TABLES` and `OFFLOAD_SETTINGS`. Passwords and keys belong in Airflow Connections, never in a
Variable.

## `{tables_variable}`

A JSON list with one entry per table. A wrong entry fails only its own table, with the field and the reason. A value
that is not a JSON list is an import error of the DAGs. Without the Variable, the nine shipped tables are offloaded. A
minimal entry:

```json
{entry}
```

{tables}

## `{settings_variable}`

A JSON object. Names include their unit. For more tables and more rows, see [scale](scale.md).

{settings}

### `lag_minutes`

The values must increase. The alert rules in `monitoring/prometheus/rules/` use the defaults as bounds; change both
together.

{lag}
"""


def reference() -> str:
    """Return the reference of both Variables as Markdown: all fields with type, limits, default and meaning."""
    return _PAGE.format(
        tables_variable=TABLES_VARIABLE,
        entry=json.dumps([DEFAULT_TABLES[0].model_dump(mode="json", exclude_defaults=True)], indent=2),
        tables=_fields(TableConfig),
        settings_variable=SETTINGS_VARIABLE,
        settings=_fields(Settings),
        lag=_fields(LagMinutes),
    )


def _fields(model: type[BaseModel]) -> str:
    return "\n".join(_entry(name, field) for name, field in model.model_fields.items())


def _entry(name: str, field: FieldInfo) -> str:
    """A list item, because the meanings are too long for the cells of a table."""
    text = f"- `{name}`: {_type(field)}; {_default(field)}. {field.description or ''}"
    return textwrap.fill(text, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _type(field: FieldInfo) -> str:
    limits = ", ".join(_limits(field))
    return f"{_type_name(field.annotation)}{f', {limits}' if limits else ''}"


def _type_name(annotation: Any) -> str:
    if annotation in _TYPE_NAMES:
        return _TYPE_NAMES[annotation]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _either([f"`{member.value}`" for member in annotation])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "object, see below"
    origin, inner = get_origin(annotation), [part for part in get_args(annotation) if part not in (type(None), ...)]
    if origin is tuple:
        return f"list of {_type_name(inner[0])}"
    if origin is dict:
        return "object"
    if origin is typing.Annotated:
        return _type_name(inner[0])
    return _either([_type_name(part) for part in inner])


def _either(names: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _limits(field: FieldInfo) -> Iterator[str]:
    for limit in field.metadata:
        for name, sign in _BOUNDS.items():
            if getattr(limit, name, None) is not None:
                yield f"{sign} {getattr(limit, name):,}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.default
    if default is None or default in ((), {}):
        return "default: none"
    if isinstance(default, BaseModel):
        return f"default: {', '.join(f'{value:g}' for _, value in default)}"
    if isinstance(default, Enum):
        return f"default: `{default.value}`"
    return f"default: `{json.dumps(default) if isinstance(default, bool | dict) else default}`"


if __name__ == "__main__":
    print(reference(), end="")
