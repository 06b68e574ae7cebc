"""The page is served under a policy that lets nothing in from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

from starlette.applications import Starlette
from starlette.testclient import TestClient

from trialign_api.page import WEB, PageFiles


def test_every_file_comes_with_the_content_policy() -> None:
    app = Starlette()
    app.mount("/", PageFiles(directory=WEB, html=True))
    client = TestClient(app)
    for name in ("", "app.js", "style.css"):
        response = client.get(f"/{name}")
        assert response.status_code == 200
        assert response.headers["content-security-policy"].startswith("default-src 'none'")
        assert response.headers["x-content-type-options"] == "nosniff"


def test_no_page_names_another_host_or_carries_inline_code() -> None:
    for file in Path(WEB).glob("*.html"):
        text = file.read_text()
        assert not re.search(r"(src|href)=\"(https?:)?//", text)
        assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=", text)
