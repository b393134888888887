"""flair's `SequenceTagger` with trained word and character embeddings, without dropout.

Character level: one bidirectional LSTM layer, which is all that it offers. Trains by
`ModelTrainer`, tags by `predict`, which sorts the sentences by length.
"""

from __future__ import annotations

import logging
import os
import time

import flair  # type: ignore[import-not-found]
import measure
import torch
from flair.data import Corpus, Dictionary, Sentence  # type: ignore[import-not-found]
from flair.datasets import ColumnCorpus  # type: ignore[import-not-found]
from flair.embeddings import (  # type: ignore[import-not-found]
    CharacterEmbeddings,
    OneHotEmbeddings,
    StackedEmbeddings,
)
from flair.models import SequenceTagger  # type: ignore[import-not-found]
from flair.trainers import ModelTrainer  # type: ignore[import-not-found]
from flair.trainers.plugins import TrainerPlugin  # type: ignore[import-not-found]
from measure import WARM_UP, Job, read_job, report


class Clock(TrainerPlugin):  # type: ignore[misc]
    """When epochs began and ended, without their evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.began: list[float] = []
        self.ended: list[float] = []

    @TrainerPlugin.hook  # type: ignore[untyped-decorator]
    def before_training_epoch(self, **_: object) -> None:
        """Note the time."""
        self.began.append(time.time())

    @TrainerPlugin.hook  # type: ignore[untyped-decorator]
    def after_training_epoch(self, **_: object) -> None:
        """Note the time."""
        self.ended.append(time.time())


def tagger(corpus: Corpus, sentences: list[list[str]]) -> SequenceTagger:
    """An untrained tagger."""
    words, characters = Dictionary(), Dictionary()
    for word in sorted({word for sentence in sentences for word in sentence}):
        words.add_item(word)
        for character in word:
            characters.add_item(character)
    return SequenceTagger(
        embeddings=StackedEmbeddings(
            [
                OneHotEmbeddings(words, embedding_length=measure.WORD_EMBEDDING),
                CharacterEmbeddings(characters, measure.CHAR_EMBEDDING, measure.CHAR_HIDDEN),
            ]
        ),
        tag_dictionary=corpus.make_label_dictionary("ner", add_unk=False),
        tag_type="ner",
        rnn_type="GRU",
        hidden_size=measure.WORD_HIDDEN,
        rnn_layers=measure.WORD_LAYERS,
        reproject_embeddings=False,
        word_dropout=0.0,
        locked_dropout=0.0,
    )


def train(job: Job) -> None:
    """Time the second of two epochs."""
    corpus = ColumnCorpus(
        job.data,
        {0: "text", 1: "ner"},
        train_file="train.txt",
        dev_file="dev.txt",
        comment_symbol=None,
        sample_missing_splits=False,
    )
    sentences = job.words("train")
    clock = Clock()
    ModelTrainer(tagger(corpus, sentences), corpus).train(
        job.work,
        optimizer=torch.optim.Adagrad,
        learning_rate=measure.LEARN_RATE,
        mini_batch_size=job.train_batch,
        max_epochs=2,
        embeddings_storage_mode="none",
        plugins=[clock],
        attach_default_scheduler=False,
    )
    report(
        sentences=len(sentences),
        words=sum(map(len, sentences)),
        seconds=clock.ended[1] - clock.began[1],
        start_up=clock.began[0] - job.started,
    )


def tag(job: Job) -> None:
    """Tag Sentences that exist already."""
    model = SequenceTagger.load(job.work / "final-model.pt")
    train, test = job.words("train"), job.words("test")
    options = {"mini_batch_size": job.batch} if job.batch else {}
    model.predict(Sentence(train[0]), **options)
    start_up = time.time() - job.started
    model.predict([Sentence(words) for words in train[:WARM_UP]], **options)
    untagged = [Sentence(words) for words in test]
    began = time.perf_counter()
    model.predict(untagged, **options)
    seconds = time.perf_counter() - began
    report(sentences=len(test), words=sum(map(len, test)), seconds=seconds, start_up=start_up)


if __name__ == "__main__":
    job = read_job(str(__doc__))
    flair.device = torch.device(os.environ.get("BENCHMARK_DEVICE", "cpu"))
    flair.logger.setLevel(logging.WARNING)
    train(job) if job.mode == "train" else tag(job)
