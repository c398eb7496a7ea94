"""Every Python example in the README and the docs runs, in order, page by page; what they link to is there."""

import re
from pathlib import Path
from typing import Any

import pytest

import callmeter
from callmeter.runtime import Runtime, using
from callmeter.testing import FakeProvider

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_ALONE = {"CONTRIBUTING.md"}
"""Pages whose examples are parts of files."""

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def examples(page: Path) -> list[str]:
    return [] if page.name in NOT_ALONE else BLOCK.findall(page.read_text())


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)], ids=lambda page: page.name)
def test_the_examples_of_a_page_run(page: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("success_callback", "failure_callback", "input_callback", "callbacks"):
        monkeypatch.setattr(callmeter, name, [])
    monkeypatch.setattr(callmeter, "cache", None)
    monkeypatch.chdir(home.parent)
    with FakeProvider() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
        monkeypatch.setenv("OPENAI_BASE_URL", server.openai_base)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_BEDROCK_RUNTIME_ENDPOINT", server.url)
        with using(Runtime()) as runtime:
            scope: dict[str, Any] = {"__name__": "example"}
            for number, block in enumerate(examples(page), 1):
                exec(compile(block, f"{page.name} example {number}", "exec"), scope)
            runtime.close(5)


def test_the_readme_has_examples() -> None:
    assert len(examples(ROOT / "README.md")) >= 4


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    links = LINK.findall(page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_pages_derived_from_code_are_what_the_code_says() -> None:
    from tools.reference import main

    assert main(["--check"]) == 0
