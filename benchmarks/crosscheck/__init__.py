"""The cross-check of prices: calls, the peers that price them too, and what their differences are due to."""
