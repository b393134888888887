"""The generator of the synthetic clinical corpus."""
