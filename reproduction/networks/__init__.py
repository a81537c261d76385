"""The networks that the papers train."""
