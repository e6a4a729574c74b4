"""What is offloaded and how: the models behind the Airflow Variables and the job's arguments.

`iceberg_offload_tables` is a JSON list of `TableConfig`; `iceberg_offload_settings` is one JSON object, `Settings`.
"""

from __future__ import annotations

import json
import re
from enum import Enum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from offload_core.errors import FixConfiguration
from offload_core.window import Partition

TABLES_VARIABLE = "iceberg_offload_tables"
SETTINGS_VARIABLE = "iceberg_offload_settings"

_LONGEST_NAME = 128
"""Airflow's task ids, which contain the name, end at 250 characters."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


Addresses = tuple[Annotated[str, Field(pattern=r"^[^@\s,;<>]+@[^@\s,;<>]+$")], ...]
"""Mail addresses, without names."""


class Layer(str, Enum):
    """The order of the work: bronze, then silver, then gold."""

    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"


class WriteMode(str, Enum):
    """`append`: rows never change once written. `upsert`: a row may change until its period is long closed (candles)."""

    APPEND = "append"
    UPSERT = "upsert"


class SchemaContract(str, Enum):
    """What happens when columns change in ClickHouse: Iceberg follows (`evolve`), or the table's runs fail (`freeze`)."""

    EVOLVE = "evolve"
    FREEZE = "freeze"


class TableConfig(BaseModel):
    """One table's entry in `iceberg_offload_tables`.

    A minimal entry has `source`, `target`, `layer`, `timestamp_col` and `keys`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Annotated[str, Field(description="ClickHouse table, `table` or `database.table`.")]
    target: Annotated[str, Field(description="Iceberg table, `namespace.table`.")]
    layer: Annotated[Layer, Field(description="bronze, silver or gold.")]
    timestamp_col: Annotated[str, Field(description="Column that orders the rows in time; DateTime or DateTime64.")]
    sequence_col: Annotated[
        str | None, Field(description="Integer column that orders rows of the same timestamp; none for candles.")
    ] = None
    keys: Annotated[tuple[str, ...], Field(description="Columns that identify a row, in any order.")] = ()
    write_mode: Annotated[
        WriteMode, Field(description="append (default for bronze and silver) or upsert (default for gold).")
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
    partition: Annotated[
        Partition, Field(description="Iceberg partition transform of timestamp_col: hour, day, month or year.")
    ] = Partition.DAY
    allow_precision_loss: Annotated[
        tuple[str, ...],
        Field(description="Columns that may lose digits beyond what Iceberg can hold; all others are refused instead."),
    ] = ()
    as_text: Annotated[
        tuple[str, ...],
        Field(
            description="Columns to carry as ClickHouse's text where Iceberg has no exact counterpart of their type."
        ),
    ] = ()
    schema_contract: Annotated[
        SchemaContract,
        Field(
            description="evolve: columns that ClickHouse adds, widens or makes Nullable are followed. freeze: they are errors. "
            "Renamed, dropped and otherwise changed columns are errors under both."
        ),
    ] = SchemaContract.EVOLVE
    sort_by: Annotated[
        tuple[str, ...],
        Field(
            description="Columns that compacted files are sorted by within each hour, for the reads people do; default: the keys. "
            "The time comes last."
        ),
    ] = ()
    enabled: Annotated[bool, Field(description="false: the table keeps its place but is not offloaded.")] = True

    @property
    def name(self) -> str:
        """The short name used in tasks, ledger, metrics and logs: the target's last part."""
        return self.target.rsplit(".", 1)[-1]

    @model_validator(mode="before")
    @classmethod
    def _gold_is_upsert_unless_said_otherwise(cls, data: Any) -> Any:
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


class Settings(BaseModel):
    """Everything that is not about one table: the Airflow Variable `iceberg_offload_settings`. Durations say their unit."""

    # A secret that was put here by mistake must not get into a log with the error that refuses it.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    pipeline_id: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Names this pipeline in markers, locks and the ledger."),
    ] = "iceberg_offload"
    schedule: Annotated[str, Field(description="Cron expression of the offload, UTC.")] = "*/15 * * * *"
    buffer_minutes: Annotated[float, Field(ge=0, le=1440, description="How long rows may take to arrive (R55).")] = 5
    max_rows_per_commit: Annotated[
        int, Field(ge=1, description="A larger window is split into chunks, each with its own commit and ledger row.")
    ] = 5_000_000
    rows_per_file: Annotated[
        int, Field(ge=1, description="A partition's share of a chunk above this is fetched as several files.")
    ] = 1_000_000
    fetch_parallelism: Annotated[
        int, Field(ge=1, le=64, description="Files fetched from ClickHouse at once by one job.")
    ] = 2
    lock_wait_seconds: Annotated[
        float, Field(ge=0, le=600, description="How long a run waits for the table's lock.")
    ] = 20
    clickhouse_timeout_seconds: Annotated[
        float, Field(gt=0, le=3600, description="Longest silence of ClickHouse before the attempt fails.")
    ] = 120
    clickhouse_settings: Annotated[
        dict[str, str | int | float],
        Field(description="ClickHouse settings of the offload's queries, such as max_threads."),
    ] = {}
    audit_hours: Annotated[
        int, Field(ge=1, le=24 * 31, description="How many hours before the watermark the hourly audit compares (R62).")
    ] = 6
    audit_schedule: Annotated[str, Field(description="Cron expression of the audit, UTC.")] = "35 * * * *"
    audit_timeout_minutes: Annotated[
        float, Field(gt=0, le=1440, description="One attempt at auditing one table, or at repairing it.")
    ] = 20
    audit_keep_days: Annotated[
        float, Field(ge=1, le=3650, description="How long results of audits are kept in `offload_audits`.")
    ] = 90
    task_timeout_minutes: Annotated[
        float,
        Field(gt=0, le=1440, description="One attempt of one table; three attempts and their pauses fit the period."),
    ] = 4
    sla_minutes: Annotated[
        float, Field(gt=0, le=1440, description="Airflow SLA of an offload task after its due time.")
    ] = 5
    pool: Annotated[
        str, Field(min_length=1, description="Airflow pool of the Spark tasks; its slots are the parallelism.")
    ] = "iceberg_offload"
    maintenance_schedule: Annotated[
        str, Field(description="Cron expression of the maintenance, UTC: once a day, at a quiet hour.")
    ] = "30 3 * * *"
    maintenance_timeout_minutes: Annotated[
        float, Field(gt=0, le=1440, description="One attempt of one table's maintenance.")
    ] = 60
    compaction_target_mb: Annotated[
        int, Field(ge=1, description="Size (MiB) of the files that compaction makes of smaller ones.")
    ] = 128
    compaction_batch_mb: Annotated[
        int, Field(ge=1, description="How much (MiB) one commit of a compaction rewrites at most, whole partitions.")
    ] = 4096
    snapshot_age_hours: Annotated[
        float,
        Field(
            ge=0,
            description="Snapshots stay this long, for readers, time travel and roll-backs; the newest commit always does.",
        ),
    ] = 72
    snapshots_to_keep: Annotated[int, Field(ge=1, description="How many snapshots stay, whatever their age.")] = 20
    orphan_age_hours: Annotated[
        float,
        Field(
            ge=24,
            description="Files that no snapshot refers to are deleted when they are this old; it must be longer than the longest write.",
        ),
    ] = 24
    ledger_retention_days: Annotated[
        float,
        Field(
            ge=1,
            description="Ledger rows stay this long; those that are still needed always do. The weekly report compares two weeks.",
        ),
    ] = 15
    spark_conf: Annotated[dict[str, str], Field(description="Further Spark settings of the job. No secrets.")] = {}
    driver_memory: Annotated[str, Field(pattern=r"^\d+[kmgKMG]$", description="Spark driver memory.")] = "2g"
    executor_memory: Annotated[str, Field(pattern=r"^\d+[kmgKMG]$", description="Spark executor memory.")] = "2g"
    clickhouse_conn_id: Annotated[str, Field(description="Airflow Connection: ClickHouse, native protocol.")] = (
        "clickhouse_default"
    )
    clickhouse_http_conn_id: Annotated[
        str,
        Field(
            description="Airflow Connection: the same ClickHouse, HTTP. Missing: the native one's host on port 8123."
        ),
    ] = "clickhouse_http"
    postgres_conn_id: Annotated[str, Field(description="Airflow Connection: PostgreSQL with the ledger.")] = (
        "postgres_default"
    )
    spark_conn_id: Annotated[str, Field(description="Airflow Connection: the Spark master.")] = "spark_default"
    iceberg_conn_id: Annotated[str, Field(description="Airflow Connection: the Iceberg catalog.")] = "iceberg_default"
    metrics_url: Annotated[
        str | None,
        Field(
            pattern=r"^https?://", description="Address of the metrics endpoint, for `offload doctor`; none: not asked."
        ),
    ] = None
    freshness_schedule: Annotated[
        str,
        Field(
            description="Cron expression of the look at every table's lag, UTC; three minutes past the cycle's start, most tables are done."
        ),
    ] = "3-59/5 * * * *"
    alert_recipients: Annotated[
        Addresses,
        Field(
            description="Mail addresses that are told when tables are late or fail, and when it is over; none: no mail."
        ),
    ] = ()
    page_recipients: Annotated[
        Addresses,
        Field(
            description="Mail addresses that also get what can't wait: halted tables, lost rows, a lag of more than an hour."
        ),
    ] = ()
    slack_conn_id: Annotated[
        str | None,
        Field(min_length=1, description="Airflow Connection: a Slack incoming webhook for the same; none: no Slack."),
    ] = None
    runbook_url: Annotated[
        str | None,
        Field(
            pattern=r"^https?://", description="Where docs/runbooks can be read, for links in alerts; none: file names."
        ),
    ] = None
    log_retention_days: Annotated[
        float, Field(ge=1, le=3650, description="How long the log files of the offload's own DAGs are kept (R104).")
    ] = 7
    report_schedule: Annotated[str, Field(description="Cron expression of the weekly report, UTC.")] = "0 9 * * 1"
    report_recipients: Annotated[
        Addresses, Field(description="Mail addresses that get the weekly report; none: it is only written to a file.")
    ] = ()
    report_folder: Annotated[
        str | None,
        Field(min_length=1, description="Where the weekly report is written; none: `reports` in AIRFLOW_HOME."),
    ] = None

    @field_validator("spark_conf")
    @classmethod
    def _holds_no_secret(cls, value: dict[str, str]) -> dict[str, str]:
        for key in value:
            if re.search(r"(?i)secret|password|credential|token|(access|account).?key", key):
                raise ValueError(f"{key} looks like a secret: put it into an Airflow Connection instead")
        return value


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
"""The nine tables that are offloaded while the Variable is unset."""


class InvalidTable(BaseModel):
    """An entry of the Variable that can't be used: it fails its own table's tasks and nothing else."""

    model_config = ConfigDict(frozen=True)

    name: str
    layer: Layer
    problem: str

    def error(self) -> FixConfiguration:
        """The error that this table's tasks end with."""
        return FixConfiguration(self.problem, f"Correct the entry in the Airflow Variable `{TABLES_VARIABLE}`.")


def parse_tables(text: str) -> list[TableConfig | InvalidTable]:
    """Read the Variable `iceberg_offload_tables`.

    Args:
        text: the Variable's value, a JSON list of objects.

    Returns:
        One item per entry, in order; an entry that is wrong, or that names a target a second time, is an `InvalidTable`.

    Raises:
        FixConfiguration: the text is no JSON list.
    """
    entries = _parse_json(text, TABLES_VARIABLE)
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


def parse_settings(text: str) -> Settings:
    """Read the Variable `iceberg_offload_settings`, a JSON object.

    Raises:
        FixConfiguration: no JSON object, an unknown setting or a wrong value; the message names the field.
    """
    values = _parse_json(text, SETTINGS_VARIABLE)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise FixConfiguration(
            f"The Airflow Variable `{SETTINGS_VARIABLE}` is wrong: {explain(error)}.", "Correct it there."
        ) from error


def explain(error: ValidationError) -> str:
    """A pydantic error in one line: each field and its reason."""
    parts = []
    for item in error.errors(include_url=False):
        field = ".".join(str(part) for part in item["loc"])
        reason = item["msg"].removeprefix("Value error, ")
        parts.append(f"{field}: {reason}" if field else reason)
    return "; ".join(parts)


def _parse_json(text: str, variable: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise FixConfiguration(
            f"The Airflow Variable `{variable}` is not valid JSON: {error}.",
            "Correct it there, or delete it to use the defaults.",
        ) from error


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
