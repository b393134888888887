"""The two levels below the CRF: characters to words, words to contextual hidden states.

Yang et al. 2017 (§3.1, §3.4) use two-layer bidirectional GRUs at both levels, Wang et al. 2018 a
one-layer bidirectional LSTM over words; Collobert et al. 2011 and Ma & Hovy 2016 use CNNs. All are
settings of the same two modules. Vectors from outside, such as those of a pretrained transformer,
may stand in for the embeddings of words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d

from spacy_transfer.nn.batch import Packed, send, take, within
from spacy_transfer.nn.memory import WORTH_IT, WordMemory
from spacy_transfer.nn.recurrent import BiRecurrent, Cell

CharacterEncoderName = Literal["gru", "gru-reset-before", "lstm", "cnn", "none"]
WordEncoderName = Literal["gru", "gru-reset-before", "lstm", "cnn"]
CNN_WINDOW = 3


@dataclass(frozen=True)
class EncoderSettings:
    """Sizes and kinds of both levels; the defaults are for few labels.

    Yang et al. 2017 (§4.2) have two layers of 80 for characters and two of 300 for words.

    ValueError for a size below 1 or a rate that is none.

    Attributes:
        char_encoder: `gru`, `gru-reset-before` (the paper's own equation), `lstm`, `cnn`, `none`.
        char_embedding: width of the character embeddings.
        char_hidden: width of each direction of the character encoder (filters of the CNN).
        char_layers: layers of the character encoder.
        word_encoder: as `char_encoder`; `none` is for vectors from outside.
        word_embedding: width of the word embeddings; with pretrained vectors, or vectors from
            outside, it is theirs.
        word_hidden: width of each direction of the word encoder (filters of the CNN).
        word_layers: layers of the word encoder.
        word_dropout: how often a word seen once in training is read as the unknown word.
        lower: look words up in lower case.
        zero_digits: look words up with every digit as 0.
        from_outside: whether the vectors of tokens come with a batch. No word is looked up then:
            word_dropout, lower and zero_digits have no effect.
    """

    char_encoder: CharacterEncoderName = "gru"
    char_embedding: int = 25
    char_hidden: int = 25
    char_layers: int = 1
    word_encoder: WordEncoderName | Literal["none"] = "gru"
    word_embedding: int = 50
    word_hidden: int = 100
    word_layers: int = 1
    word_dropout: float = 0.5
    lower: bool = True
    zero_digits: bool = True
    from_outside: bool = False

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if type(value) is int and value < 1:
                raise ValueError(f"{name} must be at least 1; found {value}")
        if not 0.0 <= self.word_dropout <= 1.0:
            raise ValueError(f"word_dropout must be between 0 and 1; found {self.word_dropout}")

    @property
    def char_width(self) -> int:
        """Width of a word's character-level representation."""
        if self.char_encoder == "none":
            return 0
        return self.char_hidden if self.char_encoder == "cnn" else 2 * self.char_hidden

    @property
    def word_width(self) -> int:
        """Width of a token's hidden state, the input of the CRF's emissions."""
        if self.word_encoder == "none":
            return self.word_embedding + self.char_width
        return self.word_hidden if self.word_encoder == "cnn" else 2 * self.word_hidden

    @property
    def word_directions(self) -> int:
        """How many directions a hidden state is joined from, all of one width."""
        return 1 if self.word_encoder in ("none", "cnn") else 2


class WordEmbedding(nn.Module):
    """Trained rows for the words of the training corpora, static vectors for the others.

    Row 0 is the unknown word: what an unseen word without a static vector is read as. It learns
    from `word_dropout`, which reads rare words as unknown in training.
    """

    rare: Tensor

    def __init__(self, rows: int, width: int, word_dropout: float) -> None:
        super().__init__()
        bound = (3.0 / width) ** 0.5
        self.weight = nn.Parameter(torch.empty(rows, width).uniform_(-bound, bound))
        self.register_buffer("rare", torch.zeros(rows, dtype=torch.bool))
        self.word_dropout = word_dropout

    def forward(self, rows: Tensor, static_index: Tensor, static: Tensor) -> Tensor:
        """[distinct] rows and [static, width] vectors to [distinct, width]."""
        if self.training and self.word_dropout:
            dropped = torch.rand(rows.shape, device=rows.device) < self.word_dropout
            rows = rows.masked_fill(dropped & self.rare[rows], 0)
        embedded = nn.functional.embedding(rows, self.weight, sparse=True)
        if len(static_index):
            embedded = embedded.index_copy(0, static_index, static.to(embedded.dtype))
        return embedded


class RecurrentStack(nn.Module):
    """Bidirectional recurrent layers on top of each other, dropout between them."""

    def __init__(self, cell: Cell, inputs: int, hidden: int, layers: int) -> None:
        super().__init__()
        widths = [inputs] + [2 * hidden] * (layers - 1)
        self.layers = nn.ModuleList(BiRecurrent(cell, width, hidden) for width in widths)
        self.dropout = nn.Dropout(0.0)

    def forward(self, inputs: Packed) -> tuple[Packed, Tensor]:
        """Packed inputs to packed states and [sequences, 2 * hidden] final states (top layer)."""
        data, final = self.layers[0](inputs.data, inputs.batch_sizes)
        for layer in list(self.layers)[1:]:
            data, final = layer(self.dropout(data), inputs.batch_sizes)
        return inputs.with_data(data), final


class ConvolutionStack(nn.Module):
    """Convolutions over time with a window of three, ReLU after each, dropout between them.

    `precision` is what they compute in; None for the type of their inputs.
    """

    precision: torch.dtype | None = None

    def __init__(self, inputs: int, filters: int, layers: int) -> None:
        super().__init__()
        widths = [inputs] + [filters] * (layers - 1)
        self.layers = nn.ModuleList(
            nn.Conv1d(width, filters, CNN_WINDOW, padding=CNN_WINDOW // 2) for width in widths
        )
        self.dropout = nn.Dropout(0.0)

    def forward(self, inputs: Packed) -> tuple[Packed, Tensor]:
        """Packed inputs to packed states and [sequences, filters] maxima over time."""
        data = inputs.data
        index, lengths = inputs.index(torch.arange(int(inputs.batch_sizes[0])))
        inside = within(index.shape[1], lengths)
        mask = send(inside, data.device)[..., None]
        states = (take(data, index) * mask).to(self.precision or data.dtype)
        for number, layer in enumerate(self.layers):
            if number:
                states = self.dropout(states)
            weight, bias = (parameter.to(states.dtype) for parameter in layer.parameters())
            states = conv1d(states.transpose(1, 2), weight, bias, padding=CNN_WINDOW // 2)
            states = torch.relu(states).transpose(1, 2) * mask
        states = states.to(data.dtype)
        # Packed order is time-major: transposing the mask gives exactly the order of the items.
        places = send(inside.T.flatten().nonzero().squeeze(1), data.device)
        packed = states.transpose(0, 1).flatten(0, 1)[places]
        return inputs.with_data(packed), states.amax(dim=1)


def _stack(kind: str, inputs: int, hidden: int, layers: int) -> nn.Module:
    if kind == "cnn":
        return ConvolutionStack(inputs, hidden, layers)
    return RecurrentStack(cast(Cell, kind), inputs, hidden, layers)


class CharacterEncoder(nn.Module):
    """Character ids of each distinct word to one vector (Yang §3.4: the final states of both
    directions; for a CNN the maximum over the word). Character 0 is the unknown character.

    In prediction on the CPU, words that have keys are remembered from batch to batch until
    weights change.
    """

    def __init__(self, settings: EncoderSettings, characters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, settings.char_embedding)
        self.encoder = _stack(
            settings.char_encoder,
            settings.char_embedding,
            settings.char_hidden,
            settings.char_layers,
        )
        self._width = settings.char_width
        self._memory = WordMemory()

    def forward(self, characters: Packed, keys: Sequence[int] | None = None) -> Tensor:
        """Packed character ids to [distinct, char_width]; `keys` as those of a `TokenBatch`."""
        learning = self.training or torch.is_grad_enabled()
        if keys is None or len(keys) < WORTH_IT or learning or not characters.data.is_cpu:
            return self._encode(characters)
        memory, weights = self._memory, list(self.parameters())
        if not memory.is_of(weights):
            memory = self._memory = WordMemory(weights, self._width)
        found = memory.recall(keys, characters, self._encode)
        if found is None:
            self._memory = WordMemory()
            return self._encode(characters)
        return found

    def _encode(self, characters: Packed) -> Tensor:
        _, final = self.encoder(characters.with_data(self.embedding(characters.data)))
        return cast(Tensor, final)


class WordEncoder(nn.Module):
    """Word and character-level vectors of each token to its hidden state: with the encoder `none`,
    these vectors themselves."""

    def __init__(self, settings: EncoderSettings, word_embedding: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.0)
        self.encoder: nn.Module | None = None
        if settings.word_encoder != "none":
            self.encoder = _stack(
                settings.word_encoder,
                word_embedding + settings.char_width,
                settings.word_hidden,
                settings.word_layers,
            )

    def forward(self, tokens: Packed) -> Tensor:
        """Packed [tokens, word_embedding + char_width] to [tokens, word_width]."""
        inputs = self.dropout(tokens.data)
        if self.encoder is None:
            return cast(Tensor, inputs)
        states, _ = self.encoder(tokens.with_data(inputs))
        return cast(Tensor, states.data)
