"""`python -m offload_airflow`: see `command`, which an Airflow that is too old for this package can't even import."""

from __future__ import annotations

import sys

from offload_core.errors import FixConfiguration
from offload_ops.cli.context import EXIT_ERROR

if __name__ == "__main__":
    try:
        from offload_airflow.cli.app import main
    except FixConfiguration as error:
        print(f"offload: {error}", file=sys.stderr)
        sys.exit(EXIT_ERROR)
    sys.exit(main())
