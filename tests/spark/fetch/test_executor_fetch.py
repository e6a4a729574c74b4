"""An executor describes and uploads a file that it has fetched."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from offload_core.errors import AuditFailed, CatalogUnavailable, FixCredentials, OffloadError
from offload_spark.fetch.executor_fetch import put
from offload_spark.files.footers import read_footer
from offload_spark.files.targets import Target

FOOTER = b"the footer"
END = FOOTER + len(FOOTER).to_bytes(4, "little") + b"PAR1"
SIGNATURE = "X-Amz-Signature=0123456789"


class Store:
    """An object store that gives prepared answers to PUT requests and records the requests."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self._server = server
        self.answers: list[tuple[int, str]] = []
        self.received: list[tuple[bytes, dict[str, str]]] = []

    def target(self) -> Target:
        url = f"http://127.0.0.1:{self._server.server_port}/cold-tier/x.parquet?{SIGNATURE}"
        return Target("s3://cold-tier/x.parquet", url, {"host": "ignored", "x-amz-acl": "private"})


@pytest.fixture
def store() -> Iterator[Store]:
    class Answer(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            store.received.append((body, dict(self.headers)))
            status, text = store.answers.pop(0) if store.answers else (200, "")
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        store = Store(server)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield store
        server.shutdown()
        thread.join()


@pytest.fixture
def part(tmp_path: Path) -> Path:
    path = tmp_path / "part.parquet"
    path.write_bytes(b"PAR1" + b"rows" * 100 + END)
    return path


def test_the_footer_comes_with_the_files_size(part: Path) -> None:
    assert read_footer(part) == (404 + len(END), FOOTER)


@pytest.mark.parametrize(
    "content",
    [b"", b"PAR1", b"PAR1" + FOOTER, END, b"PAR1" + END[:-1], b"PAR1" + b"\xff\xff\xff\x7fPAR1"],
)
def test_a_file_that_breaks_off_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "part.parquet"
    path.write_bytes(content)
    with pytest.raises(AuditFailed, match="not a complete Parquet file"):
        read_footer(path)


def test_a_file_arrives_whole_with_the_headers_of_its_signature(part: Path, store: Store) -> None:
    put(part, store.target())
    [(body, headers)] = store.received
    assert body == part.read_bytes()
    assert headers["x-amz-acl"] == "private"
    assert headers["Host"].startswith("127.0.0.1")


def test_a_store_that_is_busy_gets_the_whole_file_again(part: Path, store: Store) -> None:
    store.answers = [(503, "slow down")]
    put(part, store.target())
    assert [body for body, _ in store.received] == [part.read_bytes()] * 2


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        ((403, "<Error><Code>AccessDenied</Code></Error>"), FixCredentials, "AccessDenied"),
        ((403, "<Error><Message>Request has expired</Message></Error>"), CatalogUnavailable, "expired"),
        ((404, "<Error><Code>NoSuchBucket</Code></Error>"), CatalogUnavailable, "NoSuchBucket"),
    ],
)
def test_what_the_store_says_is_told_without_the_url(
    part: Path, store: Store, answer: tuple[int, str], error: type[OffloadError], text: str
) -> None:
    store.answers = [answer]
    with pytest.raises(error, match=text) as caught:
        put(part, store.target())
    assert "Signature" not in str(caught.value)


def test_a_store_that_is_away_is_told_without_the_url(part: Path) -> None:
    target = Target("s3://cold-tier/x.parquet", f"http://127.0.0.1:1/x?{SIGNATURE}")
    with pytest.raises(CatalogUnavailable, match="NewConnectionError") as caught:
        put(part, target)
    assert "Signature" not in str(caught.value)
