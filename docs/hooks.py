"""MkDocs hook: pages that are elsewhere in the repository, and links that leave ``docs``.

GitHub shows the Markdown files where they are; the site shows the same files. A link to a page of the site leads to the
page. A link to any other file leads to a copy of it under ``files/``. A link to a folder without a page becomes text. A
notebook also becomes a page.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "configuration.md": "config/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "recipes.md": "workflow/recipes/README.md",
    "records.md": "paper_figures/measured/README.md",
    "speed.md": "benchmarks/README.md",
}
"""Page of the site: its file in the repository."""
LINK = re.compile(r"(!?)\[((?:[^\[\]\\]|\\.|\[[^\[\]]*\])*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")

FENCED = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)
"""A block of code, in which ``losses[name](z)`` is no link."""


def source_of(page: str) -> str:
    """The file in the repository that a page is made from."""
    return PAGES.get(page, f"docs/{page}")


def site_path(source: str) -> str | None:
    """Where a file of the repository is in the site's sources; None for a folder without a page."""
    by_source = {file: page for page, file in PAGES.items()}
    for candidate in (source, posixpath.join(source, "README.md")):
        if candidate in by_source:
            return by_source[candidate]
    if not (ROOT / source).is_file():
        return None
    return source.removeprefix("docs/") if source.startswith("docs/") else f"files/{source}"


def targets(page: str, text: str) -> set[str]:
    """Files of the repository that a page links to."""
    folder = posixpath.dirname(source_of(page))
    return {posixpath.normpath(posixpath.join(folder, match[3])) for match in LINK.finditer(FENCED.sub("", text))}


def rewrite(page: str, text: str) -> str:
    """The page's text with links that hold in the site."""
    folder = posixpath.dirname(source_of(page))

    def replaced(match: re.Match[str]) -> str:
        target = site_path(posixpath.normpath(posixpath.join(folder, match[3])))
        if target is None:
            return match[2]
        return f"{match[1]}[{match[2]}]({posixpath.relpath(target, posixpath.dirname(page) or '.')}{match[4] or ''})"

    # Markdown inside <details>: GitHub reads it as such, Python-Markdown only where asked to.
    parts = [part if part.startswith("```") else LINK.sub(replaced, part) for part in FENCED.split(text)]
    return "".join(parts).replace("<details>", '<details markdown="1">')


def notebook_page(notebook: str) -> str:
    """A notebook as Markdown: its text, and its code in blocks."""
    parts = []
    for cell in json.loads(notebook)["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    return "\n\n".join(parts) + "\n"


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and the linked files from outside ``docs``."""
    for page, source in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for source in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        page = f"notebooks/{source.stem}.md"
        files.append(File.generated(config, page, content=notebook_page(source.read_text(encoding="utf-8"))))
    wanted: set[str] = set()
    for file in files.documentation_pages():
        wanted |= targets(file.src_uri, file.content_string)
    for source in sorted(wanted):
        path = site_path(source)
        if path is not None and path.startswith("files/") and path not in files.src_uris:
            files.append(File.generated(config, path, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite the links of one page."""
    return rewrite(page.file.src_uri, markdown)
