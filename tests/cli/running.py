"""Running a command in this process."""

from __future__ import annotations

import pytest

from spacy_transfer.cli import app


def exit_code(*arguments: object) -> int:
    """Run `spacy transfer ARGUMENTS`; what it ends with."""
    with pytest.raises(SystemExit) as caught:
        app([str(argument) for argument in arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code
