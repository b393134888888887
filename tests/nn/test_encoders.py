from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d

from spacy_transfer.nn import encoders, memory
from spacy_transfer.nn.batch import Packed
from spacy_transfer.nn.encoders import (
    CharacterEncoder,
    CharacterEncoderName,
    ConvolutionStack,
    EncoderSettings,
    RecurrentStack,
    WordEmbedding,
    WordEncoder,
    WordEncoderName,
)
from tests.nn.packing import pack, unpack

LENGTHS = [6, 4, 4, 2, 1, 1]
KINDS: tuple[WordEncoderName, ...] = ("gru", "gru-reset-before", "lstm", "cnn")
INPUTS, HIDDEN = 3, 4


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def sentences() -> list[Tensor]:
    return [torch.randn(length, INPUTS, dtype=torch.float64) for length in LENGTHS]


def make_stack(kind: WordEncoderName, layers: int) -> nn.Module:
    if kind == "cnn":
        return ConvolutionStack(INPUTS, HIDDEN, layers).double()
    return RecurrentStack(kind, INPUTS, HIDDEN, layers).double()


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_batch_equals_each_sequence_alone(kind: WordEncoderName, layers: int) -> None:
    stack, inputs = make_stack(kind, layers), sentences()
    states, final = stack(pack(inputs))
    assert states.batch_sizes.tolist() == pack(inputs).batch_sizes.tolist()
    for sequence, found, last in zip(inputs, unpack(states), final, strict=True):
        alone, alone_last = stack(pack([sequence]))
        assert_close(found, alone.data)
        assert_close(last, alone_last[0])


@pytest.mark.parametrize("kind", KINDS)
def test_final_states(kind: WordEncoderName) -> None:
    states, final = make_stack(kind, 2)(pack(sentences()))
    for sequence, last in zip(unpack(states), final, strict=True):
        ends = torch.cat([sequence[-1, :HIDDEN], sequence[0, HIDDEN:]])
        assert_close(last, sequence.amax(0) if kind == "cnn" else ends)


@pytest.mark.parametrize(("kind", "peer"), [("gru", nn.GRU), ("lstm", nn.LSTM)])
def test_recurrent_stack_is_that_of_torch(
    kind: WordEncoderName, peer: type[nn.GRU] | type[nn.LSTM]
) -> None:
    stack = make_stack(kind, 2)
    other = peer(INPUTS, HIDDEN, num_layers=2, bidirectional=True).double()
    for name, value in stack.state_dict().items():
        _, layer, parameter = name.split(".")
        other.get_parameter(parameter.replace("_l0", f"_l{layer}")).data.copy_(value)
    inputs = sentences()
    for sequence, found in zip(inputs, unpack(stack(pack(inputs))[0]), strict=True):
        assert_close(found, other(sequence)[0])


def test_convolution_stack_by_hand() -> None:
    stack, inputs = make_stack("cnn", 2), sentences()
    weights = list(stack.parameters())
    for sequence, found in zip(inputs, unpack(stack(pack(inputs))[0]), strict=True):
        states = sequence.T
        for weight, bias in zip(weights[::2], weights[1::2], strict=True):
            states = conv1d(states, weight, bias, padding=1).clamp(min=0)
        assert_close(found, states.T)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_between_layers_and_only_in_training(kind: WordEncoderName) -> None:
    inputs = pack(sentences())
    for layers, random in ((1, False), (2, True)):
        stack = make_stack(kind, layers)
        for module in stack.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.5
        first, again = stack(inputs)[0].data, stack(inputs)[0].data
        assert torch.equal(first, again) is not random
        stack.eval()
        assert torch.equal(stack(inputs)[0].data, stack(inputs)[0].data)


def settings(
    char: CharacterEncoderName = "gru", word: WordEncoderName = "gru", dropout: float = 0.5
) -> EncoderSettings:
    return EncoderSettings(
        char_encoder=char,
        char_embedding=INPUTS,
        char_hidden=HIDDEN,
        char_layers=2,
        word_encoder=word,
        word_embedding=2,
        word_hidden=5,
        word_layers=2,
        word_dropout=dropout,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_character_encoder_gives_final_states(kind: CharacterEncoderName) -> None:
    wanted = settings(kind)
    encoder = CharacterEncoder(wanted, characters=9).double()
    words = [torch.tensor(word) for word in ([3, 1, 4, 1, 5], [8, 2], [0, 7], [6])]
    found = encoder(pack(words))
    assert found.shape == (4, wanted.char_width)
    for word, vector in zip(words, found, strict=True):
        states = encoder.encoder(pack([encoder.embedding.weight[word]]))[0].data
        ends = torch.cat([states[-1, :HIDDEN], states[0, HIDDEN:]])
        assert_close(vector, states.amax(0) if kind == "cnn" else ends)


def remembering(monkeypatch: pytest.MonkeyPatch, kind: CharacterEncoderName) -> CharacterEncoder:
    """An encoder in prediction that remembers words in batches of any size."""
    monkeypatch.setattr(encoders, "WORTH_IT", 1)
    return CharacterEncoder(settings(kind), characters=9).double().eval()


FIVE = [torch.tensor(word) for word in ([3, 1, 4, 1, 5], [8, 2], [0, 7], [6], [2])]
BATCHES = [[0, 1, 3], [0, 1, 2, 3, 4], [4], [1, 2, 3]]


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_remembered_words_are_as_encoded(
    monkeypatch: pytest.MonkeyPatch, kind: CharacterEncoderName
) -> None:
    encoder = remembering(monkeypatch, kind)
    for _ in range(2):
        for keys in BATCHES:
            words = pack([FIVE[key] for key in keys])
            assert_close(encoder(words, keys), encoder(words))
    calls: list[Packed] = []
    monkeypatch.setattr(encoder, "_encode", calls.append)
    encoder(words, keys)
    assert calls == []
    for weights in encoder.parameters():
        monkeypatch.undo()
        monkeypatch.setattr(encoders, "WORTH_IT", 1)
        weights.data.mul_(1.1)
        assert_close(encoder(words, keys), encoder(words))


def test_words_are_encoded_anew_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = remembering(monkeypatch, "gru")
    keys, words = [0, 1, 3], pack([FIVE[key] for key in (0, 1, 3)])
    with torch.no_grad():
        known = encoder(words, keys)
        assert isinstance(encoder.encoder, RecurrentStack)
        encoder.encoder.dropout.p = 0.5
        encoder.train()
        assert not torch.equal(encoder(words, keys), known)
        encoder.eval()
        assert torch.equal(encoder(words, keys), known)
    assert encoder(words, keys).requires_grad


@torch.no_grad()
def test_a_full_memory_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = remembering(monkeypatch, "gru")
    monkeypatch.setattr(memory, "CAPACITY", 3)
    for _ in range(3):
        for keys in BATCHES:
            words = pack([FIVE[key] for key in keys])
            assert_close(encoder(words, keys), encoder(words))


@pytest.mark.parametrize("word", KINDS)
@pytest.mark.parametrize("char", ["gru", "cnn", "none"])
def test_word_encoder_widths(char: CharacterEncoderName, word: WordEncoderName) -> None:
    wanted = settings(char, word)
    assert wanted.char_width == {"gru": 2 * HIDDEN, "cnn": HIDDEN, "none": 0}[char]
    encoder = WordEncoder(wanted, 7).double()
    width = 7 + wanted.char_width
    tokens = [torch.randn(n, width, dtype=torch.float64) for n in (3, 1)]
    found = encoder(pack(tokens))
    assert found.shape == (4, wanted.word_width)
    assert_close(unpack(pack(tokens).with_data(found))[1], encoder(pack(tokens[1:])))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"word_layers": 0}, "word_layers must be at least 1; found 0"),
        ({"char_hidden": -3}, "char_hidden must be at least 1; found -3"),
        ({"word_dropout": 1.5}, "word_dropout must be between 0 and 1; found 1.5"),
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EncoderSettings(**wrong)  # type: ignore[arg-type]


NO_STATIC = (torch.empty(0, dtype=torch.int64), torch.empty(0, 2))


def make_embedding(rows: int, rare: list[int], word_dropout: float) -> WordEmbedding:
    embedding = WordEmbedding(rows, 2, word_dropout)
    embedding.rare[rare] = True
    return embedding


def test_embedding_looks_rows_up() -> None:
    embedding = make_embedding(5, rare=[1, 2], word_dropout=0.9).eval()
    rows = torch.tensor([2, 0, 4, 2, 1])
    assert torch.equal(embedding(rows, *NO_STATIC), embedding.weight[rows])


def test_word_dropout_reads_rare_words_as_unknown_and_no_others() -> None:
    embedding = make_embedding(5, rare=[1, 2], word_dropout=0.3)
    rows = torch.arange(5).repeat(4000)
    found = embedding(rows, *NO_STATIC).detach()
    unknown = (found == embedding.weight[0]).all(1).view(-1, 5).float().mean(0)
    assert unknown[[3, 4]].tolist() == [0, 0]
    # Six standard deviations of a share of 4000.
    assert unknown[[1, 2]].tolist() == pytest.approx([0.3, 0.3], abs=6 * (0.21 / 4000) ** 0.5)
    kept = found[rows == 1][found[rows == 1].ne(embedding.weight[0]).any(1)]
    assert torch.equal(kept, embedding.weight[1].expand_as(kept))


def test_word_dropout_trains_the_unknown_row() -> None:
    embedding = make_embedding(5, rare=[1], word_dropout=1.0)
    embedding(torch.tensor([1, 3, 1]), *NO_STATIC).sum().backward()
    assert embedding.weight.grad is not None
    assert embedding.weight.grad.is_sparse
    gradient = embedding.weight.grad.to_dense()
    assert gradient[:, 0].tolist() == [2, 0, 0, 1, 0]


def test_static_vectors_are_used_and_not_trained() -> None:
    embedding = make_embedding(4, rare=[], word_dropout=0.5)
    static = torch.tensor([[7.0, 8.0], [5.0, 6.0]])
    found = embedding(torch.tensor([0, 3, 0, 0]), torch.tensor([2, 0]), static)
    expected = torch.stack([static[1], embedding.weight[3], static[0], embedding.weight[0]])
    assert torch.equal(found, expected)
    found.sum().backward()
    assert embedding.weight.grad is not None
    # The unknown row learns from the one word that has no vector.
    assert embedding.weight.grad.to_dense()[:, 0].tolist() == [1, 0, 0, 1]
