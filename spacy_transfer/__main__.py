"""`python -m spacy_transfer ...` is `spacy transfer ...`."""

from spacy_transfer.cli import app

app(prog_name="python -m spacy_transfer")
