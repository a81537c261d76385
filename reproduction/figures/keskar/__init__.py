"""The figures of Keskar et al. (2017)."""
