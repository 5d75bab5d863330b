"""The page of all figures: everything is on it, every picture can be decoded, and nothing outside is asked for."""

import base64
import io
import json
import shutil
import subprocess
from html.parser import HTMLParser

import pandas as pd
import pytest
from PIL import Image

from paper_figs import page
from paper_figs.__main__ import make
from paper_figs.catalogue import FIGURES

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
REFERENCES = {"src", "href", "srcset", "data", "poster", "action", "background", "cite", "manifest"}


class Page(HTMLParser):
    """What a page refers to, its anchors, and its text by section."""

    def __init__(self, text):
        super().__init__()
        self.references, self.tags, self.ids, self.text, self._section = [], [], [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.references += [(tag, value) for name, value in attrs.items() if name in REFERENCES]
        if "id" in attrs:
            self.ids.append(attrs["id"])
        if tag == "section":
            self._section = attrs["id"]

    def handle_data(self, data):
        self.text[self._section] = self.text.get(self._section, "") + data


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A page with one figure drawn and the others not."""
    out = tmp_path_factory.mktemp("figures")
    return make(["timeline"], "default", out)[-1]


def test_the_page_holds_every_figure_with_claim_numbers_configuration_and_command(written):
    parsed = Page(written.read_text())
    assert set(parsed.text) >= set(FIGURES)
    drawn = parsed.text["timeline"]
    for part in (
        FIGURES["timeline"].claim,
        "python -m paper_figs timeline\n",
        '"max_staleness": 2',
        "restarts",
        "took",
    ):
        assert part.strip() in drawn
    for name in FIGURES:
        assert f"python -m paper_figs {name}" in parsed.text[name]
        assert ("Not drawn yet" in parsed.text[name]) == (name != "timeline")


def test_every_picture_is_embedded_and_decodable_and_nothing_refers_outside(written):
    parsed = Page(written.read_text())
    pictures = [value for tag, value in parsed.references if tag == "img"]
    assert len(pictures) == 1
    for picture in pictures:
        kind, data = picture.split(",", 1)
        assert kind == "data:image/png;base64"
        image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
        image.load()
        assert min(image.size) > 400
    tables = [value.split(",", 1)[1] for _, value in parsed.references if value.startswith("data:text/csv;base64,")]
    assert len(pd.read_csv(io.BytesIO(base64.b64decode(tables[0], validate=True)))) > 100
    for tag, value in parsed.references:
        assert value.startswith("data:") or (value.startswith("#") and value[1:] in parsed.ids), (tag, value[:80])
    assert not {"script", "iframe", "object", "embed"} & set(parsed.tags)
    assert "url(" not in written.read_text()
    assert "@import" not in written.read_text()


def test_a_long_table_is_shown_in_part_and_says_so_and_text_is_escaped():
    text = page.as_html(pd.DataFrame({"a < b": range(1000), "x": 1 / 3}))
    assert f"{page.ROWS} of 1000 rows" in text
    assert "<td>999</td>" in text
    assert "a &lt; b" in text
    assert "0.3333" in text


def test_the_card_of_a_figure_says_how_it_was_made(written):
    card = json.loads((written.parent / "timeline.json").read_text())
    assert card["config"] == FIGURES["timeline"].config("default")
    assert card["size"] == "default"
    assert page.Card.read(written.parent, "ablation") is None


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_opens_the_page_without_a_word_on_its_console(written, tmp_path):
    shot = tmp_path / "page.png"
    result = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,1400", f"--screenshot={shot}",
            "--enable-logging=stderr", written.as_uri(),
        ],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "CONSOLE" not in result.stderr
    with Image.open(shot) as image:
        colours = image.convert("RGB").getcolors(maxcolors=1 << 24)
    assert len(colours) > 50  # text and a figure, not an empty page
