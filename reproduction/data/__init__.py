"""The data that the papers' trainings use."""
