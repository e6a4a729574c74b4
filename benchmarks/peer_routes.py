"""The routes that the offload is compared with: independent programs, each in its own environment."""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks import jdbc_driver
from benchmarks.bench_stack import BenchStack
from benchmarks.loads import Load
from benchmarks.measure import Command, CommandFailed
from benchmarks.peers.request import Request, ServerLogin
from benchmarks.route import Route, RouteJob
from devstack.stack.ports import LOOPBACK
from install.jars import JARS
from install.setup import PEERS, install_peer
from offload_core.ledger.session import connect

_NAMESPACE = "peers"
_ONE_BATCH = 1_000_000_000
_KEPT = ("LANG", "LC_ALL", "SSL_CERT_FILE", "TMPDIR", "TZ")
"""The variables of the user's shell that peers inherit."""


class PeerRoute(Route):
    """A program with its own environment, table and request.

    Args:
        name, what, is_peer: see `Route`.
        exact: whether the SELECT casts each column; otherwise it is `SELECT *`.
        has_catalog: whether its table is in the stack's catalog; otherwise its folder contains its newest metadata.
        own_namespace: whether each table needs its own namespace.
    """

    def __init__(
        self,
        name: str,
        what: str,
        *,
        is_peer: bool = True,
        exact: bool = True,
        has_catalog: bool = True,
        own_namespace: bool = False,
    ) -> None:
        self.name, self.what, self.is_peer = name, what, is_peer
        self._exact, self._has_catalog, self._own_namespace = exact, has_catalog, own_namespace

    @abstractmethod
    def command(self, bench: BenchStack, request: Request) -> Command:
        """Return the command that performs a request."""

    def prepare_table(self, bench: BenchStack, request: Request) -> None:
        """Create the empty table, if the program does not create it itself."""

    def prepare(self, bench: BenchStack, load: Load) -> RouteJob:
        """Create the empty table and the request."""
        name = f"{self.name.replace('-', '_')}_{load.label}"
        request = self._request(bench, load, name)
        self.prepare_table(bench, request)
        target = f"{request.namespace}.{name}"
        metadata = partial(bench.metadata, target) if self._has_catalog else partial(_newest_metadata, request.folder)
        return RouteJob(self.command(bench, request), metadata, partial(bench.delete_files, target))

    def _request(self, bench: BenchStack, load: Load, name: str) -> Request:
        clickhouse, postgres = bench.connections.clickhouse, bench.connections.postgres
        secrets = [server.password.get_secret_value() for server in (clickhouse, postgres)]
        return Request(
            query=load.exact_query(bench) if self._exact else load.plain_query,
            timestamp=load.table.timestamp_col,
            day=f"{load.end:%Y-%m-%d}",
            namespace=f"{_NAMESPACE}_{name}" if self._own_namespace else _NAMESPACE,
            name=name,
            warehouse=str(bench.layout.home / "warehouse"),
            clickhouse=ServerLogin(
                clickhouse.host, clickhouse.http_port, clickhouse.user, secrets[0], clickhouse.database
            ),
            catalog=ServerLogin(postgres.host, postgres.port, postgres.user, secrets[1], postgres.database),
        )


class PythonPeer(PeerRoute):
    """A module of `benchmarks/peers`.

    Args:
        module: the name of the module.
        environment: the name of its environment in `install.setup.PEERS`.
        prepares: whether the module creates the empty table when its argument is `prepare`.
    """

    def __init__(
        self,
        name: str,
        what: str,
        *,
        module: str,
        environment: str,
        prepares: bool = True,
        is_peer: bool = True,
        has_catalog: bool = True,
    ) -> None:
        super().__init__(name, what, is_peer=is_peer, has_catalog=has_catalog, own_namespace=not has_catalog)
        self._module, self._environment, self._prepares = module, environment, prepares

    def set_up(self, bench: BenchStack) -> None:
        """Create the environment."""
        install_peer(bench.layout, self._environment)

    def command(self, bench: BenchStack, request: Request) -> Command:
        """Return the command that runs the module."""
        python = bench.layout.python(PEERS[self._environment].name)
        environ = {**clean_environment(bench, python.parent), **request.to_environ()}
        return Command([str(python), "-m", f"benchmarks.peers.{self._module}"], environ)

    def prepare_table(self, bench: BenchStack, request: Request) -> None:
        """Run the module with `prepare`, if it supports that."""
        if self._prepares:
            command = self.command(bench, request)
            bench.run(Command([*command.argv, "prepare"], command.environ))


class Sling(PeerRoute):
    """The program `sling`, with connections in its environment and one run on its command line.

    https://docs.slingdata.io/connections/database-connections/iceberg
    """

    def set_up(self, bench: BenchStack) -> None:
        """Create the environment that contains the program."""
        install_peer(bench.layout, self.name)

    def prepare_table(self, bench: BenchStack, request: Request) -> None:
        """Set the namespace's location in the catalog; sling reads it, and creates the table itself."""
        statement = (
            "INSERT INTO iceberg_namespace_properties (catalog_name, namespace, property_key, property_value) "
            "VALUES (%s, %s, 'location', %s)"
        )
        with closing(connect(bench.connections.postgres)) as session:
            session.execute(statement, ("demo", request.namespace, request.folder.parent.as_uri()))

    def command(self, bench: BenchStack, request: Request) -> Command:
        """Return a `sling run` command."""
        environment = bench.layout.python(PEERS[self.name].name).parent.parent
        (program,) = environment.glob("lib/python3*/site-packages/sling_*/bin/sling-*")
        clickhouse, catalog = asdict(request.clickhouse), asdict(request.catalog)
        native = {**clickhouse, "type": "clickhouse", "port": bench.connections.clickhouse.native_port}
        iceberg = {
            "type": "iceberg",
            "catalog_type": "sql",
            "sql_catalog_name": "demo",
            "sql_catalog_conn": "CATALOG",
        }
        environ = {
            **clean_environment(bench),
            "CLICKHOUSE": json.dumps(native),
            "CATALOG": json.dumps({**catalog, "type": "postgres", "sslmode": "disable"}),
            "ICEBERG": json.dumps(iceberg),
        }
        argv = [str(program), "run", "--src-conn", "CLICKHOUSE", "--src-stream", request.query]
        argv += ["--tgt-conn", "ICEBERG", "--tgt-object", f"{request.namespace}.{request.name}"]
        # One batch, because with several the second commit fails: "branch main was created concurrently".
        argv += ["--mode", "full-refresh", "--tgt-options", json.dumps({"file_max_rows": _ONE_BATCH})]
        return Command(argv, environ)


class SparkNaive(PeerRoute):
    """spark-submit with the jars that the job needs, and default settings."""

    def set_up(self, bench: BenchStack) -> None:
        """Fetch the JDBC driver; set-up has installed everything else."""
        jdbc_driver.ensure(bench.layout)

    def command(self, bench: BenchStack, request: Request) -> Command:
        """Return the spark-submit command for the job."""
        layout = bench.layout
        own = [layout.jars / jar.file_name for jar in JARS]
        jars = ",".join(map(str, [jdbc_driver.ensure(layout), *own]))
        job = layout.checkout / "benchmarks" / "peers" / "spark_naive.py"
        environ = {
            **clean_environment(bench, layout.spark_home / "bin", layout.java_home / "bin"),
            **request.to_environ(),
            "SPARK_HOME": str(layout.spark_home),
            "JAVA_HOME": str(layout.java_home),
            "PYSPARK_PYTHON": str(layout.python("spark")),
            # Only the driver's own executors, on this machine, use its ports.
            "SPARK_LOCAL_IP": LOOPBACK,
        }
        argv = [str(layout.spark_home / "bin" / "spark-submit"), "--master", "local[*]", "--jars", jars, str(job)]
        return Command(argv, environ)


def clean_environment(bench: BenchStack, *programs: Path) -> dict[str, str]:
    """Return an environment with its own home, these folders first in PATH, and telemetry switched off."""
    home = bench.layout.home / "peers-home"
    home.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {
        **kept,
        "PATH": os.pathsep.join([*map(str, programs), os.environ.get("PATH", os.defpath)]),
        "HOME": str(home),
        "PYTHONPATH": str(bench.layout.checkout),
        # https://dlthub.com/docs/reference/telemetry, https://docs.slingdata.io/sling-cli/environment
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "SLING_DISABLE_TELEMETRY": "TRUE",
    }


def _newest_metadata(folder: Path) -> str:
    """The newest metadata of a table without a catalog; the file names begin with an increasing number."""
    files = sorted(folder.glob("metadata/*.metadata.json"))
    if not files:
        raise CommandFailed(f"{folder.name} contains no table")
    return files[-1].as_uri()


FLOOR = PythonPeer(
    "floor",
    "the copy alone, without a JVM and without any guarantee: ClickHouse's Parquet over HTTP into the table's folder, "
    "committed by pyiceberg",
    module="floor",
    environment="pyiceberg",
    is_peer=False,
)
PYICEBERG = PythonPeer(
    "pyiceberg",
    "pyiceberg alone: Arrow over HTTP (clickhouse-connect), appended in parts of a million rows, one transaction",
    module="pyiceberg_append",
    environment="pyiceberg",
)
DLT = PythonPeer(
    "dlt",
    'dlt: an Arrow resource over HTTP (clickhouse-connect), the filesystem destination with `table_format="iceberg"`',
    module="dlt_arrow",
    environment="dlt",
    prepares=False,
    has_catalog=False,
)
SLING = Sling(
    "sling",
    "sling: ClickHouse's native protocol to an Iceberg table without partitions, one batch",
    exact=False,
    own_namespace=True,
)
SPARK_NAIVE = SparkNaive(
    "spark-naive",
    "the Spark job that one writes first: default settings, `--jars`, one JDBC partition, one append",
    exact=False,
)
