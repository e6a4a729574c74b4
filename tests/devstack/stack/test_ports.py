"""The loopback ports of a stack."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from devstack.stack.errors import PartFailedError
from devstack.stack.ports import LOOPBACK, Ports, is_free


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_taken_port_gives_the_next_free_one(tmp_path, taken):
    port = Ports(tmp_path, {"OFFLOAD_PORT_POSTGRES": str(taken)}).choose("postgres")

    assert port > taken
    assert is_free(port)


def test_a_stack_gets_the_same_port_again_although_the_requested_one_became_free(tmp_path):
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        server.listen()
        requested = server.getsockname()[1]
        environ = {"OFFLOAD_PORT_POSTGRES": str(requested)}
        first = Ports(tmp_path, environ).choose("postgres")

    assert is_free(requested)
    assert Ports(tmp_path, environ).choose("postgres") == first


def test_requesting_another_port_overrides_the_remembered_one(tmp_path, taken):
    Ports(tmp_path, {"OFFLOAD_PORT_POSTGRES": str(taken)}).choose("postgres")
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        other = probe.getsockname()[1]

    assert Ports(tmp_path, {"OFFLOAD_PORT_POSTGRES": str(other)}).choose("postgres") == other


def test_two_uses_never_get_the_same_port(tmp_path, taken):
    environ = {"OFFLOAD_PORT_CLICKHOUSE_HTTP": str(taken), "OFFLOAD_PORT_CLICKHOUSE_NATIVE": str(taken)}
    ports = Ports(tmp_path, environ)

    assert ports.choose("clickhouse_http") != ports.choose("clickhouse_native")


def test_a_listening_port_is_taken_immediately(tmp_path, taken):
    environ = {"OFFLOAD_PORT_AIRFLOW": str(taken)}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()

    with (
        Ports(tmp_path / "one", environ).listen("airflow") as first,
        Ports(tmp_path / "two", environ).listen("airflow") as second,
    ):
        assert len({taken, first.getsockname()[1], second.getsockname()[1]}) == 3


@pytest.mark.parametrize("text", ["80", "70000", "http", "-1"])
def test_an_invalid_port_is_refused_with_the_name_of_the_variable(tmp_path, text):
    with pytest.raises(PartFailedError, match=r"OFFLOAD_PORT_AIRFLOW=.*from 1024 to 65535"):
        Ports(tmp_path, {"OFFLOAD_PORT_AIRFLOW": text}).choose("airflow")
