"""What the logs of a stack say."""

from __future__ import annotations

from pathlib import Path


def deprecated(logs: Path) -> list[str]:
    """What any log of a folder says of things that will not work in later versions."""
    lines = [line for log in logs.rglob("*.log") for line in log.read_text(errors="replace").splitlines()]
    assert lines
    return [line for line in lines if "deprecat" in line.lower()]
