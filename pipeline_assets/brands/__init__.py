"""The registry of brands: what a brand is, whose it is, where its data comes from."""
