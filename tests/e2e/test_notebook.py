"""The notebook of the documentation runs from its first cell to its last, and says what it promises."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs/notebooks/tiny.ipynb"


@pytest.mark.e2e
def test_the_notebook_audits_and_trains_a_tiny_model(tmp_path: Path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    assert all(not cell.get("outputs") for cell in notebook.cells), "Commit it without outputs."
    NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()) if "text" in output
    )
    assert "36 of 36 rows imported" in printed
    before, after = (line for line in printed.splitlines() if line.startswith("contradiction"))
    assert (before != after, after) == (True, "contradiction 0.00, right for everyone 1.00")
