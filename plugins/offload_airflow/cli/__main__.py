"""`python -m offload_airflow.cli`: the operator's command with the Connections and Variables of this Airflow.

`app` cannot even be imported if Airflow is too old for this package. Then the error says which version to install.
"""

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
