"""Where the servers are: what is accepted, what is refused, and that no password ever shows."""

from __future__ import annotations

import copy
import json
import logging
import traceback
from pathlib import Path

import pytest

from offload_core.config.connections import Connections, load_connections, parse_connections
from offload_core.errors import FixConfiguration

SECRETS = ("click secret", "ledger secret", "catalog secret", "bucket secret")
GIVEN = {
    "clickhouse": {"host": "ch", "http_port": 18123, "native_port": 19000, "user": "offload", "password": SECRETS[0]},
    "postgres": {"host": "pg", "port": 15432, "user": "offload", "password": SECRETS[1], "database": "offload"},
    "iceberg": {
        "name": "demo",
        "type": "jdbc",
        "uri": "jdbc:postgresql://pg:15432/offload",
        "warehouse": "s3://cold/warehouse",
        "user": "offload",
        "password": SECRETS[2],
        "properties": {"jdbc.schema-version": "V1", "s3.secret-access-key": SECRETS[3]},
    },
}


def parse(given: dict[str, dict[str, object]]) -> Connections:
    return parse_connections(json.dumps(given), "the test")


def changed(part: str, **fields: object) -> dict[str, dict[str, object]]:
    """The connections with some fields of one part changed; None removes a field."""
    given: dict[str, dict[str, object]] = copy.deepcopy(GIVEN)
    given[part] = {name: value for name, value in {**given[part], **fields}.items() if value is not None}
    return given


class TestLoading:
    def test_the_environment_variable_holds_the_json(self):
        found = load_connections({"OFFLOAD_CONNECTIONS": json.dumps(GIVEN)})

        assert found.clickhouse.host == "ch"
        assert found.clickhouse.password.get_secret_value() == SECRETS[0]
        assert found.postgres.port == 15432
        assert found.iceberg.properties["jdbc.schema-version"] == "V1"

    def test_or_another_one_names_the_file(self, tmp_path: Path):
        file = tmp_path / "connections.json"
        file.write_text(json.dumps(GIVEN), encoding="utf-8")

        assert load_connections({"OFFLOAD_CONNECTIONS_FILE": str(file)}) == parse(GIVEN)

    def test_the_variable_counts_more_than_the_file(self, tmp_path: Path):
        environ = {"OFFLOAD_CONNECTIONS": json.dumps(GIVEN), "OFFLOAD_CONNECTIONS_FILE": str(tmp_path / "missing")}

        assert load_connections(environ) == parse(GIVEN)

    @pytest.mark.parametrize("environ", [{}, {"OFFLOAD_CONNECTIONS": "", "OFFLOAD_CONNECTIONS_FILE": ""}])
    def test_neither_is_an_error_that_says_what_to_set(self, environ):
        with pytest.raises(FixConfiguration, match="Set OFFLOAD_CONNECTIONS_FILE to a JSON file"):
            load_connections(environ)

    def test_a_missing_file_is_named_with_the_reason(self, tmp_path: Path):
        with pytest.raises(FixConfiguration, match=r"Can't read the file .*/nowhere.json: No such file or directory\."):
            load_connections({"OFFLOAD_CONNECTIONS_FILE": str(tmp_path / "nowhere.json")})

    def test_a_file_that_is_no_text_is_named(self, tmp_path: Path):
        file = tmp_path / "connections.json"
        file.write_bytes(b'{"clickhouse": "\xff\xfe"}')

        with pytest.raises(FixConfiguration, match=r"Can't read the file .*: it is not UTF-8 text"):
            load_connections({"OFFLOAD_CONNECTIONS_FILE": str(file)})

    def test_what_is_not_said_has_a_usual_value(self):
        found = parse(
            {
                "clickhouse": {"host": "ch"},
                "postgres": {"host": "pg", "user": "u", "database": "d"},
                "iceberg": {"warehouse": "file:///warehouse"},
            }
        )

        assert (found.clickhouse.http_port, found.clickhouse.native_port) == (8123, 9000)
        assert (found.clickhouse.user, found.clickhouse.database, found.clickhouse.secure) == ("default", "k2", False)
        assert (found.postgres.port, found.postgres.sslmode) == (5432, "prefer")
        assert (found.iceberg.name, found.iceberg.type) == ("demo", "jdbc")


class TestCatalogProperties:
    def test_a_catalog_in_postgresql_is_not_waited_for_for_ever(self):
        properties = parse(GIVEN).iceberg.catalog_properties()

        assert (properties["jdbc.connectTimeout"], properties["jdbc.socketTimeout"]) == ("10", "60")

    def test_what_the_connection_says_counts(self):
        given = changed("iceberg", properties={"jdbc.socketTimeout": "5"})

        assert parse(given).iceberg.catalog_properties()["jdbc.socketTimeout"] == "5"

    def test_the_timeouts_are_those_of_postgresqls_driver_and_go_to_no_other(self):
        given = changed("iceberg", uri="jdbc:mysql://db/catalog")

        assert not any("Timeout" in name for name in parse(given).iceberg.catalog_properties())


class TestValidation:
    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            ({"clickhouse": GIVEN["clickhouse"]}, "postgres: Field required; iceberg: Field required"),
            (changed("clickhouse", host=None), "clickhouse.host: Field required"),
            (changed("clickhouse", passwort="x"), "clickhouse.passwort: Extra inputs are not permitted"),
            (
                changed("clickhouse", http_port=70000),
                "clickhouse.http_port: Input should be less than or equal to 65535",
            ),
            (
                changed("clickhouse", native_port=0),
                "clickhouse.native_port: Input should be greater than or equal to 1",
            ),
            (changed("postgres", port="ldap"), "postgres.port: Input should be a valid integer"),
            (changed("postgres", sslmode="on"), "postgres.sslmode: Input should be 'disable', 'allow', 'prefer'"),
            (changed("iceberg", type="nessie"), "iceberg.type: Input should be 'jdbc', 'rest', 'hive', 'glue'"),
            (changed("iceberg", warehouse=None), "iceberg.warehouse: Field required"),
            (changed("iceberg", properties={"io": 1}), "iceberg.properties.io: Input should be a valid string"),
        ],
    )
    def test_a_wrong_field_is_named_with_its_reason_and_origin(self, given, reason):
        with pytest.raises(FixConfiguration) as caught:
            parse(given)

        assert str(caught.value).startswith(f"The connections in the test are wrong: {reason}")
        assert str(caught.value).endswith("Correct them there.")

    def test_text_that_is_no_json_is_an_error_that_names_the_origin(self):
        with pytest.raises(FixConfiguration, match="The connections in the vault are wrong: Invalid JSON"):
            parse_connections("host=ch", "the vault")

    @pytest.mark.parametrize("warehouse", ["s3://cold/warehouse", "s3a://cold", "gs://cold", "abfss://c@a.dfs.x.net/"])
    def test_a_hadoop_catalog_on_an_object_store_is_refused(self, warehouse):
        scheme = warehouse.split(":")[0]

        with pytest.raises(FixConfiguration, match=rf"a hadoop catalog on {scheme}:// loses concurrent commits"):
            parse(changed("iceberg", type="hadoop", warehouse=warehouse))

    @pytest.mark.parametrize(
        "warehouse", ["file:///warehouse", "file:/warehouse", "/warehouse", "hdfs://name/warehouse"]
    )
    def test_a_hadoop_catalog_on_a_file_system_is_allowed(self, warehouse):
        assert parse(changed("iceberg", type="hadoop", warehouse=warehouse)).iceberg.warehouse == warehouse

    @pytest.mark.parametrize("kind", ["jdbc", "rest", "hive", "glue"])
    def test_every_other_catalog_may_keep_its_files_on_an_object_store(self, kind):
        assert parse(changed("iceberg", type=kind)).iceberg.type == kind


class TestSecrets:
    def shows_none(self, text: str) -> bool:
        return bool(text) and not any(secret in text for secret in SECRETS)

    def test_no_secret_shows_when_connections_are_printed_or_logged(self, caplog: pytest.LogCaptureFixture):
        found = parse(GIVEN)
        with caplog.at_level(logging.INFO):
            logging.getLogger("test").info("%s %r", found, found)

        for part in (found, found.clickhouse, found.postgres, found.iceberg):
            assert self.shows_none(f"{part} {part!r}")
        assert self.shows_none(caplog.text)

    @pytest.mark.parametrize(
        "given",
        [
            changed("clickhouse", host=None),
            changed("postgres", port=SECRETS[1]),
            changed("iceberg", warehouse=None),
            changed("iceberg", type="hadoop"),
            changed("iceberg", properties=SECRETS[3]),
            {**GIVEN, "more": SECRETS[0]},
        ],
    )
    def test_no_secret_shows_in_the_whole_traceback_of_an_error(self, given):
        with pytest.raises(FixConfiguration) as caught:
            parse(given)

        assert self.shows_none("".join(traceback.format_exception(caught.value)))

    def test_no_secret_shows_when_the_text_is_no_json(self):
        with pytest.raises(FixConfiguration) as caught:
            parse_connections(SECRETS[0], "the test")

        assert self.shows_none("".join(traceback.format_exception(caught.value)))

    def test_the_secrets_reach_the_job_all_the_same(self):
        found = parse(GIVEN)

        again = load_connections({"OFFLOAD_CONNECTIONS": found.with_secrets_json()})

        assert again == found
        assert again.iceberg.password.get_secret_value() == SECRETS[2]


def test_a_warehouse_in_s3_is_reached_by_icebergs_own_client_unless_another_is_named() -> None:
    iceberg = parse(GIVEN).iceberg
    local = iceberg.model_copy(update={"warehouse": "file:///warehouse"})
    named = iceberg.model_copy(update={"properties": {"io-impl": "com.example.Files"}})

    assert iceberg.is_in_s3
    assert iceberg.catalog_properties()["io-impl"] == "org.apache.iceberg.aws.s3.S3FileIO"
    assert not local.is_in_s3
    assert "io-impl" not in local.catalog_properties()
    assert named.catalog_properties()["io-impl"] == "com.example.Files"
