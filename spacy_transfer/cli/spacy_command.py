"""Adds `transfer` to the `spacy` command, which imports this through an entry point."""

from __future__ import annotations

from spacy.cli._util import app as spacy_app

from spacy_transfer.cli import app

spacy_app.add_typer(app, name="transfer")
