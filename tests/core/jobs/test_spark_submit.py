"""What spark-submit is started with."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from offload_core.errors import FixConfiguration
from offload_core.jobs.spark_submit import application, configuration, environment
from tests.support.checkout import CHECKOUT


@pytest.fixture
def deployed(tmp_path: Path) -> Path:
    """A job somewhere else than beside the plugins, in a folder with a blank in its name."""
    path = tmp_path / "my jobs" / "offload_generic.py"
    path.parent.mkdir()
    path.touch()
    return path


class TestTheApplication:
    def test_it_lies_beside_the_plugins(self):
        assert application({}) == CHECKOUT / "include" / "spark" / "offload_generic.py"

    def test_an_installation_may_keep_it_elsewhere(self, deployed):
        assert application({"OFFLOAD_SPARK_APPLICATION": str(deployed)}) == deployed

    def test_a_relative_path_is_taken_from_the_working_folder(self, deployed, monkeypatch):
        monkeypatch.chdir(deployed.parent)

        environ = {"OFFLOAD_SPARK_APPLICATION": "offload_generic.py"}

        assert application(environ) == deployed
        assert "file://" in configuration(environ)["spark.driver.extraJavaOptions"]

    def test_a_missing_one_is_an_error_that_names_the_path_and_the_way_out(self, tmp_path):
        with pytest.raises(FixConfiguration, match=r"The Spark job .*/gone.py does not exist") as caught:
            application({"OFFLOAD_SPARK_APPLICATION": str(tmp_path / "gone.py")})

        assert "OFFLOAD_SPARK_APPLICATION" in caught.value.remedy

    def test_a_folder_is_not_a_job(self, tmp_path):
        with pytest.raises(FixConfiguration):
            application({"OFFLOAD_SPARK_APPLICATION": str(tmp_path)})


class TestTheEnvironment:
    def test_the_machines_spark_is_used_where_nothing_is_set(self):
        assert environment({"PATH": "/usr/bin"}) == {
            "PATH": "/usr/bin",
            "PYTHONPATH": os.pathsep.join([str(CHECKOUT / "include" / "spark"), str(CHECKOUT / "plugins")]),
            "SPARK_LAUNCHER_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
            "PYDANTIC_DISABLE_PLUGINS": "__all__",
        }

    def test_what_makes_starts_quicker_can_be_set_otherwise(self):
        own = {"SPARK_LAUNCHER_OPTS": "-Xmx64m", "PYDANTIC_DISABLE_PLUGINS": "other"}

        assert own.items() <= environment(own).items()

    def test_spark_java_and_python_of_the_installation_go_before_the_machines(self):
        values = environment(
            {
                "PATH": "/usr/bin",
                "OFFLOAD_SPARK_HOME": "/opt/spark",
                "OFFLOAD_JAVA_HOME": "/opt/java",
                "OFFLOAD_SPARK_PYTHON": "/opt/python/bin/python",
            }
        )

        assert values["PATH"] == os.pathsep.join(["/opt/spark/bin", "/opt/java/bin", "/usr/bin"])
        assert (values["SPARK_HOME"], values["JAVA_HOME"]) == ("/opt/spark", "/opt/java")
        assert values["PYSPARK_PYTHON"] == values["PYSPARK_DRIVER_PYTHON"] == "/opt/python/bin/python"

    def test_without_a_path_the_systems_default_is_kept(self):
        assert environment({})["PATH"] == os.defpath

    def test_the_job_finds_its_packages_beside_a_moved_application(self, deployed):
        found = environment({"OFFLOAD_SPARK_APPLICATION": str(deployed)})["PYTHONPATH"].split(os.pathsep)

        assert found == [str(deployed.parent), str(CHECKOUT / "plugins")]

    def test_nothing_else_of_the_callers_environment_is_passed_on(self):
        environ = {"PATH": "/bin", "OFFLOAD_CONNECTIONS": '{"password": "hunter2"}', "PGPASSWORD": "hunter2"}

        assert set(environment(environ)) == {"PATH", "PYTHONPATH", "SPARK_LAUNCHER_OPTS", "PYDANTIC_DISABLE_PLUGINS"}


class TestTheConfiguration:
    def test_times_are_utc_and_no_web_interface_is_opened(self):
        values = configuration({})

        assert values["spark.sql.session.timeZone"] == "UTC"
        assert values["spark.ui.enabled"] == "false"

    def test_the_log_settings_lie_beside_the_application(self):
        options = configuration({})["spark.driver.extraJavaOptions"]
        (logging,) = (option for option in options.split() if option.startswith("-Dlog4j2.configurationFile="))

        assert Path(logging.partition("file://")[2]).is_file()

    def test_a_blank_in_the_path_does_not_split_the_java_options(self, deployed):
        options = configuration({"OFFLOAD_SPARK_APPLICATION": str(deployed)})["spark.driver.extraJavaOptions"]

        assert "my%20jobs/log4j2.properties" in options

    def test_jars_go_on_both_class_paths(self):
        values = configuration({"OFFLOAD_SPARK_JARS": "/jars/*"})

        assert values["spark.driver.extraClassPath"] == values["spark.executor.extraClassPath"] == "/jars/*"

    def test_without_jars_sparks_own_class_path_is_left_alone(self):
        assert not [key for key in configuration({}) if key.endswith("extraClassPath")]

    def test_a_class_data_archive_is_used_once_it_exists(self, tmp_path):
        archive = tmp_path / "spark.jsa"
        environ = {"OFFLOAD_APPCDS_ARCHIVE": str(archive)}
        flag = f"-XX:SharedArchiveFile={archive}"

        assert flag not in configuration(environ)["spark.driver.extraJavaOptions"]
        archive.touch()
        assert flag in configuration(environ)["spark.driver.extraJavaOptions"].split()

    def test_so_is_the_one_of_spark_submits_launcher(self, tmp_path):
        environ = {"OFFLOAD_APPCDS_ARCHIVE": str(tmp_path / "spark.jsa")}
        launcher = tmp_path / "spark.launcher.jsa"

        assert "SharedArchiveFile" not in environment(environ)["SPARK_LAUNCHER_OPTS"]
        launcher.touch()
        assert f"-XX:SharedArchiveFile={launcher}" in environment(environ)["SPARK_LAUNCHER_OPTS"].split()

    def test_an_archive_whose_path_has_a_blank_is_left_alone_because_options_are_cut_there(self, tmp_path):
        archive = tmp_path / "my archives" / "spark.jsa"
        archive.parent.mkdir()
        archive.touch()
        archive.with_suffix(".launcher.jsa").touch()
        environ = {"OFFLOAD_APPCDS_ARCHIVE": str(archive)}

        assert "SharedArchiveFile" not in configuration(environ)["spark.driver.extraJavaOptions"]
        assert "SharedArchiveFile" not in environment(environ)["SPARK_LAUNCHER_OPTS"]

    def test_the_client_of_s3_is_on_the_class_path_only_where_the_warehouse_is_there(self, tmp_path):
        archive = tmp_path / "spark.jsa"
        archive.touch()
        environ = {
            "OFFLOAD_SPARK_JARS": "/jars/iceberg.jar",
            "OFFLOAD_SPARK_S3_JARS": "/jars/s3/aws.jar",
            "OFFLOAD_APPCDS_ARCHIVE": str(archive),
        }

        local, far = configuration(environ), configuration(environ, s3=True)

        assert local["spark.driver.extraClassPath"] == "/jars/iceberg.jar"
        assert far["spark.driver.extraClassPath"] == far["spark.executor.extraClassPath"]
        assert far["spark.driver.extraClassPath"] == os.pathsep.join(["/jars/iceberg.jar", "/jars/s3/aws.jar"])
        # The archive is one for the other class path.
        assert "SharedArchiveFile" in local["spark.driver.extraJavaOptions"]
        assert "SharedArchiveFile" not in far["spark.driver.extraJavaOptions"]

    def test_an_archive_made_with_the_client_of_s3_is_used(self, tmp_path):
        archive = tmp_path / "spark.jsa"
        archive.touch()

        values = configuration(
            {"OFFLOAD_SPARK_JARS": "/a.jar:/aws.jar", "OFFLOAD_APPCDS_ARCHIVE": str(archive)}, s3=True
        )

        assert "SharedArchiveFile" in values["spark.driver.extraJavaOptions"]

    @pytest.mark.parametrize("key", ["s3.access-key-id", "s3.secret-access-key", "s3.session-token", "credential"])
    def test_spark_hides_the_keys_of_the_warehouse(self, key):
        assert re.search(configuration({})["spark.redaction.regex"], f"spark.sql.catalog.demo.{key}")
