"""Tests that take an hour: `make test-long`."""

from __future__ import annotations
