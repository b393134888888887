"""A model card: what a pipeline was trained on, how, how well it tags, and what is not known.

In words it is the `description` and the `notes` of the pipeline's meta data, of which `spacy
package` makes a README where there is none; `meta["spacy_transfer"]` has the same facts for
programs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.util import dot_to_object, registry

from spacy_transfer.corpus.marks import TARGET, task_of
from spacy_transfer.evaluation.comparison import Estimate, estimate
from spacy_transfer.evaluation.counts import count_correct, predicted
from spacy_transfer.evaluation.table import markdown_table
from spacy_transfer.models.tagger import shim_of
from spacy_transfer.pipeline.base import TransferPipe
from spacy_transfer.pipeline.components import CHOSEN, source_scores, transfer_pipes
from spacy_transfer.pipeline.scoring import main_score
from spacy_transfer.pipeline.source_pipeline import LAYERS

FEW = 50
"""A label with fewer annotations in the target's training corpus is named among the limits."""

RESAMPLES = 2_000
"""Of the bootstrap: fewer than in a comparison, as a card is made at each saving."""

Config = Mapping[str, Any]


def model_card(about: str = "") -> Callable[[Language], Language]:
    """`spacy_transfer.ModelCard.v1`, for `[training.before_to_disk]`.

    It tags the dev corpus once more at each saving, for the intervals of the scores. The card of a
    component goes with it: where it is sourced by another pipeline and frozen there, that one says
    what it was trained on, not what the others were.

    Args:
        about: what readers should know of the corpora: where they are from, for what they are not.
    """

    def before_to_disk(nlp: Language) -> Language:
        config = nlp.config.interpolate()
        frozen = config["training"]["frozen_components"]
        for pipe in transfer_pipes(nlp):
            if pipe.name not in frozen:
                pipe.cfg["card"] = _facts(nlp, pipe, config)
        cards = {
            pipe.name: pipe.cfg.get("card", {}) | {"trained_here": pipe.name not in frozen}
            for pipe in transfer_pipes(nlp)
        }
        if cards:
            nlp.meta["spacy_transfer"] = {"about": about, "components": cards}
            _write(nlp)
        return nlp

    return before_to_disk


def renew_card(nlp: Language) -> None:
    """Have the card of a pipeline, if it has one, say how its components are calibrated now; all
    else stays what it was."""
    cards = nlp.meta.get("spacy_transfer", {}).get("components", {})
    for pipe in transfer_pipes(nlp):
        if cards.get(pipe.name, {}).get("method"):
            cards[pipe.name]["temperature"] = pipe.temperature
            if "card" in pipe.cfg:
                pipe.cfg["card"]["temperature"] = pipe.temperature
    if cards:
        _write(nlp)


def _write(nlp: Language) -> None:
    """The facts in words, as the pipeline's description and notes."""
    about, cards = (nlp.meta["spacy_transfer"][name] for name in ("about", "components"))
    names = [card["method"]["name"] for card in cards.values() if card.get("method")]
    methods = f"{'; '.join(dict.fromkeys(names))}." if names else ""
    nlp.meta["description"] = f"{about}\n\n{methods}".strip()
    texts = {name: _in_words(card) for name, card in cards.items()}
    if len(texts) > 1:
        texts = {name: f"## {name}\n\n{text}" for name, text in texts.items()}
    nlp.meta["notes"] = "\n\n".join(texts.values())


def _facts(nlp: Language, pipe: TransferPipe, config: Config) -> dict[str, Any]:
    layer = pipe.layer_of(TARGET)
    performance = nlp.meta.get("performance", {})
    score, sentences = _dev_score(nlp, layer, config)
    per_type = performance.get(main_score(layer).rpartition("_")[0] + "_per_type") or {}
    return {
        "layer": layer,
        "method": _method(pipe, config),
        "encoder": _encoder(nlp, pipe, config),
        "corpora": _corpora(pipe, config),
        "matched_labels": {task: pipe.matched_labels(task) for task in pipe.tasks[1:]},
        "dev": {
            "sentences": sentences,
            "chosen": nlp.meta.get(CHOSEN),
            "score": main_score(layer),
            **dict(zip(("value", "low", "high"), score, strict=True)),
            "others": {
                name: 100 * performance[name]
                for name, weight in config["training"]["score_weights"].items()
                if weight is not None and name != main_score(layer) and name in performance
            },
            "per_type": {label: 100 * scores["f"] for label, scores in per_type.items()},
            "sources": {k: 100 * v for k, v in source_scores(nlp, performance).items()},
        },
        "temperature": pipe.temperature,
        "seed": config["training"]["seed"],
        "versions": {name: version(name) for name in ("spacy-transfer", "spacy", "torch")},
    }


def _encoder(nlp: Language, pipe: TransferPipe, config: Config) -> dict[str, Any]:
    """Kinds and sizes of both levels, and where the vectors of words come from."""
    blueprint = shim_of(pipe.model).blueprint
    assert blueprint is not None
    levels = {name: value for name, value in asdict(blueprint.encoder).items() if name in _SIZES}
    if blueprint.encoder.from_outside:
        return {**levels, "tok2vec": _tok2vec(nlp, pipe, config)}
    vectors = nlp.vocab.vectors
    return {
        **levels,
        "word_embedding": blueprint.words[TARGET].width,
        "vectors": {"name": vectors.name, "rows": vectors.shape[0]} if vectors.shape[0] else None,
    }


_SIZES = {
    f"{level}_{size}"
    for level in ("char", "word")
    for size in ("encoder", "embedding", "hidden", "layers")
}


def _tok2vec(nlp: Language, pipe: TransferPipe, config: Config) -> str:
    """What gives the vectors of words: the name of a pretrained model where it is known."""
    block = config["components"][pipe.name]["model"]["tok2vec"]
    if "Listener" in block["@architectures"]:
        upstream = block.get("upstream", "*")
        for name in nlp.pipe_names[: nlp.pipe_names.index(pipe.name)]:
            heard = nlp.get_pipe_meta(name).factory.endswith(("tok2vec", "transformer"))
            if heard and upstream in ("*", name):
                block = config["components"][name]["model"]
    return str(block.get("name") or block.get("@architectures", "a tok2vec"))


def _dev_score(nlp: Language, layer: str, config: Config) -> tuple[Estimate, int]:
    block = dot_to_object(config, config["training"]["dev_corpus"])
    examples = registry.resolve({"corpus": block})["corpus"](nlp)
    of_target = [example for example in examples if task_of(example.reference) == TARGET]
    counts = count_correct(predicted(nlp, of_target), layer)
    return estimate(counts, draws=RESAMPLES), len(of_target)


def _corpora(pipe: TransferPipe, config: Config) -> dict[str, dict[str, Any]]:
    train = dot_to_object(config, config["training"]["train_corpus"])
    readers = {TARGET: train.get(TARGET) or {}, **(train.get("sources") or {})}
    corpora = {}
    for task in pipe.tasks:
        path = readers.get(task, {}).get("path")
        corpora[task] = {
            "file": path and Path(path).name,
            "layer": pipe.layer_of(task),
            "rate": readers.get(task, {}).get("rate", 1.0),
            **pipe.cfg.get("corpora", {}).get(task, {}),
        }
    return corpora


def _method(pipe: TransferPipe, config: Config) -> dict[str, Any]:
    model = config["components"][pipe.name]["model"]
    objective = model["objective"]
    batcher = config["training"]["batcher"]
    initialize = config["initialize"]["components"].get(pipe.name, {})
    saved = initialize.get("source_pipeline")
    train = dot_to_object(config, config["training"]["train_corpus"])
    schedule = batcher["@batchers"].split(".")[1]
    blueprint = shim_of(pipe.model).blueprint
    assert blueprint is not None
    return {
        "name": _name_of(pipe, model, train, schedule, from_saved=bool(saved)),
        "sharing": model["sharing"] if pipe.tasks[1:] else None,
        "projection": model.get("projection", "none"),
        "objective": {name: v for name, v in objective.items() if not name.startswith("@")},
        "tied": any(blueprint.matched.values()),
        "schedule": schedule,
        "batches": {name: v for name, v in batcher.items() if not name.startswith("@")},
        "carried_over": (initialize.get("carry_over") or LAYERS) if saved else None,
        "similarity": (train.get("similarity") or {}).get("@misc"),
    }


def _name_of(
    pipe: TransferPipe, model: Config, train: Config, schedule: str, *, from_saved: bool
) -> str:
    objective, sharing = model["objective"], model["sharing"]
    if not pipe.tasks[1:]:
        return "Trained on the target alone, without transfer"
    if from_saved:
        if objective["beta"]:
            return "Started from a pipeline of the source and tied to it (CRF-L2, Wang et al. 2018)"
        return "Re-training of a pipeline of the source (Lee et al. 2017)"
    if schedule == "SourceOnly":
        return "Trained on the source alone and mapped to the target (Yang et al. 2017)"
    if train.get("similarity"):
        return "CD-learning (He & Sun 2017)"
    if model.get("projection", "none") != "none":
        return f"{model['projection'].capitalize()} projection (Peng & Dredze 2017)"
    terms = (objective["mmd"] if objective["alpha"] else None, bool(objective["beta"]))
    if schedule == "Joint" and terms in _PARTS:
        return f"{_PARTS[terms]} (Wang et al. 2018)"
    plan = sharing if isinstance(sharing, str) else ", ".join(sharing.values())
    return f"Joint training on target and source, {plan} (Yang et al. 2017)"


_PARTS = {
    ("label-aware", True): "La-DTL",
    ("label-aware", False): "La-MMD, an ablation of La-DTL",
    (None, True): "CRF-L2, an ablation of La-DTL",
    ("marginal", True): "MMD-CRF-L2, an ablation of La-DTL",
}
"""Names by the MMD, if there is one, and whether CRFs are tied."""
_SHARING = {
    "T-A": "the whole network and its CRF, with a map between the labels",
    "T-B": "all but the CRF",
    "T-C": "the character level",
}
_SCHEDULES = {
    "TargetOnly": "each batch is of the target",
    "SourceOnly": "each batch is of a source",
    "Alternate": "each batch is of one task, which is drawn (Yang et al. 2017, §3.3)",
    "Joint": "source and target sentences are in each batch (Wang et al. 2018, §4.5)",
}


def _in_words(card: dict[str, Any]) -> str:
    here = card.get("trained_here", True)
    if not card.get("method"):
        return "It was not trained in this run, and has no model card of its own."
    head = "" if here else f"{_FROM_ELSEWHERE}\n\n"
    sections = [
        ("Training", [_training(card), _table_of_corpora(card)]),
        ("Scores", [_scores(card), _table_of_labels(card)]),
        ("Limits", ["\n".join(f"- {limit}" for limit in _limits(card))]),
    ]
    text = "\n\n".join("\n\n".join([f"### {title}", *parts]) for title, parts in sections)
    return head + text


_FROM_ELSEWHERE = (
    "It came from another pipeline and stayed as it was: what follows, its scores too, is of the "
    "run that trained it."
)


def _training(card: dict[str, Any]) -> str:
    method, objective = card["method"], card["method"]["objective"]
    lines = [f"Method: {method['name']}."]
    if method["sharing"]:
        plans = method["sharing"]
        plans = {"target and source": plans} if isinstance(plans, str) else plans
        lines += [f"Shared by {who}: {_SHARING[plan]} ({plan})." for who, plan in plans.items()]
    if method["carried_over"] is not None:
        kept = ", ".join(method["carried_over"]) or "nothing but the CRF of the source"
        lines.append(f"Started from a pipeline that had learned the source, from its {kept}.")
    if "encoder" in card:
        lines.append(f"Encoder: {_encoder_in_words(card['encoder'])}.")
    cost, valid = objective["cost"], objective.get("constrained")
    terms = [f"softmax-margin CRF loss, cost {cost:g}" if cost else "CRF likelihood"]
    terms += ["of valid tag sequences alone"] if valid else []
    if method["sharing"]:
        # Without matched labels, O of both tasks is tied still.
        tied = method.get("tied", any(card["matched_labels"].values()))
        together = method["schedule"] not in _ONE_TASK_A_BATCH
        terms += [
            f"{term}, {symbol} = {objective[name]:g}"
            for name, symbol, term, there in (
                (
                    *("alpha", "α", f"{objective['mmd']} MMD of hidden states"),
                    together and (tied or objective["mmd"] == "marginal"),
                ),
                ("beta", "β", "CRF-L2 of matched labels", tied and _own_heads(method)),
                ("epsilon", "ε", "share of the source in the CRF losses", together),
            )
            if there and objective.get(name)
        ]
    terms += [f"L2, γ = {objective['gamma']:g}"] if objective.get("gamma") else []
    lines.append(f"Objective: {'; '.join(terms)}.")
    schedule = method["schedule"]
    lines.append(f"Schedule: {_SCHEDULES.get(schedule, schedule)}. Seed {card['seed']}.")
    lines.append(", ".join(f"{name} {number}" for name, number in card["versions"].items()) + ".")
    return "\n".join(f"- {line}" for line in lines)


_ONE_TASK_A_BATCH = {"TargetOnly", "SourceOnly", "Alternate"}


def _own_heads(method: dict[str, Any]) -> bool:
    plans = method["sharing"]
    return any(plan != "T-A" for plan in ([plans] if isinstance(plans, str) else plans.values()))


_KINDS = {"gru": "GRU", "gru-reset-before": "GRU (reset before)", "lstm": "LSTM", "cnn": "CNN"}


def _encoder_in_words(encoder: dict[str, Any]) -> str:
    levels = []
    for level, name in ("char", "characters"), ("word", "words"):
        kind = encoder[f"{level}_encoder"]
        if kind == "none":
            continue
        layers, hidden = encoder[f"{level}_layers"], encoder[f"{level}_hidden"]
        each = "filters" if kind == "cnn" else "units in each direction"
        number = f"{layers} layer{'s' if layers > 1 else ''}"
        of = f", embeddings of {encoder['char_embedding']}" if level == "char" else ""
        levels.append(f"{_KINDS[kind]} over {name} ({number} of {hidden} {each}{of})")
    if "tok2vec" in encoder:
        words = f"vectors of words from {encoder['tok2vec']}"
    elif vectors := encoder["vectors"]:
        named = vectors["name"] or "without a name"
        words = f"words from {vectors['rows']:,} vectors ({named}) of {encoder['word_embedding']}"
    else:
        words = f"word embeddings of {encoder['word_embedding']}, learned here"
    return "; ".join([*levels, words])


def _table_of_corpora(card: dict[str, Any]) -> str:
    rows = [["Task", "File", "Layer", "Rate", "Sentences", "Tokens", "Annotations"]]
    for task, corpus in card["corpora"].items():
        counts = [corpus.get("sentences"), corpus.get("tokens"), sum(corpus["labels"].values())]
        rows.append(
            [
                task,
                corpus["file"] or "a saved pipeline",
                corpus["layer"],
                f"{100 * corpus['rate']:g} %",
            ]
            + [f"{count:,}" if count else "" for count in counts]
        )
    return markdown_table(rows)


def _scores(card: dict[str, Any]) -> str:
    dev = card["dev"]
    lines = [
        f"{dev['score']} on the {dev['sentences']:,} sentences of the dev corpus: "
        f"**{dev['value']:.2f}**, 95 % interval {dev['low']:.2f} to {dev['high']:.2f} (bootstrap "
        "over sentences; it says nothing of how other seeds would do)." + _choice(dev)
    ]
    lines += (
        [", ".join(f"{k} {v:.2f}" for k, v in dev["others"].items()) + "."] if dev["others"] else []
    )
    if dev["sources"]:
        of_sources = ", ".join(f"{name} {score:.2f}" for name, score in dev["sources"].items())
        lines.append(f"What the sources come to on dev corpora of their own: {of_sources}.")
    return "\n\n".join(lines)


def _choice(dev: dict[str, Any]) -> str:
    expect = "on other text of the same kind, expect a little less."
    if dev.get("chosen"):
        return f" The dev corpus chose this model among those of its run: {expect}"
    if dev.get("chosen") is None:  # spaCy's own loop does not say which one it saves
        return f" If this is its run's model-best, the dev corpus chose it: {expect}"
    return " It is the last of its run, not the one that the dev corpus chose."


def _table_of_labels(card: dict[str, Any]) -> str:
    sources = [task for task in card["corpora"] if task != TARGET]
    rows = [["Label", "In the target's training corpus", *(f"In {task}" for task in sources)]]
    rows[0].append(f"{card['dev']['score']} on dev")
    for label, count in _target_labels(card).items():
        cells = []
        for task in sources:
            in_source = card["corpora"][task]["labels"]
            matched = [of for ours, of in card["matched_labels"][task] if ours == label]
            cells.append(", ".join(f"{of} {in_source.get(of, 0):,}" for of in matched))
        score = card["dev"]["per_type"].get(label)
        rows.append([label, f"{count:,}", *cells, "" if score is None else f"{score:.2f}"])
    return markdown_table(rows)


def _limits(card: dict[str, Any]) -> Iterator[str]:
    counts = _target_labels(card)
    few = [label for label, count in counts.items() if count < FEW]
    if few:
        yield f"Labels with fewer than {FEW} annotations in the target's corpus: {', '.join(few)}."
    for task, pairs in card["matched_labels"].items():
        matched = {label for label, _ in pairs}
        alone = [label for label in counts if label not in matched]
        if alone:
            yield f"Labels that {task} has no counterpart of: {', '.join(alone)}."
    yield "It was evaluated on text of the target's kind alone: on other text it is untested."
    yield "Spans are flat: no token is in two of them."
    if card["temperature"] == 1.0:
        yield "Confidences are not calibrated: few labels make a tagger too sure of itself."
    else:
        divisor = f"temperature {card['temperature']:.3f}"
        yield f"Confidences are calibrated ({divisor}), for text like that of the dev corpus alone."
    yield "It holds the words of its training corpora, of rare ones and names too."


def _target_labels(card: dict[str, Any]) -> dict[str, int]:
    labels: dict[str, int] = card["corpora"][TARGET]["labels"]
    return labels
