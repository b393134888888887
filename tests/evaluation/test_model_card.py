"""What a saved pipeline says of itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import spacy
from spacy.cli.package import generate_readme
from spacy.training import Corpus

from spacy_transfer.corpus.saving import save_pipeline
from spacy_transfer.evaluation.model_card import model_card
from tests.cli.running import exit_code
from tests.conftest import CONFIGS, Train, blank

[LADTL] = [path for path in CONFIGS if path.stem == "ladtl"]
[RETRAINING] = [path for path in CONFIGS if path.stem == "retraining"]
LEARN: dict[str, object] = {
    "training.optimizer.learn_rate": 0.1,
    "training.max_steps": 20,
    "training.eval_frequency": 20,
}


def test_the_facts_are_those_of_the_run(
    train: Train, corpus_files: Callable[..., Path], tmp_path: Path
) -> None:
    source_dev = corpus_files("source", 10, seed=1)
    about = "Made up."
    settings = {
        "paths.source_dev": source_dev,
        "corpora.train.sources.source.rate": 0.5,
        "training.before_to_disk.about": about,
    }
    run = train({**LEARN, **settings}, config=LADTL)
    assert run.status == 0, run.err
    meta = json.loads((run.output / "model-last" / "meta.json").read_text())
    [line] = [json.loads(line) for line in (run.output / "log.jsonl").read_text().splitlines()]
    card = meta["spacy_transfer"]["components"]["transfer_ner"]

    target = list(Corpus(tmp_path / "target-0.spacy")(blank()))
    corpora = card["corpora"]
    assert (corpora["target"]["file"], corpora["target"]["sentences"]) == ("target-0.spacy", 20)
    assert corpora["target"]["tokens"] == sum(len(eg.reference) for eg in target)
    labels = [ent.label_ for eg in target for ent in eg.reference.ents]
    assert corpora["target"]["labels"] == {name: labels.count(name) for name in sorted(labels)}
    assert (corpora["source"]["rate"], corpora["source"]["sentences"]) == (0.5, 10)
    assert card["matched_labels"] == {"source": [["person", "PER"], ["place", "LOC"]]}

    method = card["method"]
    assert (method["name"], method["sharing"]) == ("La-DTL (Wang et al. 2018)", "T-B")
    assert (method["schedule"], method["objective"]["alpha"]) == ("Joint", 0.02)
    dev = card["dev"]
    assert dev["value"] == pytest.approx(100 * line["score"])
    assert dev["low"] <= dev["value"] <= dev["high"] <= 100
    assert dev["low"] < 100 * line["score"] or line["score"] == 1
    assert dev["sentences"] == 10
    assert dev["others"].keys() == {"ents_p", "ents_r"}
    of_source = 100 * line["scores"]["source_ents_f"]
    assert dev["sources"] == {"source_ents_f": pytest.approx(of_source)}
    assert meta["performance"]["source_ents_f"] == pytest.approx(of_source / 100)

    readme = (run.output / "model-last" / "README.md").read_text(encoding="utf-8")
    assert readme == f"{meta['description']}\n\n{meta['notes']}\n"
    assert meta["notes"] in generate_readme(meta)
    assert readme.startswith("Made up.\n\nLa-DTL (Wang et al. 2018).")
    for text in (
        f"**{dev['value']:.2f}**, 95 % interval {dev['low']:.2f} to {dev['high']:.2f}",
        f"dev corpora of their own: source_ents_f {of_source:.2f}.",
        "all but the CRF (T-B)",
        "The dev corpus chose this model among those of its run",
        "Encoder: GRU over characters (1 layer of 4 units in each direction, embeddings of 4); GRU "
        "over words (1 layer of 12 units in each direction); word embeddings of 8, learned here.",
        "label-aware MMD of hidden states, α = 0.02",
        "fewer than 50 annotations in the target's corpus: person, place.",
    ):
        assert text in readme
    assert re.search(r"\| source +\| source-0.spacy +\| ents +\| 50 % +\| 10 ", readme)
    assert re.search(r"\| person +\| \d+ +\| PER \d+ +\| \d", readme)

    # It goes with the pipeline, wherever that is saved.
    nlp = spacy.load(run.output / "model-last")
    save_pipeline(nlp, tmp_path / "copy")
    assert (tmp_path / "copy" / "README.md").read_text(encoding="utf-8") == readme


def test_the_source_of_a_saved_pipeline(train: Train) -> None:
    run = train(config=RETRAINING)
    assert run.status == 0, run.err
    meta = json.loads((run.output / "model-last" / "meta.json").read_text())
    card = meta["spacy_transfer"]["components"]["transfer_ner"]
    assert card["method"]["name"] == "Re-training of a pipeline of the source (Lee et al. 2017)"
    assert (card["corpora"]["source"]["file"], card["corpora"]["source"]["sentences"]) == (None, 20)
    assert "| a saved pipeline | ents " in meta["notes"]
    assert "from its characters, embeddings, words, crf." in meta["notes"]


def test_the_last_model_is_not_the_chosen_one(train: Train) -> None:
    # Nothing is learned, so the first of two equal scores is the best.
    still = {"training.optimizer.learn_rate": 0.0}
    run = train(still, config=LADTL)
    assert run.status == 0, run.err
    best, last = (
        (run.output / name / "README.md").read_text(encoding="utf-8")
        for name in ("model-best", "model-last")
    )
    assert "The dev corpus chose this model" in best
    assert "The dev corpus chose this model" not in last
    assert "It is the last of its run, not the one that the dev corpus chose." in last


def test_calibration_is_on_the_card(
    train: Train, corpus_files: Callable[..., Path], tmp_path: Path
) -> None:
    run = train({**LEARN, "training.before_to_disk.about": "Made up."}, config=LADTL)
    assert run.status == 0, run.err
    before, after = run.output / "model-best", tmp_path / "calibrated"
    dev = corpus_files("target", 20, seed=2)
    assert exit_code("calibrate", before, dev, "--output", after) == 0
    texts = [(path / "README.md").read_text(encoding="utf-8") for path in (before, after)]
    metas = [json.loads((path / "meta.json").read_text()) for path in (before, after)]
    cards = [meta["spacy_transfer"]["components"]["transfer_ner"] for meta in metas]
    temperature = spacy.load(after).get_pipe("transfer_ner").temperature
    assert [card.pop("temperature") for card in cards] == [1.0, temperature]
    assert cards[0] == cards[1]
    assert "Confidences are not calibrated" in texts[0]
    assert "Confidences are not calibrated" not in texts[1]
    changed = set(texts[1].splitlines()) - set(texts[0].splitlines())
    [line] = changed
    assert f"Confidences are calibrated (temperature {temperature:.3f})" in line
    assert texts[1] == f"{metas[1]['description']}\n\n{metas[1]['notes']}\n"


def test_a_sourced_component_keeps_its_own_card(train: Train, tmp_path: Path) -> None:
    first = train(LEARN, config=LADTL, output=tmp_path / "first")
    assert first.status == 0, first.err
    own = json.loads((first.output / "model-best" / "meta.json").read_text())
    own_card = own["spacy_transfer"]["components"]["transfer_ner"]
    [plain] = [path for path in CONFIGS if path.stem == "target_only"]
    text = plain.read_text(encoding="utf-8")
    text = text.replace('["transfer_ner"]', '["old", "transfer_ner"]')
    text = text.replace(
        "[components]\n",
        f'[components]\n\n[components.old]\nsource = "{(first.output / "model-best").as_posix()}"\n'
        'component = "transfer_ner"\n',
    )
    text = text.replace("[training]\n", '[training]\nfrozen_components = ["old"]\n')
    config = tmp_path / "two.cfg"
    config.write_text(text, encoding="utf-8")
    run = train({}, config=config)
    assert run.status == 0, run.err
    meta = json.loads((run.output / "model-best" / "meta.json").read_text())
    cards = meta["spacy_transfer"]["components"]
    assert cards["old"] == {**own_card, "trained_here": False}
    assert cards["transfer_ner"]["method"]["schedule"] == "TargetOnly"
    readme = (run.output / "model-best" / "README.md").read_text(encoding="utf-8")
    _, of_old, of_new = re.split("^## .*$", readme, flags=re.MULTILINE)
    assert re.findall("^## (.*)$", readme, re.MULTILINE) == ["old", "transfer_ner"]
    assert "It came from another pipeline and stayed as it was" in of_old
    assert "La-DTL (Wang et al. 2018)" in of_old
    assert "It came from another pipeline" not in of_new


def test_the_method_keeps_its_names(train: Train) -> None:
    [linear] = [path for path in CONFIGS if path.stem == "linear_projection"]
    run = train({}, config=linear)
    assert run.status == 0, run.err
    readme = (run.output / "model-last" / "README.md").read_text(encoding="utf-8")
    assert "Linear projection (Peng & Dredze 2017)" in readme


@pytest.mark.parametrize(
    ("settings", "name", "terms"),
    [
        ({"beta": 0.0}, "La-MMD, an ablation of La-DTL", ["label-aware MMD"]),
        ({"alpha": 0.0}, "CRF-L2, an ablation of La-DTL", ["CRF-L2 of matched"]),
        ({"mmd": "marginal"}, "MMD-CRF-L2, an ablation of La-DTL", ["marginal MMD", "CRF-L2"]),
        ({"alpha": 0.0, "beta": 0.0}, "Joint training on target and source, T-B (Yang", []),
    ],
)
def test_parts_of_la_dtl_by_their_names(
    train: Train, settings: dict[str, object], name: str, terms: list[str]
) -> None:
    """No label matches here: what is outside is tied, and the card says by which terms."""
    objective = {f"components.transfer_ner.model.objective.{k}": v for k, v in settings.items()}
    run = train({**objective, "paths.label_map": None}, config=LADTL)
    assert run.status == 0, run.err
    readme = (run.output / "model-last" / "README.md").read_text(encoding="utf-8")
    assert readme.startswith(name)
    [line] = [line for line in readme.splitlines() if line.startswith("- Objective: ")]
    for term in ("MMD", "CRF-L2"):
        assert (term in line) == any(term in expected for expected in terms)
    assert all(term in line for term in terms)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_config_has_a_card(config: Path) -> None:
    text = config.read_text(encoding="utf-8")
    assert text.endswith(
        '\n[training.before_to_disk]\n@callbacks = "spacy_transfer.ModelCard.v1"\n'
    )


def test_other_pipelines_stay_as_they_are(tmp_path: Path) -> None:
    nlp = model_card("Nothing of ours.")(blank())
    assert nlp.meta["description"] == ""
    save_pipeline(nlp, tmp_path / "other")
    assert not (tmp_path / "other" / "README.md").exists()
