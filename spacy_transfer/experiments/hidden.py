"""Hidden states of source and target tokens in two dimensions, a panel a pipeline.

What the label-aware MMD of La-DTL does (Wang et al. 2018, §4.2), for looking.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import spacy
import torch
from numpy.typing import NDArray
from spacy.tokens import Doc
from spacy.training import Example

from spacy_transfer.corpus.gold import gold_tags
from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.corpus.schemes import OUTSIDE
from spacy_transfer.evaluation.pipelines import training_corpora
from spacy_transfer.experiments.results import read_rows
from spacy_transfer.experiments.runner import kept_model
from spacy_transfer.nn.mmd import label_aware_mmd
from spacy_transfer.pipeline.base import TransferPipe
from spacy_transfer.pipeline.components import transfer_pipes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOKENS = 50
"""So many tokens are drawn of each label of each task, where there are as many."""
LABELS = 10
"""So many labels are shown, the most frequent ones: more colours cannot be told apart."""
SHUFFLES = 20
"""So often is it drawn by lot which task a token is from, to know the MMD that chance makes."""
_MARKERS = "osD^vPX*"

States = NDArray[np.float32]
Token = tuple[Doc, int]
"""A Doc and the place in it."""


@dataclass(frozen=True)
class Panel:
    """Tokens as one pipeline sees them.

    Attributes:
        name: the pipeline's.
        tokens: their words.
        tasks: the task of each.
        labels: the label of each, by one name where labels match.
        points: [tokens, 2] their hidden states, by t-SNE.
        mmd: the label-aware MMD between source and target of these tokens, summed over sources.
        chance: its mean where tokens of a label are dealt out to the tasks by lot. The estimator of
            Eq. 4 is biased: of small samples it is well above 0, even where nothing differs.
    """

    name: str
    tokens: list[str]
    tasks: list[str]
    labels: list[str]
    points: States
    mmd: float
    chance: float


def named_models(options: Iterable[str]) -> dict[str, str]:
    """Pipelines by name, of `NAME=MODEL` and of tables of results, whose runs go by their methods.

    ValueError for anything else, names that recur, and runs whose pipelines were not kept.
    """
    models: dict[str, str] = {}
    for option in options:
        name, _, model = option.partition("=")
        found = {} if not name or not model else {name: model}
        if option.endswith(".jsonl"):
            found = _kept_models(Path(option))
        if not found or found.keys() & models.keys():
            raise ValueError(
                f"--hidden {option}: expected NAME=MODEL or results.jsonl, each name once"
            )
        models |= found
    return models


def _kept_models(results: Path) -> dict[str, str]:
    models: dict[str, str] = {}
    for row in read_rows([results]):
        model = kept_model(results, row["key"])
        if not model.exists():
            raise ValueError(f"{model}: no such pipeline: run the experiment with --keep-models")
        if models.setdefault(row["method"], str(model)) != str(model):
            raise ValueError(f"{results}: expected one run a method; found more of {row['method']}")
    return models


def make_panels(models: Mapping[str, str], seed: int = 0) -> list[Panel]:
    """Draw tokens from the training corpora of pipelines and bring their states to the plane.

    Of the same corpora these are the same tokens.

    Args:
        models: folders or packages, by name.
        seed: of the sample and of t-SNE.

    Raises:
        ValueError: not one transfer component that was trained on a target and a source; corpora
            that are not there any more; no label that source and target share.
    """
    return [_panel(name, model, seed) for name, model in models.items()]


def draw_panels(panels: Sequence[Panel]) -> Figure:
    """A scatter plot a panel, two in a row, with one legend for all."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from spacy_transfer.experiments.figures import WIDTH

    labels = list(dict.fromkeys(label for panel in panels for label in panel.labels))
    found = dict.fromkeys(task for panel in panels for task in panel.tasks)
    tasks = sorted(found, key=lambda task: task == TARGET)  # its rings lie over the dots of sources
    palette = itertools.cycle(f"C{n}" for n in (*range(7), 8, 9, 7))  # C7 is grey, too
    colours = {label: "0.75" if label == OUTSIDE else next(palette) for label in labels}

    def style(task: str, colour: str) -> dict[str, Any]:
        marker = "o" if task == TARGET else _MARKERS[tasks.index(task) % len(_MARKERS)]
        fill = "none" if task == TARGET else colour
        return {"marker": marker, "linestyle": "", "mec": colour, "mfc": fill, "ms": 4, "mew": 1}

    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    legend = 0.25 * (2 + (len(labels) + 2) // 3)
    height = rows * (WIDTH / columns + 0.5) + legend
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel, place in zip(panels, axes, strict=False):
        for task in tasks:
            for label, colour in colours.items():
                shown = [
                    key == (task, label) for key in zip(panel.tasks, panel.labels, strict=True)
                ]
                place.plot(*panel.points[shown].T, **style(task, colour), label=f"{task} {label}")
        values = f"label-aware MMD {panel.mmd:.2f}\n(by chance {panel.chance:.2f})"
        place.set(title=panel.name, xlabel=values, xticks=[], yticks=[])
    for place in axes[len(panels) :]:  # of a row that is not full
        place.set_axis_off()
    of_tasks = [Line2D([], [], label=task, **style(task, "0.3")) for task in tasks]
    of_labels = [
        Line2D([], [], color=colour, marker="s", linestyle="", label=label)
        for label, colour in colours.items()
    ]
    figure.legend(
        handles=[*of_tasks, *of_labels], loc="outside lower center", ncols=3, frameon=False
    )
    return figure


def describe(panels: Sequence[Panel]) -> str:
    """What is seen, for the reader of the figure."""
    count = max(len(panel.tokens) for panel in panels)
    return (
        f"Hidden states of {count:,} tokens of the training sentences in two dimensions, by t-SNE: "
        f"of the labels that source and target share the {LABELS} most frequent in the target, or "
        f"all, with up to {TOKENS} tokens of each on either side. Filled marks are tokens of a "
        f"source, rings those of the target: the better they mix within a colour, the more alike "
        f"are the states of that label. Below each panel is the label-aware MMD of these tokens "
        f"(Wang et al. 2018, Eq. 5), and what it would be by chance, were there no difference."
    )


def _panel(name: str, model: str, seed: int) -> Panel:
    nlp = spacy.load(model)
    pipes, corpora = transfer_pipes(nlp), training_corpora(model, nlp)
    tasks = [task for pipe in pipes for task in pipe.tasks if task in corpora]
    if len(pipes) != 1 or TARGET not in tasks or len(tasks) == 1:
        raise ValueError(
            f"{model}: expected one transfer component that was trained on a target and a source; "
            f"found {len(pipes)}, trained on {', '.join(tasks)}"
        )
    pipe, names = pipes[0], _common_names(pipes[0])
    drawn: dict[str, dict[str, list[Token]]] = {}
    seen: dict[str, Counter[str]] = {}
    for task in tasks:
        corpus, rng = corpora[task], random.Random(f"{seed}/{task}")
        drawn[task], seen[task] = _draw_tokens(corpus(nlp), corpus.layer, names[task], rng)
    of_sources = {label for task in tasks if task != TARGET for label in drawn[task]}
    labels = [label for label, _ in seen[TARGET].most_common() if label in of_sources][:LABELS]
    if {*labels} <= {OUTSIDE}:
        raise ValueError(f"{model}: no label of the target matches one of a source")

    chosen = [
        (task, label, token)
        for task in tasks
        for label in labels
        for token in drawn[task].get(label, ())
    ]
    states: list[States] = []
    for task in tasks:
        tokens = [token for of_task, _, token in chosen if of_task == task]
        # Components before this one may have what it reads.
        docs = list({id(doc): doc for doc, _ in tokens}.values())
        with nlp.select_pipes(disable=[pipe.name]):
            docs = list(nlp.pipe(docs))
        of_docs = dict(zip(map(id, docs), pipe.hidden(docs, task), strict=True))
        states += [of_docs[id(doc)][i] for doc, i in tokens]
    hidden = np.stack(states)
    of_tasks, of_labels = [task for task, _, _ in chosen], [label for _, label, _ in chosen]
    return Panel(
        name,
        [doc[i].text for _, _, (doc, i) in chosen],
        of_tasks,
        of_labels,
        _plane(hidden, seed),
        _mmd(hidden, of_tasks, of_labels),
        _chance(hidden, of_tasks, of_labels, seed),
    )


def _common_names(pipe: TransferPipe) -> dict[str, dict[str, str]]:
    """For each task the labels that match, by a name that all that match have in common."""
    names: dict[str, dict[str, str]] = {task: {OUTSIDE: OUTSIDE} for task in pipe.tasks}
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for source in pipe.tasks[1:]:
        for of_target, of_source in pipe.matched_labels(source):
            one, other = (
                groups.setdefault(label, [label])
                for label in ((TARGET, of_target), (source, of_source))
            )
            if one is not other:
                one += other
                groups.update(dict.fromkeys(other, one))
    for (task, label), alike in groups.items():
        targets_first = sorted(alike, key=lambda of: (of[0] != TARGET, of))
        names[task][label] = " / ".join(dict.fromkeys(name for _, name in targets_first))
    return names


def _draw_tokens(
    examples: Iterable[Example], layer: str, names: Mapping[str, str], rng: random.Random
) -> tuple[dict[str, list[Token]], Counter[str]]:
    """Up to TOKENS tokens of each label that has a name, and how many there are.

    A corpus is read once and never kept: each of its tokens has the same chance (Vitter 1985,
    Algorithm R).
    """
    drawn: dict[str, list[Token]] = {}
    seen: Counter[str] = Counter()
    for example in examples:
        for i, tag in enumerate(gold_tags(example, layer, "BIO") or ()):
            label = tag if layer == "tag" else tag.partition("-")[2] or OUTSIDE
            if not tag or label not in names:  # a tag that is not known is none of these
                continue
            name = names[label]
            seen[name] += 1
            tokens = drawn.setdefault(name, [])
            if len(tokens) < TOKENS:
                tokens.append((example.predicted, i))
            elif (place := rng.randrange(seen[name])) < TOKENS:
                tokens[place] = example.predicted, i
    return drawn, seen


def _plane(hidden: States, seed: int) -> States:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(30.0, (len(hidden) - 1) / 3)  # it must be below the number of tokens
    tsne = TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed)
    # The same picture on any number of cores. And so few points gain little from threads, which
    # wait for each other time and again where other programs have the cores.
    with threadpool_limits(1):
        points: States = tsne.fit_transform(hidden)
    return points


def _mmd(hidden: States, tasks: Sequence[str], labels: Sequence[str]) -> float:
    ids = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    tags = torch.tensor([ids[label] for label in labels])
    states, of_task = torch.from_numpy(hidden), np.array(tasks)
    target = torch.from_numpy(of_task == TARGET)
    total = 0.0
    for task in sorted({*tasks} - {TARGET}):
        source = torch.from_numpy(of_task == task)
        total += label_aware_mmd(
            *(states[source], tags[source], states[target], tags[target]),
            [(number, number) for number in ids.values()],
        ).item()
    return total


def _chance(hidden: States, tasks: Sequence[str], labels: Sequence[str], seed: int) -> float:
    rng = np.random.default_rng(seed)
    dealt, of_label = np.array(tasks), np.array(labels)
    values = []
    for _ in range(SHUFFLES):
        for label in dict.fromkeys(labels):
            dealt[of_label == label] = rng.permutation(dealt[of_label == label])
        values.append(_mmd(hidden, dealt.tolist(), labels))
    return fmean(values)
