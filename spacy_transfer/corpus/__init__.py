"""Labelled corpora: files in and out, tag schemes, label maps, samples, readers."""
