"""How the papers train, and what they report."""
