"""What the target has cost its sources: how well a pipeline still tags these."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import spacy

from spacy_transfer.corpus.readers import task_corpus
from spacy_transfer.evaluation.comparison import compare_examples, comparison_report
from spacy_transfer.evaluation.pipelines import annotate
from spacy_transfer.pipeline.components import transfer_pipes
from spacy_transfer.pipeline.scoring import score_layer


class OnSource(NamedTuple):
    """How a pipeline tags a source.

    Attributes:
        scores: those of the source's layer, as `SOURCE_SCORE`.
        cost: a report of the pipeline beside one from before the target; None without one.
    """

    scores: dict[str, Any]
    cost: str | None


def evaluate_source(model: str, source: str, before: str | None = None) -> OnSource:
    """Tag a corpus of a source as such, with a pipeline that has learned the target too.

    Args:
        model: a folder or package.
        source: a `.spacy` file or a folder of them; after `NAME=` where there are several sources.
        before: a pipeline that was trained on the source alone, to compare with.

    Raises:
        ValueError: a pipeline without that source, or corpora as in `compare`.
    """
    nlp = spacy.load(model)
    found = [(pipe, task) for pipe in transfer_pipes(nlp) for task in pipe.tasks[1:]]
    if not found:
        raise ValueError(f"{model}: it has no source that --source could be a corpus of")
    names = ", ".join(task for _, task in found)
    named, parted, file = source.partition("=")
    if named not in {task for _, task in found}:
        if parted and not Path(source).exists():
            raise ValueError(f"{model}: no source {named!r}; its sources are {names}")
        named, file = "", source
    fitting = [(pipe, task) for pipe, task in found if named in ("", task)]
    if len(fitting) != 1:
        raise ValueError(
            f"{model}: its sources are {names}; expected one of them, as in --source NAME={file}"
        )
    [(pipe, task)] = fitting
    pipe.task = task
    corpus = task_corpus(Path(file), pipe.task_layer)
    after = annotate(model, nlp, corpus)
    scores = {f"{task}_{name}": v for name, v in score_layer(after, corpus.layer).items()}
    if before is None:
        return OnSource(scores, None)
    first = annotate(before, spacy.load(before), corpus)
    cost = compare_examples(first, after, corpus.layer)
    return OnSource(scores, comparison_report((before, model), source, cost))
