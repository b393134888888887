"""Config blocks of the tagger: `[model.encoder]` and `[model.objective]`."""

from __future__ import annotations

from typing import Literal

from spacy_transfer.nn.encoders import CharacterEncoderName, EncoderSettings, WordEncoderName
from spacy_transfer.nn.mmd import AUTHOR_WIDTHS
from spacy_transfer.nn.objective import MMDName, ObjectiveSettings


def hierarchical_encoder(
    char_encoder: CharacterEncoderName = "gru",
    char_embedding: int = 25,
    char_hidden: int = 25,
    char_layers: int = 1,
    word_encoder: WordEncoderName | Literal["none"] = "gru",
    word_embedding: int = 50,
    word_hidden: int = 100,
    word_layers: int = 1,
    word_dropout: float = 0.5,
    lower: bool = True,
    zero_digits: bool = True,
) -> EncoderSettings:
    """`spacy_transfer.HierarchicalEncoder.v1`: `EncoderSettings` says what each setting means."""
    return EncoderSettings(
        char_encoder=char_encoder,
        char_embedding=char_embedding,
        char_hidden=char_hidden,
        char_layers=char_layers,
        word_encoder=word_encoder,
        word_embedding=word_embedding,
        word_hidden=word_hidden,
        word_layers=word_layers,
        word_dropout=word_dropout,
        lower=lower,
        zero_digits=zero_digits,
    )


def objective(
    cost: float = 0.0,
    constrained: bool = False,
    mmd: MMDName = "label-aware",
    alpha: float = 0.0,
    beta: float = 0.0,
    gamma: float = 0.0,
    epsilon: float | None = None,
    widths: list[float] | None = None,
    mmd_tokens: int | None = None,
) -> ObjectiveSettings:
    """`spacy_transfer.Objective.v1`: `ObjectiveSettings` says what each setting means."""
    return ObjectiveSettings(
        cost=cost,
        constrained=constrained,
        mmd=mmd,
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        epsilon=epsilon,
        widths=AUTHOR_WIDTHS if widths is None else tuple(widths),
        mmd_tokens=mmd_tokens,
    )
