"""What an experiment is to decide, and by what: written down before its runs."""
