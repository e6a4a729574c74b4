"""Which tables are offloaded: the model behind the Airflow Variable `iceberg_offload_tables`, and its default."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from offload_core.config.json_text import explain, parse_json
from offload_core.errors import FixConfiguration
from offload_core.protocol.partition import Partition

TABLES_VARIABLE = "iceberg_offload_tables"

_LONGEST_NAME = 128
"""Airflow's task ids, which contain the name, end at 250 characters."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Layer(str, Enum):
    """The order in which tables are offloaded: bronze, then silver, then gold."""

    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"


class WriteMode(str, Enum):
    """`append`: a row never changes.

    `upsert`: a row may change until its period has been closed for a while (candles).
    """

    APPEND = "append"
    UPSERT = "upsert"


class SchemaContract(str, Enum):
    """When columns change in ClickHouse, Iceberg follows (`evolve`), or the table's runs fail (`freeze`)."""

    EVOLVE = "evolve"
    FREEZE = "freeze"


class TableConfig(BaseModel):
    """One table's entry in `iceberg_offload_tables`.

    A minimal entry has `source`, `target`, `layer`, `timestamp_col` and `keys`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Annotated[str, Field(description="ClickHouse table, `table` or `database.table`.")]
    target: Annotated[str, Field(description="Iceberg table, `namespace.table`.")]
    layer: Annotated[Layer, Field(description="The layer, and so the TaskGroup, that the table belongs to.")]
    timestamp_col: Annotated[str, Field(description="Column that orders the rows in time; DateTime or DateTime64.")]
    sequence_col: Annotated[
        str | None, Field(description="Integer column that orders rows of the same timestamp; candles have none.")
    ] = None
    keys: Annotated[tuple[str, ...], Field(description="Columns that identify a row, in any order.")] = ()
    write_mode: Annotated[
        WriteMode, Field(description="Append new rows, or upsert by key. Gold tables default to `upsert`.")
    ] = WriteMode.APPEND
    closed_col: Annotated[
        str | None, Field(description="upsert only: the column that says when a row's period closes (`window_end`).")
    ] = None
    lookback_minutes: Annotated[
        int,
        Field(
            ge=0, le=60 * 24 * 366, description="upsert only: how far back rows are read again to catch late changes."
        ),
    ] = 120
    partition: Annotated[Partition, Field(description="Iceberg partition transform of timestamp_col.")] = Partition.DAY
    allow_precision_loss: Annotated[
        tuple[str, ...],
        Field(description="Columns that may lose the digits that Iceberg cannot hold; other such columns are refused."),
    ] = ()
    as_text: Annotated[
        tuple[str, ...],
        Field(
            description="Columns to write as ClickHouse's text because Iceberg has no exact counterpart of their type."
        ),
    ] = ()
    schema_contract: Annotated[
        SchemaContract,
        Field(
            description="evolve: Iceberg follows columns that ClickHouse adds, widens or makes Nullable. freeze: they "
            "are "
            "errors. Columns that are renamed, dropped or changed otherwise are errors under both."
        ),
    ] = SchemaContract.EVOLVE
    sort_by: Annotated[
        tuple[str, ...],
        Field(
            description="Columns by which compacted files are sorted within each hour, to fit the usual reads; "
            "default: "
            "the keys. The time comes last."
        ),
    ] = ()
    enabled: Annotated[bool, Field(description="false: the entry stays, but the table is not offloaded.")] = True

    @property
    def name(self) -> str:
        """The short name used in tasks, ledger, metrics and logs: the target's last part."""
        return self.target.rsplit(".", 1)[-1]

    @property
    def is_on(self) -> bool:
        """Whether the table has tasks and is watched."""
        return self.enabled

    @model_validator(mode="before")
    @classmethod
    def _gold_is_upsert_by_default(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("layer") in (Layer.GOLD, "gold") and "write_mode" not in data:
            return {**data, "write_mode": WriteMode.UPSERT, "closed_col": data.get("closed_col", "window_end")}
        return data

    @field_validator("source", "target")
    @classmethod
    def _is_a_table_name(cls, value: str) -> str:
        if len(value) > _LONGEST_NAME:
            raise ValueError(f"{value[:20]}… is longer than {_LONGEST_NAME} characters")
        parts = value.split(".")
        if len(parts) > 2 or not all(_NAME.fullmatch(part) for part in parts):
            raise ValueError(
                f"{value!r} is not a table name: use letters, digits and underscores, with at most one dot"
            )
        return value

    @field_validator("target")
    @classmethod
    def _names_its_namespace(cls, value: str) -> str:
        if "." not in value:
            raise ValueError(f"{value!r} lacks the Iceberg namespace: write it as `cold.{value}`")
        return value

    @model_validator(mode="after")
    def _fits_its_write_mode(self) -> TableConfig:
        if self.write_mode is WriteMode.UPSERT and not self.keys:
            raise ValueError("keys: an upsert table needs the columns that identify a row")
        if self.write_mode is WriteMode.UPSERT and not self.closed_col:
            raise ValueError("closed_col: an upsert table needs the column that says when a row's period closes")
        if self.write_mode is WriteMode.APPEND and self.closed_col:
            raise ValueError(
                "closed_col: only an upsert table has one; an append table would lose rows that close out of order"
            )
        if len(set(self.keys)) != len(self.keys):
            raise ValueError("keys: a column is named twice")
        return self


def _bronze(exchange: str) -> TableConfig:
    name = f"bronze_trades_{exchange}"
    return TableConfig(
        source=name,
        target=f"cold.{name}",
        layer=Layer.BRONZE,
        timestamp_col="exchange_timestamp",
        sequence_col="sequence_number",
        keys=("symbol", "trade_id"),
    )


def _gold(interval: str, partition: Partition) -> TableConfig:
    return TableConfig(
        source=f"ohlcv_{interval}",
        target=f"cold.gold_ohlcv_{interval}",
        layer=Layer.GOLD,
        timestamp_col="window_start",
        keys=("exchange", "symbol", "window_start"),
        write_mode=WriteMode.UPSERT,
        closed_col="window_end",
        partition=partition,
    )


DEFAULT_TABLES: tuple[TableConfig, ...] = (
    _bronze("binance"),
    _bronze("kraken"),
    TableConfig(
        source="silver_trades",
        target="cold.silver_trades",
        layer=Layer.SILVER,
        timestamp_col="exchange_timestamp",
        sequence_col="sequence_number",
        keys=("exchange", "symbol", "trade_id"),
    ),
    _gold("1m", Partition.DAY),
    _gold("5m", Partition.DAY),
    _gold("15m", Partition.DAY),
    _gold("30m", Partition.MONTH),
    _gold("1h", Partition.MONTH),
    _gold("1d", Partition.YEAR),
)
"""The nine tables that are offloaded while the Variable is not set."""


class InvalidTable(BaseModel):
    """A wrong entry of the Variable: it fails the tasks of its own table and nothing else."""

    model_config = ConfigDict(frozen=True)

    name: str
    layer: Layer
    problem: str

    @property
    def is_on(self) -> bool:
        """A wrong entry counts as switched on: its tasks fail, so that somebody sees it."""
        return True

    def error(self) -> FixConfiguration:
        """The error that this table's tasks end with."""
        return FixConfiguration(self.problem, f"Correct the entry in the Airflow Variable `{TABLES_VARIABLE}`.")


def switched_on(tables: Iterable[TableConfig | InvalidTable]) -> list[TableConfig | InvalidTable]:
    """The tables that have tasks and are watched, in their order; wrong entries are among them."""
    return [table for table in tables if table.is_on]


def parse_tables(text: str) -> list[TableConfig | InvalidTable]:
    """Read the Variable `iceberg_offload_tables`.

    Args:
        text: the Variable's value, a JSON list of objects.

    Returns:
        One item per entry, in order; an entry that is wrong, or that names a target a second time, is an
        `InvalidTable`.

    Raises:
        FixConfiguration: the text is not a JSON list.
    """
    entries = parse_json(text, TABLES_VARIABLE)
    if not isinstance(entries, list):
        raise FixConfiguration(
            f"The Airflow Variable `{TABLES_VARIABLE}` holds a JSON {type(entries).__name__}, not a list.",
            "Make it a list of table entries.",
        )
    tables: list[TableConfig | InvalidTable] = []
    names: set[str] = set()
    for number, entry in enumerate(entries, start=1):
        table = _parse_entry(entry, number)
        if table.name in names:
            table = InvalidTable(
                name=_unused(f"{table.name}_{number}", names),
                layer=table.layer,
                problem=f"Entry {number} names the target table {table.name} a second time.",
            )
        names.add(table.name)
        tables.append(table)
    return tables


def _unused(name: str, names: set[str]) -> str:
    while name in names:
        name += "_"
    return name


def _parse_entry(entry: object, number: int) -> TableConfig | InvalidTable:
    try:
        return TableConfig.model_validate(entry)
    except ValidationError as error:
        problem = f"Entry {number} of `{TABLES_VARIABLE}` is wrong: {explain(error)}."
    name, layer = f"entry_{number}", Layer.BRONZE
    if isinstance(entry, dict):
        target = str(entry.get("target") or "").rsplit(".", 1)[-1]
        name = target if _NAME.fullmatch(target) else name
        layer = next((known for known in Layer if known.value == entry.get("layer")), layer)
    return InvalidTable(name=name, layer=layer, problem=problem)
