"""Which source rows a window holds, asked of a real ClickHouse over both ways to bind values."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import clickhouse_driver
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from offload_core.config.connections import ClickHouseConnection
from offload_core.config.tables import TableConfig
from offload_core.protocol.window import MICROSECOND, ORIGIN, Cursor, Window
from offload_core.source.projection import SourceColumn, project
from offload_core.source.queries import (
    NOW,
    any_row_query,
    driver_placeholder,
    format_time,
    http_placeholder,
    parse_time,
    window_condition,
    window_parameters,
)
from offload_core.source.quoting import quote_table
from tests.support.stack.servers import HotTier

NOON = datetime(2026, 11, 19, 12, tzinfo=timezone.utc)
LARGEST = 2**64 - 1
TRADES = TableConfig(source="window_trades", target="cold.t", layer="bronze", timestamp_col="at", sequence_col="n")
CANDLES = TableConfig(
    source="window_candles",
    target="cold.c",
    layer="gold",
    timestamp_col="opens",
    keys=("opens",),
    write_mode="upsert",
    closed_col="closes",
)
PLAIN = TRADES.model_copy(update={"sequence_col": None})

# Few values, so that equal timestamps and equal sequences are common.
moments = st.integers(-3, 3).map(lambda number: NOON + number * MICROSECOND)
sequences = st.sampled_from([0, 1, 2, LARGEST - 1, LARGEST])
windows = st.builds(Window, st.builds(Cursor, moments, sequences), moments)
on_the_engine = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def hot_tier(clickhouse: HotTier) -> HotTier:
    """Every combination of seven neighbouring microseconds and five sequences; candles of one to three minutes."""
    client = clickhouse.client
    client.command("CREATE TABLE window_trades (at DateTime64(6, 'UTC'), n UInt64) ENGINE = MergeTree ORDER BY (at, n)")
    client.command(
        "INSERT INTO window_trades SELECT toDateTime64('2026-11-19 12:00:00', 6, 'UTC') + toIntervalMicrosecond(number "
        "- 3), "
        f"arrayJoin([0, 1, 2, {LARGEST - 1}, {LARGEST}]) FROM numbers(7)"
    )
    client.command(
        "CREATE TABLE window_candles (opens DateTime('UTC'), closes DateTime('UTC')) ENGINE = MergeTree ORDER BY opens"
    )
    client.command(
        "INSERT INTO window_candles SELECT toDateTime('2026-11-19 12:00:00', 'UTC') + INTERVAL number MINUTE AS opens, "
        "opens + INTERVAL 1 MINUTE FROM numbers(10)"
    )
    return clickhouse


@pytest.fixture(scope="module")
def driver(hot_tier: HotTier) -> Iterator[clickhouse_driver.Client]:
    """The other client, which binds values by itself."""
    connection: ClickHouseConnection = hot_tier.connection
    client = clickhouse_driver.Client(
        connection.host,
        port=connection.native_port,
        user=connection.user,
        password=connection.password.get_secret_value(),
        database=connection.database,
    )
    yield client
    client.disconnect()


def expected(window: Window) -> list[tuple[datetime, int]]:
    """What a reader of the rule would pick: pairs after the lower one, up to the upper moment."""
    rows = [Cursor(NOON + number * MICROSECOND, n) for number in range(-3, 4) for n in (0, 1, 2, LARGEST - 1, LARGEST)]
    return [(row.timestamp, row.sequence) for row in rows if row > window.lower and row.timestamp <= window.upper]


def over_http(hot_tier: HotTier, table: TableConfig, window: Window) -> list[tuple[datetime, int]]:
    rows = hot_tier.client.rows(
        f"SELECT toString(at) AS moment, n FROM window_trades WHERE {window_condition(table)} ORDER BY at, n",
        window_parameters(window),
    )
    return [(parse_time(row["moment"]), int(row["n"])) for row in rows]


@pytest.mark.integration
class TestTrades:
    @on_the_engine
    @given(window=windows)
    @example(window=Window(Cursor(NOON, LARGEST), NOON))
    @example(window=Window(Cursor(NOON, 0), NOON))
    def test_the_rows_are_those_after_the_pair_and_up_to_the_moment(self, hot_tier: HotTier, window):
        assert over_http(hot_tier, TRADES, window) == expected(window)

    @on_the_engine
    @given(window=windows)
    def test_both_ways_to_bind_pick_the_same_rows(self, hot_tier: HotTier, driver: clickhouse_driver.Client, window):
        condition = window_condition(TRADES, driver_placeholder)
        query = f"SELECT toString(at), n FROM window_trades WHERE {condition} ORDER BY at, n"

        rows = driver.execute(query, window_parameters(window))

        assert [(parse_time(text), n) for text, n in rows] == over_http(hot_tier, TRADES, window)

    @on_the_engine
    @given(window=windows)
    def test_the_sensors_question_is_answered_by_the_same_rows(
        self, hot_tier: HotTier, driver: clickhouse_driver.Client, window
    ):
        found = bool(expected(window))

        assert bool(hot_tier.client.rows(any_row_query(TRADES), window_parameters(window))) == found
        assert bool(driver.execute(any_row_query(TRADES, driver_placeholder), window_parameters(window))) == found

    @on_the_engine
    @given(first=moments, middle=moments, last=moments, sequence=sequences)
    def test_neighbouring_windows_miss_nothing_and_take_nothing_twice(
        self, hot_tier: HotTier, first, middle, last, sequence
    ):
        first, middle, last = sorted((first, middle, last))
        whole = over_http(hot_tier, TRADES, Window(Cursor(first, sequence), last))
        head = over_http(hot_tier, TRADES, Window(Cursor(first, sequence), middle))
        reached = Cursor(*head[-1]) if head else Cursor(first, sequence)

        assert head + over_http(hot_tier, TRADES, Window(reached, last)) == whole

    def test_the_first_window_holds_everything(self, hot_tier: HotTier):
        assert len(over_http(hot_tier, TRADES, Window(ORIGIN, NOON + timedelta(days=1)))) == 35

    def test_without_a_sequence_the_timestamp_alone_counts(self, hot_tier: HotTier):
        rows = over_http(hot_tier, PLAIN, Window(Cursor(NOON, 1), NOON + MICROSECOND))

        assert {moment for moment, _ in rows} == {NOON + MICROSECOND}

    @pytest.mark.parametrize("kind", ["DateTime('UTC')", "DateTime64(6, 'UTC')", "DateTime64(3, 'Asia/Tokyo')"])
    def test_the_primary_index_cuts_the_range_although_the_columns_are_converted(self, hot_tier: HotTier, kind):
        client = hot_tier.client
        client.command("DROP TABLE IF EXISTS window_many")
        client.command(
            f"CREATE TABLE window_many (at {kind}, n UInt64) ENGINE = MergeTree ORDER BY (at, n) "
            "SETTINGS index_granularity = 64"
        )
        client.command(
            "INSERT INTO window_many SELECT toDateTime64('2026-11-19 12:00:00', 6, 'UTC') + toIntervalSecond(number), "
            "number "
            "FROM numbers(64000)"
        )
        table = TRADES.model_copy(update={"source": f"{hot_tier.connection.database}.window_many"})
        columns = project(table, [SourceColumn("at", kind), SourceColumn("n", "UInt64")])
        lower = NOON + timedelta(hours=10)

        plan = client.rows(
            f"EXPLAIN indexes = 1 SELECT {', '.join(column.select_item for column in columns)} "
            f"FROM {quote_table(table.source)} WHERE {window_condition(table)}",
            window_parameters(Window(Cursor(lower, 5), lower + timedelta(minutes=10))),
        )

        granules = [line["explain"].split()[-1] for line in plan if "Granules: " in line["explain"]]
        read, of = map(int, granules[-1].split("/"))
        assert of == 1000
        assert read < 20

    @pytest.mark.parametrize("alias", ["at", "n"])
    def test_what_the_select_list_calls_like_a_column_does_not_change_the_rows(self, hot_tier: HotTier, alias):
        (row,) = hot_tier.client.rows(
            f"SELECT count() AS {alias} FROM window_trades WHERE {window_condition(TRADES)}",
            window_parameters(Window(Cursor(NOON, 0), NOON)),
        )

        assert int(row[alias]) == 4

    def test_a_column_may_be_called_like_the_sensors_own_alias(self, hot_tier: HotTier):
        hot_tier.client.command("CREATE TABLE window_found (at DateTime('UTC'), found UInt64) ENGINE = Memory")
        hot_tier.client.command("INSERT INTO window_found VALUES ('2026-11-19 12:00:00', 5)")
        table = TRADES.model_copy(update={"source": "window_found", "sequence_col": "found"})

        def any_row(sequence: int) -> bool:
            window = Window(Cursor(NOON, sequence), NOON)
            return bool(hot_tier.client.rows(any_row_query(table), window_parameters(window)))

        assert any_row(4)
        assert not any_row(5)


@pytest.mark.integration
class TestCandles:
    def opens(self, hot_tier: HotTier, window: Window) -> list[int]:
        rows = hot_tier.client.rows(
            f"SELECT toMinute(opens) AS minute FROM window_candles WHERE {window_condition(CANDLES)} ORDER BY opens",
            window_parameters(window),
        )
        return [row["minute"] for row in rows]

    def test_only_closed_candles_are_taken(self, hot_tier: HotTier):
        assert self.opens(hot_tier, Window(ORIGIN, NOON + timedelta(minutes=3, seconds=59))) == [0, 1, 2]

    def test_a_candle_that_closes_with_the_window_is_closed(self, hot_tier: HotTier):
        assert self.opens(hot_tier, Window(ORIGIN, NOON + timedelta(minutes=3))) == [0, 1, 2]
        assert self.opens(hot_tier, Window(ORIGIN, NOON + timedelta(minutes=3) - MICROSECOND)) == [0, 1]

    def test_the_candle_of_the_watermark_is_not_new(self, hot_tier: HotTier):
        window = Window(Cursor(NOON + timedelta(minutes=2)), NOON + timedelta(minutes=5))

        assert self.opens(hot_tier, window) == [3, 4]


@pytest.mark.integration
class TestNames:
    def test_columns_and_tables_of_any_name_are_quoted(self, hot_tier: HotTier):
        nasty = TRADES.model_copy(update={"timestamp_col": "a`t) OR 1=1 --", "sequence_col": "n\\"})
        hot_tier.client.command(
            "CREATE TABLE `window_nasty` (`a\\`t) OR 1=1 --` DateTime64(6, 'UTC'), `n\\\\` UInt64) ENGINE = Memory"
        )
        table = nasty.model_copy(update={"source": "window_nasty"})

        assert hot_tier.client.rows(any_row_query(table), window_parameters(Window(ORIGIN, NOON))) == []


@pytest.mark.integration
class TestTheClock:
    def test_it_is_utc_whatever_zone_the_session_is_in(self, hot_tier: HotTier):
        times = [
            parse_time(hot_tier.client.rows(NOW, settings={"session_timezone": zone})[0]["now"])
            for zone in ("UTC", "Asia/Tokyo", "America/Lima")
        ]

        assert max(times) - min(times) < timedelta(seconds=30)
        assert abs(times[0] - datetime.now(timezone.utc)) < timedelta(minutes=1)

    def test_bound_moments_are_utc_whatever_zone_the_session_is_in(self, hot_tier: HotTier):
        (row,) = hot_tier.client.rows(
            f"SELECT count() AS n FROM window_trades WHERE {window_condition(TRADES)}",
            window_parameters(Window(Cursor(NOON - 4 * MICROSECOND), NOON)),
            {"session_timezone": "Asia/Tokyo"},
        )

        assert int(row["n"]) == 20


class TestTimesAsText:
    @given(
        st.datetimes(
            min_value=datetime(1900, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
            max_value=datetime(2299, 12, 31),  # noqa: DTZ001
            timezones=st.just(timezone.utc),
        )
    )
    def test_they_are_read_as_they_were_written(self, moment):
        assert parse_time(format_time(moment)) == moment

    @pytest.mark.parametrize(
        ("text", "micros"), [("", 0), (".5", 500000), (".000001", 1), (".123456", 123456), (".123456789", 123456)]
    )
    def test_clickhouse_writes_as_many_decimals_as_the_column_has(self, text, micros):
        assert parse_time(f"2026-11-19 12:00:00{text}") == NOON + micros * MICROSECOND

    def test_any_zone_is_written_in_utc(self):
        tokyo = NOON.astimezone(timezone(timedelta(hours=9)))

        assert format_time(tokyo) == "2026-11-19 12:00:00.000000"

    def test_placeholders_are_those_of_their_protocol(self):
        assert http_placeholder("lower") == "{lower:String}"
        assert driver_placeholder("lower") == "%(lower)s"
