"""Grids of runs: one short file, every run cached, one table, a report."""
