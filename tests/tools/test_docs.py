"""Pages that are made from the code are as it is, and pages name files that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from model_pipeline.config import Config, TalkConfig
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
