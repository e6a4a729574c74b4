"""`python -m devstack.clickhouse_server`."""

import sys

from devstack.clickhouse_server.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
