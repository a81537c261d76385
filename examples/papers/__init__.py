"""The papers' networks, recipes, tables and figures; `reproduce.py` runs them."""
