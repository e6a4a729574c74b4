"""The product's shared application, but its jobs are those of `offload init`: worlds are created without a JVM each."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[4] / "include" / "spark"))

from offload_spark.job import init, shared_application

if __name__ == "__main__":
    shared_application.main = init.main
    shared_application.SharedApplication(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])).serve()
