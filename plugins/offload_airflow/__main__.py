"""`python -m offload_airflow`: see `command`, which an Airflow that is too old for this package can't even import."""

from __future__ import annotations

import sys

from offload_core.cli_context import EXIT_ERROR
from offload_core.errors import FixConfiguration

if __name__ == "__main__":
    try:
        from offload_airflow.command import main
    except FixConfiguration as error:
        print(f"offload: {error}", file=sys.stderr)
        sys.exit(EXIT_ERROR)
    sys.exit(main())
