"""Logged-in HTTP sessions, one kind for each Airflow version."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from typing import Protocol

_TIMEOUT_SECONDS = 30


class Session(Protocol):
    """A session that is logged in."""

    def read(self, request: urllib.request.Request) -> bytes:
        """Return the answer to a request.

        Raises:
            OSError: there is no answer, or it is an error.
        """


class FormSession:
    """A session of Airflow 2 with a cookie, like a browser's.

    With a password per request instead, each check would cost Airflow 0.1 s of CPU.

    Args:
        url: Airflow's web address.
        login: `username` and `password`.
    """

    api = "/api/v1"

    def __init__(self, url: str, login: dict[str, str]) -> None:
        self._browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with self._browser.open(f"{url}/login/", timeout=_TIMEOUT_SECONDS) as response:
            (token,) = re.findall(r'name="csrf_token" type="hidden" value="([^"]+)"', response.read().decode())
        form = urllib.parse.urlencode({**login, "csrf_token": token}).encode()
        with self._browser.open(f"{url}/login/", form, timeout=_TIMEOUT_SECONDS) as response:
            response.read()

    def read(self, request: urllib.request.Request) -> bytes:
        """Return the answer to a request."""
        with self._browser.open(request, timeout=_TIMEOUT_SECONDS) as response:
            content: bytes = response.read()
        return content


class TokenSession:
    """A session of Airflow 3 with a token, which is valid for a day.

    Args:
        url: Airflow's web address.
        login: `username` and `password`.
    """

    api = "/api/v2"

    def __init__(self, url: str, login: dict[str, str]) -> None:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{url}/auth/token", json.dumps(login).encode(), headers)  # noqa: S310 - loopback http
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
            self._token = json.load(response)["access_token"]

    def read(self, request: urllib.request.Request) -> bytes:
        """Return the answer to a request."""
        request.add_header("Authorization", f"Bearer {self._token}")
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
            content: bytes = response.read()
        return content
