"""The file that puts the page into Airflow's menu: every command of Airflow loads it, and none may be slower for it."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support.checkout import CHECKOUT
from tests.support.stack.airflow_home import HOME, process_environment
from tests.support.stack.airflow_version import AIRFLOW_3, VERSION_MODULES

LINE = "3" if AIRFLOW_3 else "2"
_LOADED = {
    "2": "airflow.plugins_manager.plugins, airflow.plugins_manager.import_errors",
    "3": "airflow.plugins_manager._get_plugins()",
}
"""Where each line keeps the plugins that it has loaded, and why it couldn't load others."""
_LOAD = f"""
import json, sys
import airflow.plugins_manager, airflow.configuration
{"import airflow.stats" if LINE == "2" else ""}
before = set(sys.modules)
airflow.plugins_manager.ensure_plugins_loaded()
plugins, errors = {_LOADED[LINE]}
told = {{"plugins": [plugin.name for plugin in plugins], "errors": errors}}
print(json.dumps({{**told, "imported": sorted(set(sys.modules) - before)}}))
"""


def test_loading_it_imports_no_more_than_small_modules() -> None:
    result = subprocess.run(
        [sys.executable, "-c", _LOAD],
        env=process_environment(HOME),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = json.loads(result.stdout.splitlines()[-1])

    assert (loaded["plugins"], loaded["errors"]) == (["iceberg_offload"], {})
    ours = {name for name in loaded["imported"] if name.startswith(("offload_", "iceberg_"))}
    assert ours == {
        "iceberg_offload_plugin",
        "offload_airflow",
        *VERSION_MODULES,
        "offload_airflow.compat",
        "offload_airflow.compat.version",
        "offload_airflow.compat.plugin",
        "offload_airflow.plugin",
        "offload_airflow.plugin.preload",
        "offload_core",
        "offload_core.errors",
    }
    assert not {name.partition(".")[0] for name in loaded["imported"]} & {
        "flask",
        "flask_appbuilder",
        "jinja2",
        "psycopg",
        "pydantic",
    }
