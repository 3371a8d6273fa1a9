"""Pages that are made from the code are as it is, and pages name files that are there."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from host_tools import verbs
from host_tools.cli import build_app
from model_pipeline.config import Config, TalkConfig
from model_pipeline.data.download import ARCHIVES
from model_pipeline.native import ROOT
from tests.support import configuration_doc, report_picture

PAGES = sorted([*(ROOT / "docs").glob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))])


def test_the_list_of_keys_is_fresh() -> None:
    assert configuration_doc.TARGET.read_text(encoding="utf-8") == configuration_doc.render(), (
        "docs/configuration.md is stale: python -m tests.support.configuration_doc"
    )


def test_a_keys_words_are_its_comment() -> None:
    assert configuration_doc.comments(TalkConfig)["sentences"] == "0: none"
    assert configuration_doc.comments(TalkConfig)["text"].startswith("Text files, or folders of them")
    page = configuration_doc.render()
    for name, field in Config.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        assert (f"## `[{name}]`" if inner else f"| `{name}` |") in page
        assert all(
            f"| `{key}` |" in page or f"## `[{name}.{key}]`" in page or f"[[{name}.{key}]]" in page
            for key in inner or ()
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_files_that_are_there(page: Path) -> None:
    """Paths of this project in backticks; a reader's own files are called mine."""
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:host_tools|model_pipeline|firmware|boards|tests|docs)/[\w./-]+)`", text)
    missing = [name for name in named if "mine" not in name and not (ROOT / name).exists()]
    assert not missing
    linked = re.findall(r"\]\((?!https?:)([\w./-]+\.md)\)", text) + re.findall(r"\bdocs/[\w-]+\.md\b", text)
    assert not [name for name in linked if not (page.parent / name).exists() and not (ROOT / name).exists()]


def test_the_picture_of_a_report_is_not_older_than_the_page() -> None:
    again = "python -m tests.support.report_picture RUN, with a run of make demo"
    assert report_picture.look_of(report_picture.PICTURE.read_bytes()) == report_picture.look(), again


def _commands(text: str) -> list[list[str]]:
    """Each `kws` command that a text shows, as words: in blocks, in spans of code, and in a verb's example."""
    text = re.sub(r"\\\n\s*", " ", text)
    code = re.findall(r"^(?: {4}|\$ )(.*)$|`([^`\n]+)`|^Example: (.*)$", text, re.M)
    code += [
        (line, "", "") for block in re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S) for line in block.split("\n")
    ]
    found = []
    for line in filter(None, (part for parts in code for part in parts)):
        for rest in re.split(r"(?:^|(?<=[\s/(;]))kws (?=[a-z]+(?:[^a-z:]|$))", line)[1:]:
            found.append(re.split(r"\s#|[|;&)`]| {2,}", rest)[0].split())
    return found


@functools.cache
def _application() -> Any:
    return typer.main.get_command(build_app())


def _unknown(words: list[str]) -> list[str]:
    """What a command says that kws does not know."""
    command: Any = _application()
    while words and hasattr(command, "commands"):
        name, *words = words
        if name.rstrip(",") not in command.commands:
            return [] if command.name == "evaluate" else [name]  # kws evaluate MODEL is understood as it was of old
        command = command.commands[name.rstrip(",")]
    known = {o for p in command.params for o in [*p.opts, *p.secondary_opts]} | {"--help", "-h"}
    given = [re.split(r"[=,.:]", word)[0] for word in words if re.match(r"--?[a-z]", word)]
    return [option for option in given if option not in known]


def _examples() -> list[tuple[str, str]]:
    found = []
    for name in (module.name for module in pkgutil.iter_modules(verbs.__path__)):
        module = importlib.import_module(f"{verbs.__name__}.{name}")
        group = getattr(module, "GROUP", None)
        texts = [c.epilog or "" for c in group.registered_commands] if group else [module.EXAMPLE]
        found += [(name, text) for text in texts if text]
    return found


def test_an_example_names_no_folder_that_nothing_makes() -> None:
    """Whoever runs the examples of --help has what they read: it is in the checkout, or another of them makes it."""
    lines = [(where, line) for where, text in _examples() for line in text.splitlines()]
    words = [(where, word) for where, line in lines for command in _commands(f"`{line}`") for word in command]
    texts = " ".join(text for _, text in _examples())
    made = set(re.findall(r"(?:--out|-o|>) (\S+)", texts))
    made |= {f"runs/{name}" for name in re.findall(r"kws (?:new|run --config) ([a-z_]+)", texts)}  # kws run's place
    made |= {f"data/{name}" for name in ARCHIVES}  # kws data download's
    theirs = ("/dev/", "~/", "socket://", "datasets/kws01")  # a port, own recordings, what MLPerf's runner has
    paths = [(where, word) for where, word in words if "/" in word and not word.startswith(theirs)]
    missing = [
        (where, path)
        for where, path in paths
        if not (ROOT / path).exists() and not any(path == one or path.startswith(f"{one}/") for one in made)
    ]
    assert len(paths) > 30 and not missing
    assert "…" not in texts


def test_every_command_that_is_shown_is_one_with_options_that_there_are() -> None:
    """In pages and in the verbs' examples."""
    shown = [(page.name, page.read_text(encoding="utf-8")) for page in PAGES] + _examples()
    commands = [(where, words) for where, text in shown for words in _commands(text)]
    assert len(commands) > 300
    wrong = [(where, " ".join(words), unknown) for where, words in commands if (unknown := _unknown(list(words)))]
    assert not wrong
    assert _unknown(["quantize", "runs/mine", "--trained", "x"]) == ["--trained"] and _unknown(["flush"]) == ["flush"]
