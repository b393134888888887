"""One clear line on stderr and exit status 1 for anything that a user can mend."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn what the body raises into one message on stderr and `SystemExit(1)`.

    Anything but the errors below is a bug and keeps its traceback.
    """
    try:
        yield
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        print(f"error: {str(error).strip()}", file=sys.stderr)
        raise SystemExit(1) from error
