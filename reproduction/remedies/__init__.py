"""Remedies for large batches, as the experiment needs them; JAX only where it says so."""
