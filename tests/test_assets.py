"""The embedded corpus: what its generator writes, and the properties that make it hard."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import combinations, pairwise, permutations
from pathlib import Path

import pytest

ASSETS = Path(__file__).parents[1] / "assets"
CLINICAL = ASSETS / "clinical"

# Wang et al. (2018), Table 1.
SENTENCES = {
    "cardiology": (3004, 601, 601),
    "respiratory": (3025, 605, 606),
    "neurology": (932, 187, 187),
    "gastroenterology": (1517, 303, 304),
}
SPLITS = ("train", "dev", "test")
FILES = [f"{specialty}/{split}.iob.gz" for specialty in SENTENCES for split in SPLITS]

# Of the 30 types in Wang et al. (2018), A.3.
LABELS = {
    "Body_structure",
    "Degree_modifier",
    "Disease",
    "Dosage",
    "Examination",
    "Frequency",
    "Laboratory_index",
    "Modification",
    "Negative_word",
    "Noun_of_locality",
    "Organism",
    "Probability",
    "Products",
    "Symptom",
    "Temporal_word",
    "Treatment",
    "Trend",
    "Value",
}

Sentence = list[tuple[str, str]]
Entity = tuple[tuple[str, ...], str]


def read(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode("ascii")


def sentences(text: str) -> list[Sentence]:
    """Token and tag of every line; raises where a file is not what it should be."""
    assert text.endswith("\n\n")
    result: list[Sentence] = []
    for block in text[:-2].split("\n\n"):
        sentence: Sentence = []
        for line in block.split("\n"):
            token, tag = line.split("\t")
            assert re.fullmatch(r"\S+", token), line
            assert tag == "O" or (tag[:2] in ("B-", "I-") and tag[2:] in LABELS), line
            if tag.startswith("I-"):
                assert sentence, line
                assert sentence[-1][1] in (f"B-{tag[2:]}", tag), line
            sentence.append((token, tag))
        result.append(sentence)
    return result


def entities(corpus: list[Sentence]) -> Iterator[Entity]:
    """The lower-cased tokens and the label of every entity."""
    for sentence in corpus:
        open_tokens: list[str] = []
        label = ""
        for token, tag in [*sentence, ("", "O")]:
            if open_tokens and not tag.startswith("I-"):
                yield tuple(open_tokens), label
                open_tokens = []
            if tag != "O":
                open_tokens.append(token.lower())
                label = tag[2:]


@pytest.fixture(scope="module")
def corpora() -> dict[tuple[str, str], list[Sentence]]:
    return {
        (specialty, split): sentences(read(CLINICAL / specialty / f"{split}.iob.gz"))
        for specialty in SENTENCES
        for split in SPLITS
    }


def generate(output: Path, *arguments: str, hash_seed: str = "0") -> None:
    subprocess.run(
        [sys.executable, str(ASSETS / "generate.py"), "--output", str(output), *arguments],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )


def test_generator_writes_the_embedded_files_again(tmp_path: Path) -> None:
    generate(tmp_path, hash_seed="1")
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))
    assert written == sorted(FILES)
    for name in FILES:
        assert read(tmp_path / name) == read(CLINICAL / name), name


def test_another_seed_writes_other_notes_of_the_same_kind(tmp_path: Path) -> None:
    generate(tmp_path, "--seed", "7")
    for specialty, counts in SENTENCES.items():
        for split, count in zip(SPLITS, counts, strict=True):
            text = read(tmp_path / specialty / f"{split}.iob.gz")
            assert len(sentences(text)) == count
            assert text != read(CLINICAL / specialty / f"{split}.iob.gz")


@pytest.mark.parametrize("name", FILES)
def test_files_are_small_and_carry_no_time_or_name(name: str) -> None:
    content = (CLINICAL / name).read_bytes()
    assert len(content) < 2**20
    flags, time = content[3], content[4:8]
    assert flags == 0
    assert time == bytes(4)


def test_counts_are_those_of_table_1(corpora: dict[tuple[str, str], list[Sentence]]) -> None:
    for specialty, counts in SENTENCES.items():
        assert tuple(len(corpora[specialty, split]) for split in SPLITS) == counts


def test_no_sentence_is_in_two_splits(corpora: dict[tuple[str, str], list[Sentence]]) -> None:
    def key(sentence: Sentence) -> str:
        return re.sub(r"\d+", "0", " ".join(token for token, _ in sentence).lower())

    for specialty in SENTENCES:
        keys = [{key(sentence) for sentence in corpora[specialty, split]} for split in SPLITS]
        for first, second in combinations(keys, 2):
            assert not first & second


def test_spans_need_a_tag_scheme(corpora: dict[tuple[str, str], list[Sentence]]) -> None:
    for specialty in SENTENCES:
        train = corpora[specialty, "train"]
        lengths = Counter(min(len(tokens), 3) for tokens, _ in entities(train))
        assert min(lengths[1], lengths[2], lengths[3]) > 0.05 * lengths.total()
        touching = sum(
            after.startswith("B-") and before[2:] == after[2:]
            for sentence in train
            for (_, before), (_, after) in pairwise(sentence)
        )
        assert touching >= 30


def test_all_types_occur_with_other_frequencies_in_each_specialty(
    corpora: dict[tuple[str, str], list[Sentence]],
) -> None:
    shares: dict[str, dict[str, float]] = {}
    for specialty in SENTENCES:
        counts = Counter(label for _, label in entities(corpora[specialty, "train"]))
        assert set(counts) == LABELS
        shares[specialty] = {label: count / counts.total() for label, count in counts.items()}
    for first, second in combinations(shares.values(), 2):
        assert sum(abs(first[label] - second[label]) for label in LABELS) / 2 > 0.05


def test_test_sets_have_terms_that_training_never_shows(
    corpora: dict[tuple[str, str], list[Sentence]],
) -> None:
    for specialty in SENTENCES:
        train, test = corpora[specialty, "train"], corpora[specialty, "test"]
        tokens = [token for words, _ in entities(test) for token in words]
        for share, low, high in ((1.0, 0.05, 0.20), (0.1, 0.15, 0.60)):
            kept = train[: round(share * len(train))]
            seen = {token.lower() for sentence in kept for token, _ in sentence}
            assert low < sum(token not in seen for token in tokens) / len(tokens) < high


def test_a_source_shows_terms_that_a_tenth_of_the_target_does_not(
    corpora: dict[tuple[str, str], list[Sentence]],
) -> None:
    for source, target in permutations(SENTENCES, 2):
        counts = Counter(entities(corpora[source, "train"]))
        train = corpora[target, "train"]
        known = set(entities(train[: len(train) // 10]))
        terms = [
            entity
            for entity in entities(corpora[target, "test"])
            if entity[1] in {"Symptom", "Disease", "Treatment", "Products", "Examination"}
        ]
        gained = [entity for entity in terms if counts[entity] >= 3 and entity not in known]
        assert len(gained) > 0.015 * len(terms), (source, target)


def test_vocabularies_overlap_in_part(corpora: dict[tuple[str, str], list[Sentence]]) -> None:
    words = {
        specialty: {
            re.sub(r"\d", "0", token.lower())
            for sentence in corpora[specialty, "train"]
            for token, _ in sentence
        }
        for specialty in SENTENCES
    }
    for source, target in permutations(SENTENCES, 2):
        assert 0.3 < len(words[source] & words[target]) / len(words[target]) < 0.8


def test_terms_change_their_label_with_the_specialty(
    corpora: dict[tuple[str, str], list[Sentence]],
) -> None:
    usual: dict[str, dict[tuple[str, ...], str]] = {}
    for specialty in SENTENCES:
        counts: dict[tuple[str, ...], Counter[str]] = {}
        for words, label in entities(corpora[specialty, "train"]):
            counts.setdefault(words, Counter())[label] += 1
        # Three times the same label is not an annotation error.
        usual[specialty] = {
            words: labels.most_common(1)[0][0]
            for words, labels in counts.items()
            if labels.most_common(1)[0][1] >= 3
        }
    forms = set().union(*usual.values())
    ambiguous = {
        words
        for words in forms
        if len({labels[words] for labels in usual.values() if words in labels}) > 1
    }
    assert len(ambiguous) >= 30
    assert {("mi",), ("pe",), ("ra",), ("cp",), ("bp",)} <= ambiguous


def test_words_change_their_label_with_the_context(
    corpora: dict[tuple[str, str], list[Sentence]],
) -> None:
    labels: dict[str, Counter[str]] = {}
    for specialty in SENTENCES:
        for sentence in corpora[specialty, "train"]:
            for token, tag in sentence:
                labels.setdefault(token.lower(), Counter())[tag.split("-")[-1]] += 1
    expected = {
        "cold": {"Symptom", "Disease", "O"},
        "discharge": {"Symptom", "O"},
        "pressure": {"Symptom", "Laboratory_index", "O"},
        "attack": {"Symptom", "Disease", "O"},
        "mi": {"Disease", "Examination"},
        "block": {"Disease", "Treatment"},
        "left": {"Noun_of_locality", "Body_structure", "O"},
    }
    for word, types in expected.items():
        assert {label for label, count in labels[word].items() if count >= 3} >= types, word


def test_rheumatic_heart_disease_is_one_term_in_cardiology_only(
    corpora: dict[tuple[str, str], list[Sentence]],
) -> None:
    term = ["rheumatic", "heart", "disease"]
    at_least = {"cardiology": 15, "respiratory": 5, "neurology": 1, "gastroenterology": 3}
    for specialty in SENTENCES:
        tags: Counter[tuple[str, ...]] = Counter()
        for split in SPLITS:
            for sentence in corpora[specialty, split]:
                words = [token.lower() for token, _ in sentence]
                for start in range(len(words) - 2):
                    if words[start : start + 3] == term:
                        tags[tuple(tag for _, tag in sentence[start : start + 3])] += 1
        (usual, count), *_ = tags.most_common(1)
        assert count >= at_least[specialty]
        if specialty == "cardiology":
            assert usual == ("B-Disease", "I-Disease", "I-Disease")
        else:
            assert usual == ("B-Modification", "B-Disease", "I-Disease")


def test_readme_gives_the_counts_of_the_files(
    corpora: dict[tuple[str, str], list[Sentence]],
) -> None:
    readme = (ASSETS / "README.md").read_text(encoding="utf-8")
    rows = {
        name: [int(cell.replace(",", "")) for cell in cells.split("|")]
        for name, cells in re.findall(r"^\| `?(\w+)`? \| ([\d, |]+) \|$", readme, re.M)
    }
    assert set(rows) == LABELS | set(SENTENCES)
    counts: dict[str, Counter[str]] = {}
    for specialty in SENTENCES:
        notes = [note for split in SPLITS for note in corpora[specialty, split]]
        counts[specialty] = Counter(label for _, label in entities(notes))
        expected = [*SENTENCES[specialty], sum(map(len, notes)), counts[specialty].total()]
        assert rows[specialty] == expected
    for label in LABELS:
        assert rows[label] == [counts[specialty][label] for specialty in SENTENCES], label
