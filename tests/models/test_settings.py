"""The blocks of a config, resolved by name as spaCy does it."""

from __future__ import annotations

from typing import Any

import pytest
from spacy.util import load_config, registry

from spacy_transfer.models.optimizer import adagrad
from spacy_transfer.nn.encoders import EncoderSettings
from spacy_transfer.nn.mmd import AUTHOR_WIDTHS
from spacy_transfer.nn.objective import ObjectiveSettings
from tests.conftest import CONFIGS

ENCODER = "spacy_transfer.HierarchicalEncoder.v1"
OBJECTIVE = "spacy_transfer.Objective.v1"


def resolve(name: str, **settings: object) -> Any:
    return registry.resolve({"block": {"@architectures": name, **settings}})["block"]


def test_defaults_are_those_of_the_classes() -> None:
    assert resolve(ENCODER) == EncoderSettings()
    assert resolve(OBJECTIVE) == ObjectiveSettings()


def test_defaults_are_those_of_the_configs() -> None:
    [joint] = [path for path in CONFIGS if path.stem == "joint"]
    config = load_config(joint)
    block = config["components"]["transfer_ner"]["model"]["encoder"]
    assert registry.resolve({"encoder": block})["encoder"] == EncoderSettings()
    optimizer = registry.resolve({"optimizer": config["training"]["optimizer"]})["optimizer"]
    assert vars(optimizer) == vars(adagrad())


def test_every_setting_arrives() -> None:
    encoder = {
        "char_encoder": "cnn",
        "char_embedding": 1,
        "char_hidden": 2,
        "char_layers": 3,
        "word_encoder": "lstm",
        "word_embedding": 4,
        "word_hidden": 5,
        "word_layers": 6,
        "word_dropout": 0.25,
        "lower": False,
        "zero_digits": False,
    }
    assert resolve(ENCODER, **encoder) == EncoderSettings(**encoder)  # type: ignore[arg-type]
    terms = {"cost": 5.0, "mmd": "marginal", "alpha": 0.1, "beta": 0.2, "gamma": 0.3}
    found = resolve(OBJECTIVE, **terms, epsilon=0.4, widths=[1.0, 2.0], mmd_tokens=50)
    expected = ObjectiveSettings(**terms, epsilon=0.4, widths=(1.0, 2.0), mmd_tokens=50)  # type: ignore[arg-type]
    assert found == expected


def test_widths_are_the_authors_by_default() -> None:
    assert resolve(OBJECTIVE, widths=None).widths == AUTHOR_WIDTHS


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        (ENCODER, {"char_encoder": "transformer"}, "char_encoder"),
        (ENCODER, {"word_encoder": "transformer"}, "word_encoder"),
        (ENCODER, {"char_hiden": 3}, "unexpected argument: 'char_hiden'"),
        (ENCODER, {"word_layers": 0}, "word_layers must be at least 1"),
        (OBJECTIVE, {"mmd": "none"}, "mmd"),
        (OBJECTIVE, {"alpha": "much"}, "alpha"),
        (OBJECTIVE, {"delta": 1.0}, "unexpected argument: 'delta'"),
        ("spacy_transfer.TransferTagger.v1", {"sharing": "T-D"}, "T-A, T-B, T-C; found 'T-D'"),
    ],
)
def test_wrong_settings_are_named(name: str, wrong: dict[str, object], message: str) -> None:
    if name.startswith("spacy_transfer.TransferTagger"):
        wrong |= {
            "encoder": {"@architectures": ENCODER},
            "objective": {"@architectures": OBJECTIVE},
        }
    with pytest.raises(ValueError, match=message):
        resolve(name, **wrong)
