"""`python -m install`: see `install.setup`."""

from __future__ import annotations

import sys

from install.setup import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
