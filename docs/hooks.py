"""What `make docs` adds to the pages of docs/: pages made from the code, links into the repository, the diagram.

MkDocs calls the `on_*` functions (mkdocs.yml, `hooks`); they need the repository's root on the path, which
`python -m mkdocs` gives.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs import diagram, generated

ROOT = Path(__file__).parents[1]
NOTEBOOK = "notebooks/tiny"
_OUT_OF_DOCS = re.compile(r"\]\((?:\.\./)+([^)\s]+)\)")
_MERMAID = re.compile(r"```mermaid\n.*?```", re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made from the code, and the notebook as a page."""
    notebook = json.loads((ROOT / "docs" / f"{NOTEBOOK}.ipynb").read_text(encoding="utf-8"))
    made = generated.pages() | {f"{NOTEBOOK}.md": _notebook(notebook)}
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - named so by MkDocs
    """Let links that lead out of docs/ lead into the repository, and draw the diagram: browsers know no Mermaid."""

    def outside(link: re.Match[str]) -> str:
        path = link[1].partition("#")[0]
        inside = page.file.src_uri.count("/") and (ROOT / "docs" / path).exists()
        return link[0] if inside else f"]({config.extra['source']}/{link[1]})"

    linked = markdown.replace(f"{NOTEBOOK}.ipynb)", f"{NOTEBOOK}.md)")
    linked = _OUT_OF_DOCS.sub(outside, linked)
    return _MERMAID.sub(lambda _: diagram.svg(diagram.imports()), linked)


def _notebook(notebook: dict[str, Any]) -> str:
    """Markdown cells as they are, code cells as blocks."""
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join([*parts, f"[This page as a notebook]({Path(NOTEBOOK).name}.ipynb)"])
