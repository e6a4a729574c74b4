from embedded.market_feed.cli import main

main()
