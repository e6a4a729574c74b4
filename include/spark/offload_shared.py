"""The Spark application that the jobs of several tables share.

offload_core/jobs/shared_jvm.py starts it and sends it jobs:

spark-submit offload_shared.py FOLDER NAME KEEP_SECONDS
"""

from __future__ import annotations

import sys
from pathlib import Path

from offload_spark.job.shared_application import SharedApplication

if __name__ == "__main__":
    SharedApplication(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])).serve()
