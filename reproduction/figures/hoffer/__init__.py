"""The figures of Hoffer, Hubara & Soudry (2017)."""
