"""The Spark job behind `offload init`: creates the Iceberg tables of all configured tables, or adds missing columns."""

from __future__ import annotations

import sys

from offload_spark.job.init import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
