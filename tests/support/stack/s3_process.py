"""An S3 server on loopback, run by the readers' Python. It prints its port, then reads commands from standard input.

`age BUCKET KEY HOURS` makes an object older, which the S3 API cannot do. The server ends when its standard input ends.
"""

from __future__ import annotations

import sys
from datetime import timedelta

from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer


def main() -> None:
    """Serve until standard input ends."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    for line in sys.stdin:
        _, bucket, key, hours = line.split()
        found = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[bucket].keys[key]
        found.last_modified -= timedelta(hours=int(hours))
        print("done", flush=True)
    server.stop()


main()
