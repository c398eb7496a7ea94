"""Prices: what a model costs and where that comes from, what changed, what is missing, and prices of your own.

They are those of the package, or a newer table that `callmeter prices update` installed, with your overrides in them.
"""
