"""Learning rates: numbers and schedules, scaled to another batch and read at another pace."""
