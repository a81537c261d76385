"""The figures of Gao & Zhong (2020)."""
