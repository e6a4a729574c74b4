"""Documents as the tests read them."""
