"""What a run may be triggered for: the form and the conf, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.exceptions import ParamValidationError

from offload_airflow.compat.context import data_interval
from offload_airflow.compat.sdk import DAG, Context
from offload_airflow.requests.run import (
    RunScope,
    read_request,
    require_valid,
    run_params,
    run_request,
    run_scope,
)
from offload_core.config.tables import DEFAULT_TABLES, InvalidTable, Layer, TableConfig
from offload_core.errors import FixConfiguration
from offload_core.protocol.plan import RunMode
from tests.support.stack.airflow_version import dag_run

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
NAMED = {"from": "2026-03-01T10:00:00+00:00", "to": "2026-03-01T11:00:00+00:00"}
NAMES = [table.name for table in DEFAULT_TABLES]


def context(conf: dict[str, object] | None, run_type: str = "manual") -> Context:
    """The context of a task in a run with this conf, whose data interval is the quarter of an hour before noon."""
    start = NOON - timedelta(minutes=15)
    run = dag_run("any", "r", start, run_type=run_type, conf=conf)
    return Context(dag_run=run, data_interval_start=start, data_interval_end=NOON)  # type: ignore[typeddict-item]


def scope_of(conf: dict[str, object] | None, run_type: str = "manual") -> RunScope:
    """The scope of such a run, as its tasks see it."""
    task = context(conf, run_type)
    return run_scope(run_request(task), data_interval(task))


def validate(conf: dict[str, object], tables: Sequence[TableConfig | InvalidTable] = DEFAULT_TABLES) -> None:
    """Check the conf of a triggered run, as its first task does."""
    task = context(conf)
    require_valid(run_request(task), data_interval(task), tables)


@pytest.mark.parametrize(
    "conf", [{}, None, {"tables": None, "layers": None, "from": None, "to": None, "mode": "offload"}]
)
def test_a_run_without_conf_moves_new_rows_of_all_tables(conf: dict[str, object] | None) -> None:
    request = read_request(conf or {})
    assert all(request.selects(table) for table in DEFAULT_TABLES)
    assert scope_of(conf) == RunScope(RunMode.OFFLOAD, None, None, complete_at=None)


@pytest.mark.parametrize("run_type", ["scheduled", "backfill"])
def test_a_scheduled_and_a_backfill_run_have_the_interval_that_airflow_gives_them(run_type: str) -> None:
    start = NOON - timedelta(minutes=15)
    assert scope_of(None, run_type) == RunScope(RunMode.OFFLOAD, start, NOON, complete_at=NOON)


def test_a_backfill_with_a_mode_has_it_for_each_interval() -> None:
    start = NOON - timedelta(minutes=15)
    assert scope_of({"mode": "restate"}, "backfill") == RunScope(RunMode.RESTATE, start, NOON, NOON)


def test_from_and_to_without_a_mode_mean_repair() -> None:
    scope = scope_of(NAMED)
    assert scope == RunScope(RunMode.REPAIR, NOON - 2 * HOUR, NOON - HOUR, complete_at=None)


@pytest.mark.parametrize(
    ("text", "hour"), [("2026-03-01T10:00:00", 10), ("2026-03-01T10:00:00Z", 10), ("2026-03-01T10:00:00+02:00", 8)]
)
def test_a_time_without_a_zone_is_one_of_utc(text: str, hour: int) -> None:
    scope = scope_of({"from": text, "to": "2026-03-02T00:00:00Z"})
    assert scope.start == datetime(2026, 3, 1, hour, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"from": NAMED["from"]}, "`to` is missing"),
        ({"to": NAMED["to"]}, "`from` is missing"),
        ({"from": NAMED["to"], "to": NAMED["from"]}, r"`to` \(2026-03-01T10:00.*must lie after `from`"),
        ({"from": NAMED["to"], "to": NAMED["to"]}, "must lie after"),
        ({"from": "today", "to": NAMED["to"]}, "from: "),
        ({"mode": "destroy"}, "mode: .*'offload'"),
        ({"layers": ["platinum"]}, r"layers\.0: "),
        ({"table": "silver_trades"}, "table: Extra inputs are not permitted"),
        ({"mode": "restate"}, "Mode restate needs an interval"),
        ({"mode": "verify", "tables": NAMES[:1]}, "Mode verify needs an interval"),
        ({"mode": "repair"}, "Mode repair needs an interval"),
        ({"tables": ["nope"]}, "unknown or disabled: nope.*Choose from bronze_trades_binance"),
        ({"tables": ["silver_trades"], "layers": ["gold"]}, "No table is in both"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_and_the_message_names_the_field(
    conf: dict[str, object], message: str
) -> None:
    with pytest.raises(FixConfiguration, match=message):
        validate(conf)


def test_tables_and_layers_narrow_each_other() -> None:
    request = read_request({"tables": ["silver_trades", "gold_ohlcv_1m"], "layers": ["gold"]})
    assert [table.name for table in DEFAULT_TABLES if request.selects(table)] == ["gold_ohlcv_1m"]


def test_a_disabled_table_cannot_be_requested_and_a_broken_one_can() -> None:
    disabled = DEFAULT_TABLES[0].model_copy(update={"enabled": False})
    broken = InvalidTable(name="broken", layer=Layer.GOLD, problem="why")
    validate({"tables": ["broken"]}, [disabled, broken])
    with pytest.raises(FixConfiguration, match=f"unknown or disabled: {disabled.name}"):
        validate({"tables": [disabled.name]}, [disabled, broken])


def params() -> Any:
    return DAG("any", schedule=None, params=run_params(NAMES)).params


def test_the_forms_defaults_ask_for_nothing() -> None:
    conf = params().validate()
    assert read_request(conf) == read_request({})
    assert set(conf) == {"mode", "tables", "layers", "from", "to"}


def test_the_form_offers_the_tables_the_layers_and_every_mode_with_its_meaning() -> None:
    form = params()
    assert form.get_param("tables").schema["examples"] == NAMES
    assert form.get_param("layers").schema["examples"] == ["bronze", "silver", "gold"]
    assert set(form.get_param("mode").schema["values_display"]) == {mode.value for mode in RunMode}
    assert form.get_param("from").schema["format"] == form.get_param("to").schema["format"] == "date-time"


@pytest.mark.parametrize(
    ("name", "value"),
    [("tables", ["nope"]), ("tables", "silver_trades"), ("layers", ["nope"]), ("mode", "nope"), ("mode", None)],
)
def test_a_wrong_value_is_refused_before_there_is_a_run(name: str, value: object) -> None:
    with pytest.raises(ParamValidationError, match=f"Invalid input for param {name}"):
        params()[name] = value
