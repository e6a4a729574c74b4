"""The Spark job: maintenance of one Iceberg table.

Takes the arguments of `offload_generic.py`, and `--dry-run` to change nothing.
"""

from __future__ import annotations

import sys

from offload_spark.maintenance.job import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
