"""The papers' networks, recipes, tables and figures: `python -m reproduction` makes them anew."""
