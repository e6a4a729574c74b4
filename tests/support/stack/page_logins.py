"""Users of the page with Airflow's own roles Viewer and User. A User may edit DAGs and create runs."""

from __future__ import annotations

import re
import subprocess
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, StorageState

from install.airflow_version import AIRFLOW_2
from tests.support.stack.airflow_stack import AirflowStack

ROLES = {"viewer": "Viewer", "operator": "User"}
_PASSWORD = "not a secret"
_MINT = """
import sys
from airflow.api_fastapi.app import create_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
manager = create_auth_manager()
for name, role in zip(sys.argv[1::2], sys.argv[2::2]):
    print("token", name, manager.generate_jwt(SimpleAuthManagerUser(username=name, role=role.lower())))
"""
"""Creates tokens. With Airflow 3's simple auth manager, a token names the user and is signed with Airflow's own key."""


def logins(stack: AirflowStack, browser: Browser) -> dict[str, StorageState]:
    """The browser state of each user after logging in."""
    return _logged_in(stack, browser) if stack.layout.state_version is AIRFLOW_2 else _with_tokens(stack)


def log_in(page: Page, name: str, password: str) -> None:
    """Fill in and submit Airflow's login form."""
    page.locator("[name=username]").fill(name)
    page.locator("[name=password]").fill(password)
    page.locator("[type=submit]").click()


def _logged_in(stack: AirflowStack, browser: Browser) -> dict[str, StorageState]:
    found = {}
    for name, role in ROLES.items():
        stack.airflow(
            *("users", "create", "--username", name, "--role", role, "--password", _PASSWORD),
            *("--email", f"{name}@example.com", "--firstname", name, "--lastname", "Example"),
        )
        with browser.new_context(base_url=stack.url) as context:
            page = context.new_page()
            page.goto("/login/")
            log_in(page, name, _PASSWORD)
            page.wait_for_url("**/home")
            found[name] = context.storage_state()
    return found


def _with_tokens(stack: AirflowStack) -> dict[str, StorageState]:
    people = [word for person in ROLES.items() for word in person]
    command = [str(stack.layout.airflow_python), "-c", _MINT, *people]
    output = subprocess.run(command, env=stack.environ, check=True, capture_output=True, text=True).stdout
    tokens = re.findall(r"^token (\w+) (\S+)$", output, flags=re.MULTILINE)
    host = str(urlsplit(stack.url).hostname)
    found: dict[str, StorageState] = {}
    for name, token in tokens:
        cookie = {"name": "_token", "value": token, "domain": host, "path": "/", "httpOnly": True, "secure": False}
        found[name] = {"cookies": [{**cookie, "expires": -1, "sameSite": "Lax"}], "origins": []}  # type: ignore[list-item]
    return found
