"""The papers' figures, one module each."""
