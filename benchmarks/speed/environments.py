"""Peers in environments of their own, under `.benchmarks/` in the repository."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / ".benchmarks"


def requirements(peer: str) -> list[str]:
    """What is installed for a peer: torch and spaCy as we have them."""
    torch, spacy = f"torch=={version('torch')}", f"spacy=={version('spacy')}"
    return {
        "flair": [torch, "flair==0.15.1"],
        "ncrfpp": [torch, "numpy"],
        "spacy-ner": [spacy],
    }[peer]


def python_of(peer: str) -> Path:
    """The interpreter of a peer's environment, which is made where it is not there yet."""
    environment = FOLDER / peer
    python = environment / "bin" / "python"
    wanted = "\n".join(requirements(peer))
    installed = environment / "installed.txt"
    if not installed.exists() or installed.read_text() != wanted:
        print(f"installing {peer} in {environment}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet", *requirements(peer)]
        subprocess.run(command, check=True, stdout=sys.stderr)
        installed.write_text(wanted)
    return python


def folder_of(package: str) -> Path:
    """A folder for PYTHONPATH with one package alone, for use with the torch that is there."""
    folder = FOLDER / package.replace("==", "-")
    if not folder.exists():
        options = ["--quiet", "--no-deps", "--target", str(folder)]
        command = [sys.executable, "-m", "pip", "install", *options, package]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return folder
