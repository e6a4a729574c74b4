"""The Variable `iceberg_offload_tables`: what is accepted, and what an operator reads when it is not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from offload_core.config.json_text import explain
from offload_core.config.tables import (
    DEFAULT_TABLES,
    TABLES_VARIABLE,
    InvalidTable,
    Layer,
    TableConfig,
    WriteMode,
    parse_tables,
)
from offload_core.errors import FixConfiguration
from offload_core.protocol.partition import Partition

TRADES = {
    "source": "trades",
    "target": "cold.trades",
    "layer": "bronze",
    "timestamp_col": "exchange_timestamp",
    "keys": ["symbol", "trade_id"],
}
CANDLES = {
    "source": "candles",
    "target": "cold.candles",
    "layer": "gold",
    "timestamp_col": "window_start",
    "keys": ["symbol", "window_start"],
}


def refusal(entry: object) -> str:
    """What the operator reads of a wrong entry."""
    with pytest.raises(ValidationError) as caught:
        TableConfig.model_validate(entry)
    return explain(caught.value)


class TestTheShippedTables:
    def test_they_are_the_nine_of_the_three_layers(self):
        found = [
            (table.layer.value, table.source, table.target, table.timestamp_col, table.sequence_col)
            for table in DEFAULT_TABLES
        ]

        assert found == [
            ("bronze", name, f"cold.{name}", "exchange_timestamp", "sequence_number")
            for name in ("bronze_trades_binance", "bronze_trades_kraken")
        ] + [("silver", "silver_trades", "cold.silver_trades", "exchange_timestamp", "sequence_number")] + [
            ("gold", f"ohlcv_{interval}", f"cold.gold_ohlcv_{interval}", "window_start", None)
            for interval in ("1m", "5m", "15m", "30m", "1h", "1d")
        ]

    def test_trades_are_appended_and_candles_upserted_once_closed(self):
        modes = {(table.layer, table.write_mode, table.closed_col) for table in DEFAULT_TABLES}

        assert modes == {
            (Layer.BRONZE, WriteMode.APPEND, None),
            (Layer.SILVER, WriteMode.APPEND, None),
            (Layer.GOLD, WriteMode.UPSERT, "window_end"),
        }

    def test_every_table_has_the_keys_that_a_repair_needs(self):
        keys = {table.layer: table.keys for table in DEFAULT_TABLES}

        assert keys == {
            Layer.BRONZE: ("symbol", "trade_id"),
            Layer.SILVER: ("exchange", "symbol", "trade_id"),
            Layer.GOLD: ("exchange", "symbol", "window_start"),
        }

    def test_the_variable_can_hold_them_as_they_are(self):
        text = json.dumps([table.model_dump(mode="json") for table in DEFAULT_TABLES])

        assert parse_tables(text) == list(DEFAULT_TABLES)


class TestOneEntry:
    def test_a_minimal_entry_is_enough(self):
        table = TableConfig.model_validate(TRADES)

        assert table == TableConfig(
            source="trades",
            target="cold.trades",
            layer=Layer.BRONZE,
            timestamp_col="exchange_timestamp",
            keys=("symbol", "trade_id"),
            sequence_col=None,
            write_mode=WriteMode.APPEND,
            closed_col=None,
            lookback_minutes=120,
            partition=Partition.DAY,
            enabled=True,
        )

    def test_a_minimal_gold_entry_is_an_upsert_of_closed_candles(self):
        table = TableConfig.model_validate(CANDLES)

        assert (table.write_mode, table.closed_col) == (WriteMode.UPSERT, "window_end")

    def test_a_gold_entry_may_name_its_own_closing_column(self):
        assert TableConfig.model_validate({**CANDLES, "closed_col": "closes"}).closed_col == "closes"

    def test_a_gold_entry_may_be_appended(self):
        table = TableConfig.model_validate({**CANDLES, "write_mode": "append"})

        assert (table.write_mode, table.closed_col) == (WriteMode.APPEND, None)

    def test_a_table_is_called_by_the_last_part_of_its_target(self):
        assert TableConfig.model_validate({**TRADES, "target": "archive.deep_trades"}).name == "deep_trades"

    def test_an_entry_cannot_be_changed_afterwards(self):
        table = TableConfig.model_validate(TRADES)

        with pytest.raises(ValidationError):
            table.source = "other"  # type: ignore[misc]

    @pytest.mark.parametrize("field", ["source", "target", "layer", "timestamp_col"])
    def test_a_missing_field_is_named(self, field):
        entry = {name: value for name, value in TRADES.items() if name != field}

        assert refusal(entry) == f"{field}: Field required"

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"sequence_column": "n"}, "sequence_column: Extra inputs are not permitted"),
            ({"layer": "platinum"}, "layer: Input should be 'bronze', 'silver' or 'gold'"),
            ({"source": 7}, "source: Input should be a valid string"),
            ({"source": "k2.raw.trades"}, "source: 'k2.raw.trades' is not a table name: use letters"),
            ({"source": "trades; DROP TABLE trades"}, "source: 'trades; DROP TABLE trades' is not a table name"),
            ({"source": "`trades`"}, "source: '`trades`' is not a table name"),
            ({"source": ""}, "source: '' is not a table name"),
            ({"source": "trades\n"}, r"source: 'trades\n' is not a table name"),
            ({"source": "träde"}, "source: 'träde' is not a table name"),
            ({"target": "cold.trades\n"}, r"target: 'cold.trades\n' is not a table name"),
            ({"target": "trades"}, "target: 'trades' lacks the Iceberg namespace: write it as `cold.trades`"),
            ({"target": "../trades"}, "target: '../trades' is not a table name"),
            ({"timestamp_col": None}, "timestamp_col: Input should be a valid string"),
            ({"keys": "symbol"}, "keys: Input should be a valid tuple"),
            ({"keys": ["symbol", 1]}, "keys.1: Input should be a valid string"),
            ({"keys": ["symbol", "symbol"]}, "keys: a column is named twice"),
            ({"write_mode": "merge"}, "write_mode: Input should be 'append' or 'upsert'"),
            ({"write_mode": "upsert", "closed_col": "e", "keys": []}, "keys: an upsert table needs the columns"),
            ({"write_mode": "upsert"}, "closed_col: an upsert table needs the column that says when a row's period"),
            ({"closed_col": "window_end"}, "closed_col: only an upsert table has one"),
            ({"lookback_minutes": -1}, "lookback_minutes: Input should be greater than or equal to 0"),
            ({"lookback_minutes": 600_000}, "lookback_minutes: Input should be less than or equal to 527040"),
            ({"partition": "week"}, "partition: Input should be 'hour', 'day', 'month' or 'year'"),
            ({"as_text": "map"}, "as_text: Input should be a valid tuple"),
            ({"allow_precision_loss": True}, "allow_precision_loss: Input should be a valid tuple"),
            ({"enabled": "perhaps"}, "enabled: Input should be a valid boolean"),
        ],
    )
    def test_a_wrong_field_is_named_with_its_reason(self, change, reason):
        assert refusal({**TRADES, **change}).startswith(reason)

    def test_all_wrong_fields_are_told_at_once(self):
        assert refusal({**TRADES, "layer": "x", "partition": "y"}).count(": Input should be") == 2

    @given(st.text(max_size=20))
    def test_only_plain_identifiers_are_table_names(self, name):
        plain = name.isascii() and name.isidentifier()
        try:
            table = TableConfig.model_validate({**TRADES, "source": name})
        except ValidationError:
            assert not all(part.isascii() and part.isidentifier() for part in name.split(".", 1))
        else:
            assert table.source == name
            assert plain or name.count(".") == 1


class TestTheWholeVariable:
    def test_a_broken_entry_fails_alone(self):
        good, bad, candles = TRADES, {**TRADES, "target": "cold.other", "layer": "silver", "keys": 3}, CANDLES

        tables = parse_tables(json.dumps([good, bad, candles]))

        assert [table.name for table in tables] == ["trades", "other", "candles"]
        assert [isinstance(table, InvalidTable) for table in tables] == [False, True, False]
        assert tables[1].layer is Layer.SILVER

    def test_the_error_of_a_broken_entry_names_entry_field_and_variable(self):
        (broken,) = parse_tables(json.dumps([{**TRADES, "keys": 3}]))

        assert isinstance(broken, InvalidTable)
        error = broken.error()
        assert isinstance(error, FixConfiguration)
        assert str(error) == (
            "Entry 1 of `iceberg_offload_tables` is wrong: keys: Input should be a valid tuple. "
            "Correct the entry in the Airflow Variable `iceberg_offload_tables`."
        )

    def test_a_target_that_is_named_twice_fails_its_second_entry(self):
        tables = parse_tables(json.dumps([TRADES, {**TRADES, "source": "other"}]))

        assert isinstance(tables[0], TableConfig)
        assert isinstance(tables[1], InvalidTable)
        assert tables[1].problem == "Entry 2 names the target table trades a second time."

    def test_two_targets_of_one_short_name_are_one_name_too_many(self):
        tables = parse_tables(json.dumps([TRADES, {**TRADES, "target": "archive.trades"}]))

        assert [type(table) for table in tables] == [TableConfig, InvalidTable]

    def test_a_duplicate_takes_no_other_tables_name(self):
        entries = [TRADES, {**TRADES, "target": "cold.trades_3"}, TRADES]

        names = [table.name for table in parse_tables(json.dumps(entries))]

        assert len(set(names)) == 3
        assert names[:2] == ["trades", "trades_3"]

    @pytest.mark.parametrize("target", [None, 7, "", "a.b.c", "cold.", "cold.drop table", ["cold.trades"], "cold.x\n"])
    def test_an_entry_without_a_usable_target_is_called_by_its_number(self, target):
        entry = {name: value for name, value in TRADES.items() if name != "target"}
        entries = [entry if target is None else {**entry, "target": target}]

        (table,) = parse_tables(json.dumps(entries))

        assert isinstance(table, InvalidTable)
        assert table.name == ("c" if target == "a.b.c" else "entry_1")

    @pytest.mark.parametrize("entry", [None, 1, "trades", [], True])
    def test_an_entry_that_is_no_object_is_called_by_its_number(self, entry):
        (table,) = parse_tables(json.dumps([entry]))

        assert isinstance(table, InvalidTable)
        assert table.name == "entry_1"
        assert table.problem.startswith("Entry 1 of `iceberg_offload_tables` is wrong: ")

    @given(
        st.lists(
            st.fixed_dictionaries(
                {"target": st.sampled_from(["cold.a", "cold.a_", "cold.a_2", "cold.a_3", "cold.entry_2", "x", ""])},
                optional={"layer": st.sampled_from(["bronze", "gold", "x"])},
            ).map(lambda change: {**TRADES, **change})
            | st.none(),
            max_size=8,
        )
    )
    def test_no_two_tables_ever_share_a_name(self, entries):
        names = [table.name for table in parse_tables(json.dumps(entries))]

        assert len(names) == len(entries)
        assert len(set(names)) == len(names)

    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*TRADES, "closed_col"]), inner, max_size=4)
        ),
        max_leaves=12,
    )

    @given(st.lists(json_values, max_size=5))
    def test_whatever_the_entries_are_each_becomes_a_table_or_says_what_is_wrong(self, entries):
        tables = parse_tables(json.dumps(entries))

        assert len(tables) == len(entries)
        assert all(isinstance(table, TableConfig) or table.problem for table in tables)

    def test_an_empty_list_is_no_tables(self):
        assert parse_tables("[]") == []

    @pytest.mark.parametrize("text", ["", "{", "nine tables", "[1, 2,]"])
    def test_a_variable_that_is_no_json_is_an_error_that_says_so(self, text):
        with pytest.raises(FixConfiguration, match=f"The Airflow Variable `{TABLES_VARIABLE}` is not valid JSON: "):
            parse_tables(text)

    @pytest.mark.parametrize(("text", "kind"), [("{}", "dict"), ('"x"', "str"), ("null", "NoneType"), ("3", "int")])
    def test_a_variable_that_is_no_list_is_an_error_that_says_so(self, text, kind):
        with pytest.raises(FixConfiguration, match=f"holds a JSON {kind}, not a list"):
            parse_tables(text)
