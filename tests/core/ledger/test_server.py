"""What the ledger says when PostgreSQL is not there, not set up or doesn't let us in."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg import sql
from pydantic import SecretStr

from offload_core.config.connections import PostgresConnection
from offload_core.errors import FixConfiguration, FixCredentials, LedgerUnavailable, RunInit
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import LedgerConnection, connect
from offload_core.protocol.window import ORIGIN
from tests.support.checkout import CHECKOUT
from tests.support.stack.servers import postgres_database

pytestmark = pytest.mark.integration

DDL = CHECKOUT / "include" / "sql" / "postgres"


@pytest.fixture
def empty_database(ledger_database: PostgresConnection) -> Iterator[PostgresConnection]:
    """A database without the ledger's tables."""
    with postgres_database(ledger_database, "offload_empty") as database:
        yield database


class TestConnecting:
    def test_a_session_is_named_and_in_utc_whatever_the_databases_own_zone_is(self, empty_database):
        with connect(empty_database) as session:
            name = sql.Identifier(empty_database.database)
            session.execute(sql.SQL("ALTER DATABASE {} SET timezone = 'Asia/Tokyo'").format(name))

        with connect(empty_database, "offload trades by_hand try 1") as session:
            record = session.execute(
                "SELECT current_setting('timezone') AS zone, current_setting('application_name') AS name"
            ).fetchone()

        assert record == {"zone": "UTC", "name": "offload trades by_hand try 1"}

    def test_a_name_longer_than_postgresql_takes_is_cut(self, ledger_database):
        with connect(ledger_database, "x" * 200) as session:
            assert session.info.parameter_status("application_name") == "x" * 63

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"password": SecretStr("wr0ng secret")}, "password authentication failed"),
            ({"password": SecretStr("")}, "no password supplied"),
            ({"user": "nobody_we_know"}, "nobody_we_know"),
            ({"database": "no_such_database"}, 'database "no_such_database" does not exist'),
        ],
    )
    def test_a_refused_login_names_server_and_user_and_never_the_password(
        self, ledger_database, change, reason, monkeypatch
    ):
        monkeypatch.setenv("PGPASSFILE", "/nowhere")
        monkeypatch.delenv("PGPASSWORD", raising=False)
        connection = ledger_database.model_copy(update=change)

        with pytest.raises(FixCredentials) as caught:
            connect(connection)

        assert reason in str(caught.value)
        assert f"127.0.0.1:{connection.port}/{connection.database} refused user {connection.user}" in str(caught.value)
        text = "".join(traceback.format_exception(caught.value))
        for secret in ("wr0ng secret", ledger_database.password.get_secret_value()):
            assert secret not in text

    def test_a_server_that_is_down_is_worth_another_try(self, ledger_database):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        nobody = ledger_database.model_copy(update={"port": port})

        with pytest.raises(LedgerUnavailable) as caught:
            connect(nobody)

        assert caught.value.problem == (
            f"PostgreSQL with the watermarks can't be reached at 127.0.0.1:{port}/{nobody.database}: "
            f'connection to server at "127.0.0.1", port {port} failed: Connection refused.'
        )
        assert caught.value.retryable

    def test_an_unknown_host_is_worth_another_try(self, ledger_database):
        with pytest.raises(LedgerUnavailable, match=r"nowhere\.invalid"):
            connect(ledger_database.model_copy(update={"host": "nowhere.invalid"}))


class TestASessionThatBreaks:
    def test_every_use_of_it_is_worth_another_try(self, open_session: Callable[..., LedgerConnection], pipeline):
        session = open_session()
        ledger = Ledger(session, pipeline)
        ledger.initialize("trades")
        open_session().execute("SELECT pg_terminate_backend(%s)", (session.info.backend_pid,))

        for use in (ledger.watermark, ledger.newest, ledger.history, ledger.initialize, ledger.resume):
            with pytest.raises(LedgerUnavailable, match="The connection to PostgreSQL broke"):
                use("trades")
        with pytest.raises(LedgerUnavailable):
            ledger.record_failure("trades", "audit", "?", run_id="run", attempt=1)
        with pytest.raises(LedgerUnavailable):
            ledger.locked("trades", 0).__enter__()


class TestSetUp:
    def test_without_its_table_every_use_says_what_to_run(self, empty_database):
        with connect(empty_database) as session:
            ledger = Ledger(session, "p")

            for use in (ledger.watermark, ledger.last_commit, ledger.history, ledger.initialize):
                with pytest.raises(RunInit, match=r'"offload_watermarks" does not exist\. Run `offload init`'):
                    use("trades")
            with pytest.raises(RunInit):
                ledger.newest_rows()
            with pytest.raises(RunInit):
                ledger.record_failure("trades", "audit", "?", run_id="run", attempt=1)

    def test_the_tables_may_be_made_again_and_keep_their_rows(self, empty_database):
        with connect(empty_database) as session:
            ledger = Ledger(session, "p")
            ledger.create(DDL)
            ledger.initialize("trades")

            ledger.create(DDL)

            assert ledger.watermark("trades").cursor == ORIGIN

    def test_several_may_make_them_at_once(self, empty_database):
        def create(_: int) -> None:
            with connect(empty_database) as session:
                Ledger(session, "p").create(DDL)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(create, range(8)))

        with connect(empty_database) as session:
            assert Ledger(session, "p").initialize("trades")

    def test_a_statement_that_fails_leaves_nothing_half_made(self, empty_database, tmp_path):
        for file in DDL.glob("*.sql"):
            (tmp_path / file.name).write_text(file.read_text())
        (tmp_path / "999_broken.sql").write_text("SELECT * FROM no_such_table;")

        with connect(empty_database) as session:
            with pytest.raises(RunInit):
                Ledger(session, "p").create(tmp_path)
            found = session.execute("SELECT to_regclass('offload_watermarks') AS made").fetchone()

        assert found == {"made": None}

    def test_a_folder_without_sql_does_not_look_like_a_success(self, session, tmp_path):
        with pytest.raises(FixConfiguration, match=r"no \.sql files"):
            Ledger(session, "p").create(tmp_path)

    def test_a_user_without_rights_is_told_which_to_grant(self, empty_database):
        with connect(empty_database) as session:
            ledger = Ledger(session, "p")
            ledger.create(DDL)
            session.execute(
                sql.SQL("REVOKE ALL ON offload_watermarks FROM {}").format(sql.Identifier(empty_database.user))
            )

            with pytest.raises(FixCredentials, match="permission denied for table offload_watermarks") as caught:
                ledger.watermark("trades")

        assert "SELECT and INSERT on offload_watermarks" in caught.value.remedy

    def test_the_newest_row_is_found_by_an_index_however_long_the_history(self, session, pipeline):
        session.execute(
            "INSERT INTO offload_watermarks (pipeline_id, table_name, max_timestamp) "
            "SELECT %s, 'trades', now() FROM generate_series(1, 5000)",
            (pipeline,),
        )
        session.execute("ANALYZE offload_watermarks")

        plan = session.execute(
            "EXPLAIN SELECT * FROM offload_watermarks WHERE pipeline_id = %s AND table_name = 'trades' "
            "AND status IN ('initialized', 'success') ORDER BY id DESC LIMIT 1",
            (pipeline,),
        ).fetchall()

        assert "offload_watermarks_newest" in str(plan) or "offload_watermarks_pkey" in str(plan)
