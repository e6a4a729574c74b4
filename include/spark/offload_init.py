"""The Spark job behind `offload init`: make the Iceberg tables of all configured tables, or add the columns they lack."""

from __future__ import annotations

import sys

from offload_spark.job.init import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
