"""Training configs: spaCy's own, with unknown keys as errors.

spaCy drops unknown keys of `[training]`, `[nlp]` and `[initialize]` without a word, so that a typo
becomes a default. Here each of them is named.
"""

from __future__ import annotations

import configparser
import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confection import Config
from spacy.schemas import CONFIG_SCHEMAS
from spacy.util import load_config

_SECTIONS = {"paths", "system", "nlp", "components", "corpora", "training", "initialize"}
_SECTIONS |= {"pretraining"}
_DEFAULT_VARIABLES = {
    "paths": {"train", "dev", "vectors", "init_tok2vec"},
    "system": {"seed", "gpu_allocator"},
    "corpora": {"pretrain"},
}
_REFERENCE = re.compile(r"\$\{([^}]+)\}")


def load_training_config(path: Path, overrides: dict[str, Any]) -> Config:
    """Read a config file and override settings by their dotted names.

    Raises ValueError naming the key when one is unknown, in the file or in the overrides.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such config file")
    with _errors_of(path):
        config = load_config(path, interpolate=False)
    config = override(path, config, overrides)
    _check_keys(path, config)
    return config


def override(path: Path, config: Config, overrides: dict[str, Any]) -> Config:
    """Set settings by their dotted names; ValueError naming `path` and the setting if one is
    unknown."""
    for name in overrides:
        _require_override(path, config, name)
    with _errors_of(path):
        text = config.to_str(interpolate=False)
        return Config().from_str(text, overrides=overrides, interpolate=False)


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, configparser.Error) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error
    except KeyError as error:
        raise ValueError(f"{path}: no section [{error.args[0]}] before its subsections") from error


def _require_override(path: Path, config: Config, name: str) -> None:
    *sections, key = name.split(".")
    values: Any = config
    for section in sections:
        values = values.get(section) if isinstance(values, dict) else None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: no section [{'.'.join(sections)}] for --{name}")
    if "factory" in values or any(name.startswith("@") for name in values):
        return  # spaCy refuses what a registered function does not take
    if sections[:2] == ["initialize", "components"]:
        return  # nor what a component's initialize does not take
    known = set(values)
    if len(sections) == 1 and sections[0] in CONFIG_SCHEMAS:
        known |= set(CONFIG_SCHEMAS[sections[0]].model_fields)
    if key not in known:
        raise ValueError(f"{path}: unknown setting --{name}{hint(key, known, sections)}")


def _check_keys(path: Path, config: Config) -> None:
    references = set(_REFERENCE.findall(config.to_str(interpolate=False)))
    for role in ("train_corpus", "dev_corpus"):
        default = f"corpora.{role.removesuffix('_corpus')}"
        references.add(str(config.get("training", {}).get(role, default)))
    roots = {reference.split(".")[0] for reference in references}
    for section, values in config.items():
        if section not in _SECTIONS | roots:
            raise ValueError(f"{path}: unknown section [{section}]{hint(section, _SECTIONS)}")
        where = f"[{section}]"
        if section in CONFIG_SCHEMAS:
            known = set(CONFIG_SCHEMAS[section].model_fields)
        elif section == "components":
            continue
        else:
            known = {r.split(".")[1] for r in references if r.startswith(f"{section}.")}
            known |= _DEFAULT_VARIABLES.get(section, set())
            where += ", which nothing in the config refers to"
        for key in values:
            if key not in known:
                raise ValueError(f"{path}: unknown key {key!r} in {where}{hint(key, known)}")
    pipes = set(config.get("components", {}))
    for name in config.get("initialize", {}).get("components", {}):
        if name not in pipes:
            raise ValueError(
                f"{path}: unknown component {name!r} in [initialize.components]{hint(name, pipes)}"
            )


def hint(key: str, known: Iterable[str], sections: Iterable[str] = ()) -> str:
    """What an error adds about an unknown key: the known one that is nearest, or all of them."""
    names = sorted(known) if isinstance(known, set) else list(known)
    near = difflib.get_close_matches(key, names, n=1)
    if near:
        return f"; did you mean {'.'.join([*sections, near[0]])!r}?"
    return f"; expected one of {', '.join(names)}" if names else ""
