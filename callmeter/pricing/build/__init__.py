"""How `data/*.toml` comes about: collections of prices are read, joined by provider and model, and decided by rule.

`python -m callmeter.pricing.build` does it. Each collection is read by a module of its own into `offers.Offer`, `join`
brings together what is said of one model, `decide` picks by the rules of `docs/pricing.md`, `suspects` finds what no
rule may decide, `overrides.toml` has our decisions on that, and `write` puts down one TOML a provider. Facts are
taken, not files: nothing of a collection is copied but names, figures, dates and limits.
"""
