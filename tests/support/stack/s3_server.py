"""A real S3 endpoint for tests: moto's server as a separate process, with one bucket."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest

from install.layout import Layout

BUCKET = "cold-tier"
_NAMESPACE = {"s3": "http://s3.amazonaws.com/doc/2006-03-01/"}


class S3Server:
    """The server and its bucket."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Create the object for a process that runs `s3_process.py`."""
        self._process = process
        assert process.stdout is not None
        self.endpoint = f"http://127.0.0.1:{process.stdout.readline().strip()}"
        self._request("PUT", BUCKET)

    def properties(self, key: str, secret: str) -> dict[str, str]:
        """Return the properties of an Iceberg Connection to it, as in docs/production.md."""
        return {
            "s3.endpoint": self.endpoint,
            "s3.access-key-id": key,
            "s3.secret-access-key": secret,
            "s3.path-style-access": "true",
            "client.region": "us-east-1",
        }

    def objects(self) -> set[str]:
        """Return the names of all objects."""
        listed = ElementTree.fromstring(self._request("GET", f"{BUCKET}?list-type=2"))  # noqa: S314 - our own server
        return {str(entry.text) for entry in listed.findall("s3:Contents/s3:Key", _NAMESPACE)}

    def buckets(self) -> set[str]:
        """Return the names of all buckets."""
        listed = ElementTree.fromstring(self._request("GET", ""))  # noqa: S314 - our own server
        return {str(entry.text) for entry in listed.findall("s3:Buckets/s3:Bucket/s3:Name", _NAMESPACE)}

    def put(self, key: str, content: bytes) -> None:
        """Store an object."""
        self._request("PUT", f"{BUCKET}/{key}", content)

    def age(self, key: str, hours: int) -> None:
        """Make an object older."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"age {BUCKET} {key} {hours}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def _request(self, method: str, path: str, content: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"{self.endpoint}/{path}", data=content, method=method)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            return bytes(response.read())


@contextmanager
def s3_server(*, strict: bool = False) -> Iterator[S3Server]:
    """Run a server during the context; skip the test if `make readers` has not been run.

    Args:
        strict: whether to refuse every key after the bucket was created.
    """
    python = Layout.of_checkout().python("readers")
    if not python.exists():
        pytest.skip("the S3 server is not installed: run make readers")
    command = [str(python), str(Path(__file__).with_name("s3_process.py"))]
    environ = {**os.environ, **({"INITIAL_NO_AUTH_ACTION_COUNT": "1"} if strict else {})}
    process = subprocess.Popen(
        command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield S3Server(process)
    finally:
        process.communicate(timeout=30)
