"""Driver or executors fetch a window, and the names of its files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from install.layout import Layout
from offload_core.config.settings import Settings
from offload_spark.fetch.executor_code import write_archive
from offload_spark.fetch.fetch import is_distributed
from offload_spark.files.targets import ATTEMPTS, Target, attempt_targets, local_path, locations, unsupported_reason

CLUSTERS = ("spark://10.0.0.1:7077", "yarn", "k8s://https://10.0.0.1:6443", "local-cluster[2,1,1024]")


@pytest.mark.parametrize("master", CLUSTERS)
def test_executors_of_a_cluster_fetch_what_is_more_than_the_setting_says(master: str) -> None:
    settings = Settings(spread_rows=100)
    assert [is_distributed(settings, master, rows) for rows in (0, 100, 101)] == [False, False, True]


@pytest.mark.parametrize("master", ["", "local", "local[*]", "local[4]"])
def test_without_a_cluster_the_driver_fetches_whatever_the_size(master: str) -> None:
    assert not is_distributed(Settings(spread_rows=1), master, 10**12)


@pytest.mark.parametrize("master", ["local[*]", *CLUSTERS])
def test_always_means_always_but_for_windows_without_rows(master: str) -> None:
    settings = Settings.model_validate({"spark_session": "always"})
    assert [is_distributed(settings, master, rows) for rows in (0, 1)] == [False, True]


def test_each_attempt_at_a_file_has_a_name_of_its_own_beside_the_first() -> None:
    names = [target.location for target in attempt_targets("s3://cold-tier/t/data/a_day=2026-11-01/x.parquet", Target)]

    assert len(set(names)) == ATTEMPTS
    assert names[:2] == [
        "s3://cold-tier/t/data/a_day=2026-11-01/x.parquet",
        "s3://cold-tier/t/data/a_day=2026-11-01/x-1.parquet",
    ]


def test_what_a_killed_attempt_may_leave_beside_a_local_file_is_known_too() -> None:
    assert locations([Target("file:/w/x.parquet"), Target("s3://b/x.parquet")]) == [
        "file:/w/x.parquet",
        "s3://b/x.parquet",
        "file:/w/x.parquet.part",
    ]


def test_a_signed_url_is_in_no_text_of_its_target() -> None:
    target = Target("s3://b/x.parquet", "https://b.example.com/x?X-Amz-Signature=abc", {"x-amz-token": "abc"})
    assert "abc" not in f"{target} {target!r}"


class Files:
    """The parts of Iceberg's FileIO that the offload uses: its class and its properties."""

    def __init__(self, name: str, properties: dict[str, str]) -> None:
        self._name = name
        self._properties = properties

    def getClass(self) -> Files:
        return self

    def getName(self) -> str:
        return self._name

    def properties(self) -> dict[str, str]:
        return self._properties


S3 = "org.apache.iceberg.aws.s3.S3FileIO"


@pytest.mark.parametrize(
    ("location", "name", "properties", "reason"),
    [
        ("file:/warehouse/t", "org.apache.iceberg.hadoop.HadoopFileIO", {}, None),
        ("/warehouse/t", "org.apache.iceberg.hadoop.HadoopFileIO", {}, None),
        ("s3://b/t", S3, {"s3.endpoint": "http://s3", "s3.sse.type": "none", "s3.acceleration-enabled": "false"}, None),
        ("s3://b/t", S3, {"s3.sse.type": "kms", "s3.sse.key": "k"}, "s3.sse.key, s3.sse.type"),
        ("s3://b/t", S3, {"s3.remote-signing-enabled": "true"}, "s3.remote-signing-enabled"),
        ("s3://b/t", "org.apache.iceberg.io.ResolvingFileIO", {}, "s3://"),
        ("hdfs://n/t", "org.apache.iceberg.hadoop.HadoopFileIO", {}, "hdfs://"),
    ],
)
def test_where_executors_cannot_write_it_is_told_why(
    location: str, name: str, properties: dict[str, str], reason: str | None
) -> None:
    found = unsupported_reason(location, Files(name, properties))
    assert found is None if reason is None else reason in (found or "")


def test_a_path_with_a_space_is_found_again() -> None:
    assert local_path("file:/w/a%20b/x.parquet") == Path("/w/a b/x.parquet")
    assert local_path("s3://b/x.parquet") is None


def test_executors_can_import_what_they_run_from_the_archive_alone(tmp_path: Path) -> None:
    archive = tmp_path / "offload.zip"
    write_archive(archive)
    command = [str(Layout.of_checkout().python("spark")), "-s", "-c"]
    result = subprocess.run(
        [*command, "import offload_spark.fetch.executor_fetch as m; print(m.__file__)"],
        env={"PYTHONPATH": str(archive)},  # as Spark gives it to its executors
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.stdout.startswith(str(archive)), result.stderr
