"""`spacy transfer convert` on the command line: what it says, and that it writes all or nothing."""

from __future__ import annotations

import gzip
import hashlib
import random
import subprocess
import sys
from pathlib import Path

import pytest
from spacy.tokens import DocBin
from typer import Typer

from spacy_transfer.cli.convert import convert
from spacy_transfer.corpus import docbin

GOOD = "Ann\tB-PER\nLee\tI-PER\nran\tO\n\nRio\tB-LOC\n"
SEED = random.Random(0)
LONG = "".join(f"{SEED.random()}\tO\n\n" for _ in range(100)).encode()


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> int:
    app = Typer()
    app.command()(convert)
    with pytest.raises(SystemExit) as caught:
        app(arguments)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def tree() -> dict[str, bytes | None]:
    return {str(p): p.read_bytes() if p.is_file() else None for p in Path().rglob("*")}


def test_one_line_tells_what_was_converted(capsys: pytest.CaptureFixture[str]) -> None:
    Path("in.tsv").write_text(f"# a comment\n-DOCSTART-\tO\n\n{GOOD}", encoding="utf-8")
    assert run("in.tsv", "out.spacy", "--layer", "ents") == 0
    assert capsys.readouterr().out == (
        "out.spacy: 2 sentences, 4 tokens, 2 spans (LOC 1, PER 1), scheme IOB2, "
        "skipped 1 comment lines, skipped 1 -DOCSTART- lines\n"
    )
    assert sorted(tree()) == ["in.tsv", "out.spacy"]
    assert len(DocBin().from_disk("out.spacy")) == 2


def test_all_options(capsys: pytest.CaptureFixture[str]) -> None:
    data = gzip.compress(b"1 Ann I-PER NNP\n2 Lee B-PER NNP\n")
    Path("in.gz").write_bytes(data)
    checksum = f"sha256:{hashlib.sha256(data).hexdigest().upper()}"
    command = "in.gz out --layer spans:sc --format columns --token-column 1 --label-column -2"
    assert run(*command.split(), "--scheme", "IOB1", "--checksum", checksum) == 0
    assert "1 sentences, 2 tokens, 2 spans (PER 2), scheme IOB1" in capsys.readouterr().out
    assert len(DocBin().from_disk("out/0000.spacy")) == 1


BAD: dict[str, tuple[str, bytes, str]] = {
    "ragged": (
        "in.tsv",
        b"a\tO\n\nb\n",
        "in.tsv:3: expected 2 columns parted by tabs as in line 1",
    ),
    "no label": ("in.tsv", b"a\tO\nb\t\n", "in.tsv:2: expected a token and a label"),
    "one column": ("in.tsv", b"a\nb\n", "in.tsv:1: expected at least two columns"),
    "label": ("in.tsv", b"a\tO\nb\tNN\n", "in.tsv:2: tag 'NN' belongs to no tag scheme: expected"),
    "no scheme": ("in.tsv", b"a\tO\nb\tE-X\n", "in.tsv:2: 'E-X' after 'O' is allowed in none"),
    "mixed": (
        "in.tsv",
        b"a\tS-X\n\nb\tB-X\nc\tI-X\n\n",
        "in.tsv:4: 'I-X' at the end of a sentence does not follow BIOES, the scheme of the tags up "
        "to line 1: expected one tag scheme in the whole file",
    ),
    "mixed IOB": ("in.tsv", b"a\tB-X\nb\tO\nc\tI-X\n", "in.tsv:3: 'I-X' after 'O' does not follow"),
    "UTF-8": ("in.tsv", b"a\tO\n\n\xe9\tO\n", "in.tsv:3: expected UTF-8 text, found byte 0xe9"),
    "empty": ("in.tsv", b"", "in.tsv: expected sentences with ents, found none"),
    "blank": ("in.tsv", b"\n\n", "in.tsv: expected sentences with ents, found none"),
    "empty gzip": ("in.gz", gzip.compress(b""), "in.gz: expected sentences with ents, found none"),
    "truncated gzip": ("in.gz", gzip.compress(LONG)[:-500], "in.gz:"),
    "damaged gzip": ("in.gz", gzip.compress(LONG)[:-8] + bytes(8), "in.gz:200: expected a whole"),
    "no gzip": ("in.gz", LONG, "in.gz: expected a gzip file, as its name ends in .gz"),
    "JSON": ("in.jsonl", b'{"text": "a", "label": []}\n{"text"', "in.jsonl:2: expected a JSON obj"),
    "JSON array": ("in.jsonl", b'[\n{"text": "a"}]', "in.jsonl:1: expected a JSON object"),
    "boundary": (
        "in.jsonl",
        b'{"text": "in Rio", "label": [[3, 5, "LOC"]]}',
        "in.jsonl:1: span of characters 3-5 (LOC): expected it to begin and end at a token",
    ),
    "overlap": (
        "in.jsonl",
        b'{"text": "in Rio", "label": [[3, 6, "X"], [0, 6, "Y"]]}',
        "in.jsonl:1: spans of tokens 0-1 (Y) and 1-1 (X) overlap",
    ),
    "DocBin": ("in.spacy", b"nothing like it", "in.spacy: "),
    "CoNLL-U": ("in.conllu", b"1\ta\tO\n", "in.conllu: CoNLL-U has tokens of several words"),
}


@pytest.mark.parametrize("output", ["out.spacy", "out"])
@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(
    kind: str, output: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, data, message = BAD[kind]
    monkeypatch.setattr(docbin, "SHARD", 1)  # shards are written before the bad line comes
    Path(name).write_bytes(data)
    Path("good.tsv").write_text(GOOD, encoding="utf-8")
    for previous in False, True:
        if previous:
            assert run("good.tsv", output, "--layer", "ents") == 0
        before = tree()
        capsys.readouterr()
        assert run(name, output, "--layer", "ents") == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"error: {message}")
        assert err.count("\n") == 1
        assert tree() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("none.tsv out.spacy", "none.tsv: cannot be read: No such file or directory"),
        ("none.spacy out.spacy", "none.spacy: no such file"),
        (". out.spacy", ".: expected .spacy files in this folder, found none"),
        (". out.spacy --format columns", ".: cannot be read: Is a directory"),
        ("in.tsv in.tsv", "is a file: expected a folder, or a name in .spacy"),
        ("in.tsv in.tsv/out.spacy", "in.tsv is a file: expected a folder"),
        ("in.tsv .", "holds in.tsv: expected a folder of shards, or a new one"),
        ("in.tsv out.spacy --label-column 2", "in.tsv:1: expected a label column 2, found 2 col"),
        ("in.tsv out.spacy --token-column -3", "in.tsv:1: expected a token column -3, found 2 col"),
        ("in.tsv out.spacy --scheme IOB1 --layer tag", "scheme IOB1: the layer 'tag' has plain"),
        ("in.tsv out.spacy --scheme BIOES", "in.tsv:3: 'O' after 'I-PER' is not allowed in BIOES"),
        (
            "in.tsv out.spacy --scheme BIO",
            "unknown scheme 'BIO': expected IOB1, IOB2, BIOES, BILUO",
        ),
        ("in.tsv out.spacy --layer ner", "unknown layer 'ner'"),
        ("in.tsv out.spacy --format jsonl --lang xyz", "language 'xyz'"),
        ("in.tsv out.spacy --checksum md5:12", "in.tsv: expected md5 12, found "),
        ("in.tsv out.spacy --checksum 12", "unknown checksum '12': expected sha256:HEX or md5:HEX"),
    ],
)
def test_bad_arguments(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in.tsv").write_text(GOOD, encoding="utf-8")
    before = tree()
    assert run("--layer", "ents", *arguments.split()) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert tree() == before


def run_outside(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", *command],
        capture_output=True,
        text=True,
        check=False,
    )


def test_as_a_command_of_spacy() -> None:
    Path("in.tsv").write_text(GOOD, encoding="utf-8")
    done = run_outside("spacy", "transfer", "convert", "in.tsv", "out.spacy", "--layer", "ents")
    assert done.stdout.startswith("out.spacy: 2 sentences")
    assert done.returncode == 0


def test_as_a_module() -> None:
    Path("in.tsv").write_text("a\tO\nb\n", encoding="utf-8")
    done = run_outside("spacy_transfer", "convert", "in.tsv", "out.spacy", "--layer", "ents")
    assert done.stderr == (
        "error: in.tsv:2: expected 2 columns parted by tabs as in line 1, found 1: 'b'\n"
    )
    assert done.returncode == 1


def test_assets_of_a_project_are_held_to_their_checksums(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.tsv").write_text("a\tO\n\n")
    (tmp_path / "other.tsv").write_text("a\tO\n\n")
    project = tmp_path / "project.yml"
    digest = hashlib.md5((tmp_path / "in.tsv").read_bytes()).hexdigest()
    for checksum, status in ((digest, 0), ("0" * 32, 1)):
        project.write_text(f"assets:\n  - dest: in.tsv\n    checksum: '{checksum}'\n")
        for name, expected in (("in.tsv", status), ("other.tsv", 0)):
            output = tmp_path / f"{status}-{name}.spacy"
            command = ["convert", str(tmp_path / name), str(output), "--layer", "ents"]
            assert run(*command[1:], "--assets", str(project)) == expected
            assert output.exists() == (expected == 0)
    assert f"in.tsv: expected md5 {'0' * 32}, found {digest}" in capsys.readouterr().err
    project.write_text("- nothing\n")
    assert (
        run(str(tmp_path / "in.tsv"), "x.spacy", "--layer", "ents", "--assets", str(project)) == 1
    )
    assert "project.yml: expected a spaCy project file" in capsys.readouterr().err
