"""`spacy transfer ...`: one thin file a command; no logic here.

spaCy imports this module at every `spacy ...` call, so command bodies import what they need.
"""

from __future__ import annotations

import typer

from spacy_transfer.cli.batch_size import batch_size
from spacy_transfer.cli.calibrate import calibrate
from spacy_transfer.cli.cases import cases
from spacy_transfer.cli.compare import compare
from spacy_transfer.cli.convert import convert
from spacy_transfer.cli.evaluate import evaluate
from spacy_transfer.cli.experiment import experiment
from spacy_transfer.cli.rank_sources import rank_sources
from spacy_transfer.cli.report import report
from spacy_transfer.cli.sample import sample
from spacy_transfer.cli.scores import scores
from spacy_transfer.cli.train import train
from spacy_transfer.cli.vectors import vectors
from spacy_transfer.cli.word2vec import word2vec

app = typer.Typer(
    name="transfer",
    help="Transfer learning for sequence tagging where labels are scarce.",
    no_args_is_help=True,
)
# The options of these commands are those of the config, too.
_SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}
app.command()(convert)
app.command()(sample)
app.command()(vectors)
app.command()(word2vec)
app.command()(rank_sources)
app.command(context_settings=_SETTINGS)(batch_size)
app.command(context_settings=_SETTINGS)(train)
app.command()(evaluate)
app.command()(compare)
app.command()(cases)
app.command()(calibrate)
app.command()(scores)
app.command()(experiment)
app.command()(report)
