"""`python -m embedded.clickhouse`."""

import sys

from embedded.clickhouse.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
