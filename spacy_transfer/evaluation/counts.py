"""What a system got right in each sentence: all that F1, and any test on it, needs to know."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Span
from spacy.training import Example

from spacy_transfer.corpus.gold import check_layer, is_annotated, token_tags
from spacy_transfer.pipeline.transfer_tagger import judged_tags

Counts = NDArray[np.int64]
"""[..., sentences, 3]: how many annotations are correct, how many are predicted, how many gold."""
_Annotation = tuple[str, int, int]  # label, start and end


def predicted(nlp: Language, examples: Iterable[Example]) -> list[Example]:
    """The examples as `nlp` annotates them."""
    examples = list(examples)
    docs = nlp.pipe(example.predicted for example in examples)
    return [Example(doc, example.reference) for doc, example in zip(docs, examples, strict=True)]


def count_correct(examples: Sequence[Example], layer: str) -> Counts:
    """Counts [sentences, 3] of predictions in a layer; a sentence is an example.

    Their totals give the scores of our components: `ents_f`, `spans_KEY_f`, and `tag_acc`, where
    all three count tokens. Nothing counts in a sentence whose reference is not annotated, nor an
    entity that is predicted where the reference does not know.
    """
    check_layer(layer)
    counts = np.zeros((len(examples), 3), dtype=np.int64)
    for row, example in zip(counts, examples, strict=True):
        if not is_annotated(example.reference, layer):
            continue
        if layer == "tag":
            hits = [hit for _, hit in judged_tags(example)]
            row[:] = sum(hits), len(hits), len(hits)
        else:
            found, gold = _found_and_gold(example, layer)
            row[:] = len(gold.intersection(found)), len(found), len(gold)
    return counts


def judged_spans(example: Example, layer: str) -> Iterator[tuple[Span, bool]]:
    """Each gold annotation of the reference, and whether `count_correct` counts it as correct.

    They come in text order. Of tags that is each token that has one, as a span.
    """
    reference = example.reference
    if layer == "tag":
        yield from ((reference[token.i : token.i + 1], hit) for token, hit in judged_tags(example))
    elif is_annotated(reference, layer):
        found, gold = _found_and_gold(example, layer)
        for annotation in sorted(gold, key=lambda annotation: annotation[1:]):
            _, start, end = annotation
            yield reference[start:end], annotation in found


def judged_predictions(example: Example, layer: str) -> Iterator[tuple[Span, bool]]:
    """Each predicted annotation, and whether `count_correct` counts it as correct.

    What the reference does not know about is left out. Of tags that is each token, as a span.
    """
    if not is_annotated(example.reference, layer):
        return
    if layer == "tag":
        for token, tag in zip(example.predicted, token_tags(example) or (), strict=True):
            if tag:
                yield example.predicted[token.i : token.i + 1], token.tag_ == tag
        return
    _, gold = _found_and_gold(example, layer)
    if layer == "ents":
        yield from ((ent, annotation in gold) for ent, annotation in _known_entities(example))
        return
    for span in example.predicted.spans.get(layer.partition(":")[2], []):
        aligned = example.get_aligned_spans_x2y([span], allow_overlap=True)
        yield span, any((of.label_, of.start, of.end) in gold for of in aligned)


def pack(counts: Counts) -> str:
    """Counts [sentences, 3] as text: two to three bytes a sentence."""
    return base64.b64encode(zlib.compress(counts.T.astype("<i4").tobytes(), 9)).decode()


def unpack(text: str) -> Counts:
    """What `pack` took; ValueError for any other text."""
    try:
        values = np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), "<i4")
    except zlib.error as error:
        raise ValueError(f"not counts of sentences: {error}") from error
    counts: Counts = values.reshape(3, -1).T.astype(np.int64)
    return counts


def _found_and_gold(example: Example, layer: str) -> tuple[list[_Annotation], set[_Annotation]]:
    return _entities(example) if layer == "ents" else _spans(example, layer.partition(":")[2])


def _entities(example: Example) -> tuple[list[_Annotation], set[_Annotation]]:
    gold = {(ent.label_, ent.start, ent.end) for ent in example.reference.ents}
    return [annotation for _, annotation in _known_entities(example)], gold


def _known_entities(example: Example) -> Iterator[tuple[Span, _Annotation]]:
    """Predicted entities, on the tokens of the reference too, where it knows about these."""
    # As `spacy.scorer.get_ner_prf` does it, which keeps its counts to itself.
    for ent in example.predicted.ents:
        tokens = example.alignment.x2y[ent.start : ent.end]
        if len(tokens):
            start, end = int(tokens[0]), int(tokens[-1]) + 1
            if all(token.ent_iob for token in example.reference[start:end]):
                yield ent, (ent.label_, start, end)


def _spans(example: Example, key: str) -> tuple[list[_Annotation], set[_Annotation]]:
    # As `spacy.scorer.Scorer.score_spans` for `spacy.spancat_scorer.v1`.
    spans = example.predicted.spans.get(key, [])
    aligned = example.get_aligned_spans_x2y(spans, allow_overlap=True)
    found, gold = (
        {(span.label_, span.start, span.end) for span in group}
        for group in (aligned, example.reference.spans[key])
    )
    return list(found), gold
