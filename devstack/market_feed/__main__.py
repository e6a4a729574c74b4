"""Entry point of `python -m devstack.market_feed`."""

from devstack.market_feed.cli import main

main()
