"""The logs of a stack."""

from __future__ import annotations

from pathlib import Path


def deprecated(logs: Path) -> list[str]:
    """The lines of all logs in a folder that warn of deprecated features."""
    lines = [line for log in logs.rglob("*.log") for line in log.read_text(errors="replace").splitlines()]
    assert lines
    return [line for line in lines if "deprecat" in line.lower()]
