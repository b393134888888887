"""`spacy transfer ...`: one thin file a command; no logic here.

spaCy imports this module at every `spacy ...` call, so command bodies import what they need.
"""

from __future__ import annotations

import typer

from spacy_transfer.cli.convert import convert
from spacy_transfer.cli.sample import sample
from spacy_transfer.cli.scores import scores
from spacy_transfer.cli.train import train
from spacy_transfer.cli.vectors import vectors

app = typer.Typer(
    name="transfer",
    help="Transfer learning for sequence tagging where labels are scarce.",
    no_args_is_help=True,
)
app.command()(convert)
app.command()(sample)
app.command()(vectors)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(train)
app.command()(scores)
