"""The Spark job: offloads one ClickHouse table's new rows to its Iceberg table.

Airflow or an operator starts it with spark-submit:

    spark-submit offload_generic.py --source-table bronze_trades_binance --target-table cold.bronze_trades_binance \
        --timestamp-col exchange_timestamp --sequence-col sequence_number --layer bronze
"""

from __future__ import annotations

import sys

from offload_spark.job.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
