"""What the package says of its work, for users to see."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def shown_log() -> Iterator[None]:
    """Print the package's log to stderr while the body runs; of several processes, the first's."""
    from spacy_transfer.nn.parallel import rank

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
