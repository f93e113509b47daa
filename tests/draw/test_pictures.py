"""The pictures of the documentation are what the commands beside them draw today."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from flambeau.draw.__main__ import main

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted(DOCS.glob("**/*.md"))


def commands() -> list[str]:
    found = {
        command
        for page in PAGES
        for command in re.findall(r"^\$ python -m flambeau\.draw (.* -o docs/\S+)$", page.read_text("utf-8"), re.MULTILINE)
    }
    return sorted(found)


@pytest.mark.parametrize("command", commands())
def test_committed_picture_is_what_the_command_draws(command, tmp_path):
    *arguments, path = shlex.split(command)
    main([*arguments, str(tmp_path / "picture.svg")])
    committed = DOCS.parent / path
    assert committed.read_text("utf-8") == (tmp_path / "picture.svg").read_text("utf-8"), f"python -m flambeau.draw {command}"


def test_pages_and_pictures_go_together():
    """Every picture that a page shows is there, with a text for those who do not see it, and every picture is shown."""
    shown = set()
    for page in PAGES:
        for text, path in re.findall(r"!\[(.*?)\]\((.*?)\)", page.read_text("utf-8")):
            assert text, page
            shown.add((page.parent / path).resolve())
    assert shown == set((DOCS / "pictures").iterdir())


@pytest.mark.parametrize("page", [page for page in PAGES if page.name.endswith(".zh-CN.md")], ids=lambda page: page.name)
def test_languages_say_the_same(page):
    """A page and its translation have the same examples, formulas and pictures."""
    english = page.with_name(page.name.replace(".zh-CN", "")).read_text("utf-8")
    chinese = page.read_text("utf-8")
    for pattern in (r"^\$\$.*\$\$$", r"^>>> [^#\n]*", r"^\$ .*", r"!\[.*?\]\((.*?)\)"):
        ours, theirs = (re.findall(pattern, text, re.MULTILINE) for text in (chinese, english))
        assert [line.strip() for line in ours] == [line.strip() for line in theirs]


def test_links_lead_somewhere():
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        for path in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (page.parent / path).exists(), (page.name, path)
