"""Every figure: compute a tidy table (cached), then draw it."""
