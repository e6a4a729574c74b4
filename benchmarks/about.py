"""The machine and the versions that a report describes."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import closing
from pathlib import Path

import psutil

from benchmarks.bench_stack import bench_stack
from install.jars import JARS
from install.layout import Layout
from install.setup import PEERS
from offload_core import __version__
from offload_core.ledger.session import connect

_PEER_PACKAGES = {"pyiceberg": "pyiceberg", "dlt": "dlt", "sling": "sling-linux-amd64"}


def machine() -> dict[str, object]:
    """Return processor, cores, memory and system."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions(layout: Layout) -> dict[str, str]:
    """Return the versions of everything that takes part; peers only if they are installed."""
    iceberg = next(jar.version for jar in JARS if jar.artifact.startswith("iceberg-"))
    found = {
        "iceberg-offload": __version__,
        "airflow": _package(layout, "airflow", "apache-airflow"),
        "spark": _package(layout, "spark", "pyspark"),
        "iceberg": iceberg,
        **_servers(),
    }
    found |= {
        name: _package(layout, environment.name, _PEER_PACKAGES[name])
        for name, environment in PEERS.items()
        if layout.python(environment.name).exists()
    }
    return {name: version for name, version in found.items() if version}


def _package(layout: Layout, environment: str, name: str) -> str:
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    result = subprocess.run([str(layout.python(environment)), "-c", code], check=False, capture_output=True, text=True)
    return result.stdout.strip()


def _servers() -> dict[str, str]:
    with bench_stack(airflow=False) as bench:
        with bench.clickhouse() as client:
            clickhouse = str(client.rows("SELECT version() AS version")[0]["version"])
        with closing(connect(bench.connections.postgres)) as session:
            record = session.execute("SHOW server_version").fetchone()
    return {"clickhouse": clickhouse, "postgresql": str(record["server_version"]) if record else ""}
