"""One clear line on stderr and exit status 1 for anything that a user can mend."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn what the body raises into one message on stderr and `SystemExit(1)`, and what it warns
    of into a line each, without the place in the code.

    Anything but the errors below is a bug and keeps its traceback.
    """
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        yield
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        print(f"error: {str(error).strip()}", file=sys.stderr)
        raise SystemExit(1) from error
    finally:
        warnings.formatwarning = before
