"""Entry point of `python -m embedded.market_feed`."""

from embedded.market_feed.cli import main

main()
