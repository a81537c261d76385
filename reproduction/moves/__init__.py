"""Whole recipes, moved from a small to a large batch: what to change in them, by accuracy."""
