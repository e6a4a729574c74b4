"""What somebody asks of a run: the fields of Airflow's trigger form, which are those of the trigger's `conf` too.

Airflow checks each field by itself when a run is triggered; what only all of them together can tell is checked here, when the run starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from offload_airflow.compat.context import data_interval, run_conf
from offload_airflow.compat.sdk import Context, Param
from offload_core.config.json_text import explain
from offload_core.config.tables import InvalidTable, Layer, TableConfig
from offload_core.errors import FixConfiguration
from offload_core.protocol.plan import RunMode
from offload_core.protocol.window import require_utc

_MODES = {
    RunMode.OFFLOAD: "offload: move what is new; with from and to, the same as repair",
    RunMode.REPAIR: "repair: compare from-to, insert what is missing, and offload what is new in it",
    RunMode.RESTATE: "restate: replace from-to by what ClickHouse holds now; refused where its TTL has taken rows",
    RunMode.VERIFY: "verify: only compare from-to; fails if the tiers differ, changes nothing",
}


def _as_utc(moment: datetime) -> datetime:
    return require_utc(moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc), "The time")


def _none_is_all(value: object) -> object:
    return () if value is None else value


_Moment = Annotated[datetime, AfterValidator(_as_utc)]


class RunRequest(BaseModel):
    """The `conf` of one run; the defaults are those of a scheduled run.

    Attributes:
        mode: what the run is for; `offload` with `start` and `end` means `repair`.
        tables, layers: only these, by their names; a table must be in both. Empty: all.
        start, end: `from` (inclusive) and `to` (exclusive) of the interval, in the rows' own time, UTC; a time without a zone is
            one of UTC, as everywhere in Airflow's own command line.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: RunMode = RunMode.OFFLOAD
    tables: Annotated[tuple[str, ...], BeforeValidator(_none_is_all)] = ()
    layers: Annotated[tuple[Layer, ...], BeforeValidator(_none_is_all)] = ()
    start: Annotated[_Moment | None, Field(alias="from")] = None
    end: Annotated[_Moment | None, Field(alias="to")] = None

    @model_validator(mode="after")
    def _interval_has_both_ends(self) -> RunRequest:
        if (self.start is None) != (self.end is None):
            raise ValueError(f"`{'to' if self.end is None else 'from'}` is missing: give both ends or none")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"`to` ({self.end.isoformat()}) must lie after `from` ({self.start.isoformat()})")
        return self

    def selects(self, table: TableConfig | InvalidTable) -> bool:
        """Whether the run is about this table."""
        return (not self.tables or table.name in self.tables) and (not self.layers or table.layer in self.layers)


@dataclass(frozen=True)
class RunScope:
    """What one run plans every table with: the arguments of `plan_run`.

    Attributes:
        mode: what the run is for.
        start, end: the interval (UTC); both None goes up to now.
        complete_at: before this moment by ClickHouse's clock the run has nothing to look at yet; None: at once.
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
    """The request of the run that a task belongs to. Raises FixConfiguration.

    It is read from the run itself: `[core] dag_run_conf_overrides_params` may keep it out of the params.
    """
    return read_request(run_conf(context))


def run_scope(context: Context) -> RunScope:
    """What the run that a task belongs to plans its tables with.

    A run that names no interval has its own data interval, which a run by hand doesn't.

    Raises:
        FixConfiguration: the conf is wrong, or its mode needs an interval and there is none.
    """
    request, own = run_request(context), data_interval(context)
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


def require_sound(context: Context, tables: Sequence[TableConfig | InvalidTable]) -> None:
    """Refuse a run whose conf makes no sense, or asks for tables that are not there, or for none at all.

    Raises:
        FixConfiguration: the message names the field, or the tables and those there are.
    """
    run_scope(context)
    request = run_request(context)
    names = [table.name for table in tables if isinstance(table, InvalidTable) or table.enabled]
    unknown = [name for name in request.tables if name not in names]
    if unknown:
        raise FixConfiguration(
            f"This run's conf names tables that are unknown or disabled: {', '.join(unknown)}.",
            f"Choose from {', '.join(names)}.",
        )
    if tables and not any(request.selects(table) for table in tables if table.name in names):
        raise FixConfiguration(
            "No table is in both `tables` and `layers` of this run's conf.",
            "Trigger the DAG again with one of the two.",
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
            description="What the run is for. All but offload need from and to.",
        ),
        "tables": several("Tables", tables),
        "layers": several("Layers", layers),
        "from": _moment("From", "Start of the interval (inclusive), in the rows' own time. Without a zone: UTC."),
        "to": _moment("To", "End of the interval (exclusive)."),
    }


def several(title: str, names: Sequence[str]) -> Param:
    """A field that chooses some of the names; none chosen means all."""
    description = f"Only these {title.lower()}; none chosen means all."
    items = {"type": "string", "enum": list(names)} if names else {"type": "string"}
    return Param([], title=title, type=["array", "null"], items=items, examples=list(names), description=description)


def _moment(title: str, description: str) -> Param:
    return Param(None, title=title, type=["string", "null"], format="date-time", description=description)
