"""What a run prints: a bar while it goes, a line with every loss term at each evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any

from spacy.language import Language
from tqdm import tqdm

History = list[tuple[float, int]]
Log = tuple[Callable[[dict[str, Any] | None], None], Callable[[], None]]


def console_logger() -> Callable[[Language, IO[str], IO[str]], Log]:
    """`spacy_transfer.ConsoleLogger.v1`.

    Prints epoch, step, words a second, the scores that `[training.score_weights]` names, and the
    mean a step of the loss and of each of its terms. The bar shows the best score so far.
    """

    def setup(nlp: Language, stdout: IO[str], stderr: IO[str]) -> Log:
        settings = nlp.config["training"]
        columns = [name for name, weight in settings["score_weights"].items() if weight is not None]
        total = settings["max_steps"] or None
        bar = tqdm(total=total, disable=None, leave=False, file=stderr, unit="step")
        # A resumed run begins with a history, and its first line with the mean speed of all parts.
        last = {"words": 0, "seconds": 0.0}

        def log_step(info: dict[str, Any] | None) -> None:
            if info is None:
                bar.update(1)
                return
            bar.update(info["step"] - bar.n)
            best = max(score for score, _ in info["checkpoints"])
            steps = max(1, steps_since(info["checkpoints"]))
            seconds = info["seconds"] - last["seconds"]
            # spaCy's loop counts whole seconds.
            speed = (info["words"] - last["words"]) / seconds if seconds > 0 else 0.0
            last.update(words=info["words"], seconds=info["seconds"])
            scores = [
                f"{name} {100 * (info['other_scores'].get(name) or 0):.2f}" for name in columns
            ]
            losses = [f"{name} {value / steps:.4f}" for name, value in info["losses"].items()]
            line = [f"epoch {info['epoch']}", f"step {info['step']}", f"{speed:.0f} words/s"]
            bar.set_postfix_str(f"best {100 * best:.2f}")
            with bar.external_write_mode(file=stdout):
                print("  ".join([*line, *scores, *losses]), file=stdout, flush=True)

        return log_step, bar.close

    return setup


def steps_since(history: History) -> int:
    """Steps between the last two evaluations, of which history has score and step."""
    before, now = [0, *(step for _, step in history)][-2:]
    return now - before
