"""The job's command line: what the operator writes is what the job reads, and five arguments are enough."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload_core.config.settings import Settings
from offload_core.config.tables import DEFAULT_TABLES, TableConfig, WriteMode
from offload_core.errors import FixConfiguration
from offload_core.jobs.arguments import JobArguments, parse

BINANCE = [
    *("--source-table", "bronze_trades_binance", "--target-table", "cold.bronze_trades_binance"),
    *("--timestamp-col", "exchange_timestamp", "--sequence-col", "sequence_number", "--layer", "bronze"),
]

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True)
columns = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).map(lambda text: f"c{text}")
lists = st.lists(columns, max_size=3, unique=True).map(tuple)


@st.composite
def tables(draw: st.DrawFn) -> TableConfig:
    upsert = draw(st.booleans())
    return TableConfig.model_validate(
        {
            "source": draw(names | st.builds("{}.{}".format, names, names)),
            "target": draw(st.builds("{}.{}".format, names, names)),
            "layer": draw(st.sampled_from(["bronze", "silver", "gold"])),
            "timestamp_col": draw(columns),
            "sequence_col": draw(st.none() | columns),
            "keys": draw(lists.filter(bool)) if upsert else draw(lists),
            "write_mode": "upsert" if upsert else "append",
            "closed_col": draw(columns) if upsert else None,
            "lookback_minutes": draw(st.integers(0, 60 * 24 * 366)),
            "partition": draw(st.sampled_from(["hour", "day", "month", "year"])),
            "allow_precision_loss": draw(lists),
            "as_text": draw(lists),
            "enabled": draw(st.booleans()),
        }
    )


settings = st.builds(
    Settings,
    pipeline_id=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    buffer_minutes=st.floats(0, 1440),
    max_rows_per_commit=st.integers(1, 10**9),
    clickhouse_settings=st.dictionaries(names, st.integers(0, 9) | st.text(max_size=5), max_size=2),
    spark_conf=st.dictionaries(st.just("spark.executor.cores"), st.text(max_size=5)),
)
moments = st.datetimes(
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - the strategy adds the zone
    timezones=st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours))),
    max_value=datetime(2299, 1, 1),  # noqa: DTZ001
)
run_ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)


@given(
    st.builds(
        JobArguments,
        table=tables(),
        settings=settings,
        interval_end=st.none() | moments,
        run_id=run_ids,
        attempt=st.integers(1, 99),
    )
)
def test_the_job_reads_what_the_operator_writes(arguments):
    assert parse(arguments.to_argv()) == arguments


@pytest.mark.parametrize("table", DEFAULT_TABLES, ids=lambda table: table.name)
def test_the_five_arguments_alone_mean_the_shipped_table_with_default_settings(table):
    argv = ["--source-table", table.source, "--target-table", table.target, "--timestamp-col", table.timestamp_col]
    argv += ["--sequence-col", table.sequence_col or "-", "--layer", table.layer.value]

    arguments = parse(argv)

    assert arguments.table == table
    assert arguments.settings == Settings()
    assert arguments.interval_end is None
    assert arguments.attempt == 1
    assert arguments.run_id.startswith("by_hand_")


def test_the_five_arguments_of_a_table_of_ones_own_get_the_usual_options():
    argv = ["--source-table", "ticks", "--target-table", "cold.ticks", "--timestamp-col", "at"]

    arguments = parse([*argv, "--sequence-col", "-", "--layer", "bronze"])

    assert arguments.table == TableConfig(source="ticks", target="cold.ticks", layer="bronze", timestamp_col="at")


def test_the_five_arguments_count_more_than_the_options():
    options = json.dumps({"source": "other", "layer": "gold", "keys": ["k"]})

    table = parse([*BINANCE, "--table-options", options]).table

    assert (table.source, table.layer.value, table.keys) == ("bronze_trades_binance", "bronze", ("k",))
    assert table.write_mode is WriteMode.APPEND


def test_a_table_without_sequence_still_gives_all_five_arguments():
    candles = next(table for table in DEFAULT_TABLES if table.sequence_col is None)

    argv = JobArguments(candles, Settings()).to_argv()

    assert argv[argv.index("--sequence-col") + 1] == "-"


def test_default_settings_do_not_lengthen_the_command_line():
    assert "--settings" not in JobArguments(DEFAULT_TABLES[0], Settings()).to_argv()


@pytest.mark.parametrize("missing", range(0, len(BINANCE), 2), ids=lambda at: BINANCE[at])
def test_a_missing_argument_is_named(missing):
    argv = BINANCE[:missing] + BINANCE[missing + 2 :]

    with pytest.raises(FixConfiguration, match=BINANCE[missing]):
        parse(argv)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--fast"], "unrecognized arguments: --fast"),
        (["--layer", "platinum"], "argument --layer: invalid choice: 'platinum'"),
        (["--attempt", "second"], "argument --attempt: invalid int value: 'second'"),
        (["--source-table", "trades; DROP TABLE trades"], "source: 'trades; DROP TABLE trades' is not a table name"),
        (["--target-table", "trades"], "target: 'trades' lacks the Iceberg namespace"),
        (["--interval-end", "yesterday"], "Invalid isoformat string: 'yesterday'"),
        (["--settings", '{"buffer": 1}'], "buffer: Extra inputs are not permitted"),
        (["--settings", "buffer=1"], "Invalid JSON"),
        (["--settings", "[]"], "Input should be an object"),
        (["--table-options", '{"keys": 1}'], "keys: Input should be a valid tuple"),
        (["--table-options", "keys=1"], "Expecting value"),
        (["--table-options", "[]"], "--table-options is not a JSON object"),
        (["--table-options", "7"], "--table-options is not a JSON object"),
    ],
)
def test_a_wrong_argument_is_named_with_its_reason(more, reason):
    with pytest.raises(FixConfiguration) as caught:
        parse([*BINANCE, *more])

    assert str(caught.value).startswith("The job's arguments are wrong: ")
    assert reason in str(caught.value)


def test_an_interval_end_without_zone_is_refused():
    with pytest.raises(FixConfiguration, match="--interval-end 2026-11-19T12:00:00 has no time zone"):
        parse([*BINANCE, "--interval-end", "2026-11-19T12:00:00"])


def test_an_interval_end_in_any_zone_is_read_as_utc():
    end = parse([*BINANCE, "--interval-end", "2026-11-19T21:00:00+09:00"]).interval_end

    assert end == datetime(2026, 11, 19, 12, tzinfo=timezone.utc)
    assert end.tzinfo is timezone.utc


def test_help_explains_every_argument(capsys):
    with pytest.raises(SystemExit) as caught:
        parse(["--help"])

    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for argument in BINANCE[::2]:
        assert argument in shown


def test_nothing_on_the_command_line_can_hold_a_secret():
    fields = {*TableConfig.model_fields, *Settings.model_fields}

    assert not {name for name in fields for word in ("password", "secret", "token", "credential") if word in name}
