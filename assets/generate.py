"""Write the synthetic clinical notes: `python assets/generate.py [--output DIR] [--seed 2018]`."""

from __future__ import annotations

import argparse
import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from generator.grammar import Grammar, Segment
from generator.notes import Note, write_note
from generator.stream import Stream

ASSETS = Path(__file__).parent

# Sentences in train, dev and test: Table 1 of Wang et al. (2018).
SENTENCES = {
    "cardiology": {"train": 3004, "dev": 601, "test": 601},
    "respiratory": {"train": 3025, "dev": 605, "test": 606},
    "neurology": {"train": 932, "dev": 187, "test": 187},
    "gastroenterology": {"train": 1517, "dev": 303, "test": 304},
}


# Nobody names one of these twice in a sentence.
NAMED_ONCE = {"Symptom", "Disease", "Products", "Treatment", "Examination", "Laboratory_index"}


def repeats_itself(segments: list[Segment]) -> bool:
    """Whether an entity occurs twice."""
    named = [(part.label, part.text.lower()) for part in segments if part.label in NAMED_ONCE]
    return len(named) > len(set(named))


def write_notes(grammar: Grammar, specialty: str, seed: int) -> Iterator[Note]:
    """Endless notes of a specialty; no two differ only in their digits or their case."""
    stream = Stream(f"{seed}/{specialty}")
    seen: set[str] = set()
    while True:
        segments = grammar.expand("sentence", specialty, stream)
        if repeats_itself(segments):
            continue
        note = write_note(segments, stream)
        key = re.sub(r"\d+", "0", " ".join(note.tokens).lower().rstrip(" ."))
        if key not in seen:
            seen.add(key)
            yield note


def write_gzip(path: Path, text: str) -> None:
    """Gzip without name and time, so that equal text makes equal files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # gzip.compress writes the operating system into the header in some Python versions.
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=9, mtime=0) as file,
    ):
        file.write(text.encode("ascii"))


def main() -> None:
    """Write train, dev and test of every specialty."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ASSETS / "clinical", metavar="DIR")
    parser.add_argument("--seed", type=int, default=2018)
    arguments = parser.parse_args()

    grammar = Grammar(sorted((ASSETS / "generator" / "grammar").glob("*.txt")))
    for specialty, counts in SENTENCES.items():
        notes = write_notes(grammar, specialty, arguments.seed)
        for split, count in counts.items():
            text = "".join(str(next(notes)) for _ in range(count))
            write_gzip(arguments.output / specialty / f"{split}.iob.gz", text)


if __name__ == "__main__":
    main()
