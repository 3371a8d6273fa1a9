"""``kws run``: the steps from words to a measured firmware, and what is kept of them."""
