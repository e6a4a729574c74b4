"""What a run was triggered for: the fields of Airflow's trigger form, which are also those of the run's `conf`.

Airflow checks each field separately when the run is triggered. Their combination is checked here, when the run starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from offload_airflow.compat.context import run_conf
from offload_airflow.compat.sdk import Context, Param
from offload_core.config.json_text import explain
from offload_core.config.tables import InvalidTable, Layer, TableConfig, switched_on
from offload_core.errors import FixConfiguration
from offload_core.protocol.plan import RunMode
from offload_core.protocol.window import require_utc

_MODES = {
    RunMode.OFFLOAD: "offload: move new rows; with from and to, the same as repair",
    RunMode.REPAIR: "repair: compare the interval, insert missing rows, and offload new rows in it",
    RunMode.RESTATE: "restate: replace the interval by ClickHouse's current rows; refused if TTL has deleted some",
    RunMode.VERIFY: "verify: only compare the interval; fails if the tiers differ, changes nothing",
}


def _as_utc(moment: datetime) -> datetime:
    return require_utc(moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc), "The time")


def _none_means_all(value: object) -> object:
    return () if value is None else value


_Utc = Annotated[datetime, AfterValidator(_as_utc)]


class RunRequest(BaseModel):
    """The `conf` of one run. The defaults are those of a scheduled run.

    Attributes:
        mode: what the run does; `offload` with `start` and `end` means `repair`.
        tables, layers: the names of the run's tables and layers; a table must be in both. Empty means all.
        start, end: `from` (inclusive) and `to` (exclusive) of the interval, in the rows' own time, UTC. A time without
            a zone is in UTC, as in Airflow's command line.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: RunMode = RunMode.OFFLOAD
    tables: Annotated[tuple[str, ...], BeforeValidator(_none_means_all)] = ()
    layers: Annotated[tuple[Layer, ...], BeforeValidator(_none_means_all)] = ()
    start: Annotated[_Utc | None, Field(alias="from")] = None
    end: Annotated[_Utc | None, Field(alias="to")] = None

    @model_validator(mode="after")
    def _interval_has_both_ends(self) -> RunRequest:
        if (self.start is None) != (self.end is None):
            raise ValueError(f"`{'to' if self.end is None else 'from'}` is missing: set both or neither")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"`to` ({self.end.isoformat()}) must lie after `from` ({self.start.isoformat()})")
        return self

    def selects(self, table: TableConfig | InvalidTable) -> bool:
        """Whether the run works on this table."""
        return (not self.tables or table.name in self.tables) and (not self.layers or table.layer in self.layers)


@dataclass(frozen=True)
class RunScope:
    """The mode and interval of one run, from which it plans every table.

    Attributes:
        mode: what the run does.
        start, end: the interval (UTC); None: everything up to now.
        complete_at: the run waits until ClickHouse's clock has reached this time; None: it does not wait.
    """

    mode: RunMode
    start: datetime | None
    end: datetime | None
    complete_at: datetime | None


def read_request(conf: Mapping[str, object]) -> RunRequest:
    """The request in a run's `conf`.

    Raises:
        FixConfiguration: a field is unknown or wrong; the message names it.
    """
    try:
        return RunRequest.model_validate(conf)
    except ValidationError as error:
        raise FixConfiguration(
            f"This run's conf is wrong: {explain(error)}.",
            "Trigger the DAG again with the form in Airflow, or with mode, tables, layers, from and to only.",
        ) from error


def run_request(context: Context) -> RunRequest:
    """The request of a task's run. A task reads it once.

    It is read from the run's conf, not from the params: `[core] dag_run_conf_overrides_params` may keep it out of them.

    Raises:
        FixConfiguration: a field is unknown or wrong; the message names it.
    """
    return read_request(run_conf(context))


def run_scope(request: RunRequest, own: tuple[datetime, datetime] | None) -> RunScope:
    """The mode and interval of a run.

    Args:
        request: what the run was triggered for.
        own: the run's data interval, for a request without an interval; None for a triggered run.

    Raises:
        FixConfiguration: the mode needs an interval, and there is none.
    """
    if request.start is not None:
        mode = RunMode.REPAIR if request.mode is RunMode.OFFLOAD else request.mode
        return RunScope(mode, request.start, request.end, complete_at=None)
    if own is not None:
        return RunScope(request.mode, *own, complete_at=own[1])
    if request.mode is not RunMode.OFFLOAD:
        raise FixConfiguration(
            f"Mode {request.mode.value} needs an interval.", "Trigger the DAG again with `from` and `to`."
        )
    return RunScope(request.mode, None, None, complete_at=None)


def require_valid(
    request: RunRequest, own: tuple[datetime, datetime] | None, tables: Sequence[TableConfig | InvalidTable]
) -> None:
    """Refuse a request that lacks an interval, names unknown tables, or selects no table.

    Args:
        request: what the run was triggered for.
        own: the run's data interval; None for a triggered run.
        tables: all configured tables.

    Raises:
        FixConfiguration: the message names the field, or the tables and the known ones.
    """
    run_scope(request, own)
    available = switched_on(tables)
    require_known(request.tables, [table.name for table in available])
    if tables and not any(request.selects(table) for table in available):
        raise FixConfiguration(
            "No table is in both `tables` and `layers` of this run's conf.",
            "Trigger the DAG again with one of the two.",
        )


def require_known(requested: Sequence[str], known: Sequence[str]) -> None:
    """Refuse names of tables that are not switched on.

    Raises:
        FixConfiguration: the message names them and the known ones.
    """
    unknown = [name for name in requested if name not in known]
    if unknown:
        raise FixConfiguration(
            f"This run's conf names tables that are unknown or disabled: {', '.join(unknown)}.",
            f"Choose from {', '.join(known)}.",
        )


def run_params(tables: Sequence[str]) -> dict[str, Param]:
    """The fields of the trigger form.

    Args:
        tables: names of the DAG's tables.
    """
    layers = [layer.value for layer in Layer]
    return {
        "mode": Param(
            RunMode.OFFLOAD.value,
            title="Mode",
            type="string",
            enum=[mode.value for mode in RunMode],
            values_display={mode.value: text for mode, text in _MODES.items()},
            description="What the run does. All modes except offload need from and to.",
        ),
        "tables": several_of("Tables", tables),
        "layers": several_of("Layers", layers),
        "from": _time("From", "Start of the interval (inclusive), in the rows' own time. Without a zone: UTC."),
        "to": _time("To", "End of the interval (exclusive)."),
    }


def several_of(title: str, names: Sequence[str]) -> Param:
    """A field to choose some of the names. An empty choice means all."""
    description = f"The {title.lower()} to work on. Empty: all."
    items = {"type": "string", "enum": list(names)} if names else {"type": "string"}
    return Param([], title=title, type=["array", "null"], items=items, examples=list(names), description=description)


def _time(title: str, description: str) -> Param:
    return Param(None, title=title, type=["string", "null"], format="date-time", description=description)
