"""What a run prints: spaCy's table with every loss term, a bar while it goes, and its log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from spacy.language import Language
from spacy.training.loggers import setup_table
from tqdm import tqdm

from spacy_transfer.nn.parallel import rank
from spacy_transfer.pipeline.components import source_scores

Log = tuple[Callable[[dict[str, Any] | None], None], Callable[[], None]]


@contextmanager
def shown_log() -> Iterator[None]:
    """Print the package's log to stderr while the body runs; of several processes, the first's."""
    if rank() > 0:
        yield
        return
    logger, handler = logging.getLogger("spacy_transfer"), logging.StreamHandler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def console_logger() -> Callable[[Language, IO[str], IO[str]], Log]:
    """`spacy_transfer.ConsoleLogger.v1`: the table of spaCy's ConsoleLogger, with more columns.

    The losses are means a step, of all terms together and of each. After the scores that
    `[training.score_weights]` names come those of sources where there are any, and after the score
    that counts the words a second. The bar shows the best score so far.
    """

    def setup(nlp: Language, stdout: IO[str], stderr: IO[str]) -> Log:
        settings = nlp.config["training"]
        scores = [name for name, weight in settings["score_weights"].items() if weight is not None]
        bar = tqdm(
            total=settings["max_steps"] or None, disable=None, leave=False, file=stderr, unit="step"
        )
        terms: dict[str, None] = {}  # not all need be in the first batches
        widths: list[int] = []
        # Of a resumed run, the first row has the mean speed of all parts.
        steps, words, seconds = 0, 0, 0.0

        def log_step(info: dict[str, Any] | None) -> None:
            nonlocal widths, steps, words, seconds
            steps += 1  # not from info["step"]: it begins at 0 or 1, or where a run was resumed
            if info is None:
                bar.update(1)
                return
            bar.update(info["step"] - bar.n)
            losses = _by_term(info["losses"], nlp.pipe_names)
            found = {name: info["other_scores"].get(name) for name in scores}
            found |= source_scores(nlp, info["other_scores"])
            passed = info["seconds"] - seconds
            # spaCy's loop counts whole seconds.
            speed = (info["words"] - words) / passed if passed > 0 else 0.0
            new = losses.keys() - terms.keys()
            terms.update(dict.fromkeys(losses))
            lines = []
            if new:
                columns = ["E", "#", *terms, *found, "Score", "W/s"]
                least = [3, 6, *[8] * len(terms), *[6] * len(found), 6, 6]
                header, widths, _ = setup_table(cols=columns, widths=least, max_width=24)
                lines = [_row(header, widths), _row(["-" * width for width in widths], widths)]
            cells = [str(info["epoch"]), str(info["step"])]
            cells += [f"{losses[name] / steps:#.4g}" if name in losses else "" for name in terms]
            cells += [
                f"{(value or 0) * (1 if name == 'speed' else 100):.2f}"
                for name, value in found.items()
            ]
            cells += [f"{info['score']:.2f}", f"{speed:.0f}"]
            steps, words, seconds = 0, info["words"], info["seconds"]
            bar.set_postfix_str(f"best {100 * max(score for score, _ in info['checkpoints']):.2f}")
            with bar.external_write_mode(file=stdout):
                print(*lines, _row(cells, widths), sep="\n", file=stdout, flush=True)

        return log_step, bar.close

    return setup


def _by_term(losses: dict[str, float], pipes: Sequence[str]) -> dict[str, float]:
    """Losses as columns name them: `Loss` and its terms, or, where several learn, those of each."""
    [first, *others] = [name for name in pipes if name in losses]
    if others:
        return {f"Loss {name}" if name in pipes else name: v for name, v in losses.items()}
    return {
        "Loss" if name == first else name.removeprefix(f"{first}_"): v for name, v in losses.items()
    }


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
