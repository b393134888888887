"""Scores of trained pipelines."""
