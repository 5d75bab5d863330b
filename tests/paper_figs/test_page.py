"""The page of all figures: everything is on it, every picture can be decoded, and nothing outside is asked for."""

import base64
import io
import json
import math
import shutil
import subprocess
from html.parser import HTMLParser

import pandas as pd
import pytest
from PIL import Image

from paper_figs import page
from paper_figs.catalogue import FIGURES
from paper_figs.making import make

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
        "Computed on 20",
    ):
        assert part.strip() in drawn
    for name in FIGURES:
        assert f"python -m paper_figs {name}" in parsed.text[name]
        assert ("Not drawn yet" in parsed.text[name]) == (name != "timeline")


def decoded(address, kind):
    head, data = address.split(",", 1)
    assert head == f"data:{kind};base64"
    return base64.b64decode(data, validate=True)


def test_every_picture_and_file_is_embedded_and_decodable_and_nothing_refers_outside(written):
    parsed = Page(written.read_text())
    pictures = [value for tag, value in parsed.references if tag == "img"]
    assert len(pictures) == 2  # in the gallery, and in full size
    sizes = []
    for picture in pictures:
        image = Image.open(io.BytesIO(decoded(picture, "image/png")))
        image.load()
        sizes.append(image.size)
    assert max(sizes[0]) == 480
    assert min(sizes[1]) > 400
    files = {value.split(";")[0]: value for tag, value in parsed.references if tag == "a" and value[0] != "#"}
    assert set(files) == {"data:text/csv", "data:application/pdf"}
    assert len(pd.read_csv(io.BytesIO(decoded(files["data:text/csv"], "text/csv")))) > 100
    assert decoded(files["data:application/pdf"], "application/pdf") == written.with_name("timeline.pdf").read_bytes()
    for tag, value in parsed.references:
        assert value.startswith("data:") or (value.startswith("#") and value[1:] in parsed.ids), (tag, value[:80])
    assert not {"script", "iframe", "object", "embed"} & set(parsed.tags)
    assert "url(" not in written.read_text()
    assert "@import" not in written.read_text()


def test_a_picture_is_described_and_tables_are_closed(written):
    text = written.read_text()
    assert f'alt="{FIGURES["timeline"].title}. 3 panels. synchronous: worker;' in text
    assert "<details>" in text
    assert "<details open" not in text
    assert "prefers-color-scheme: dark" in text


@pytest.mark.parametrize("name", FIGURES)
def test_the_page_names_a_test_that_holds_each_claim(name):
    assert list(page._tests(FIGURES[name].module.rpartition(".")[2]))


def test_a_long_table_is_shown_in_part_and_says_so(tmp_path):
    path = tmp_path / "table.csv"
    pd.DataFrame({"a < b": range(1000), "x": 1 / 3, "y": 1e-7, "z": math.inf}).to_csv(path, index=False)
    table = page.table_of(path)
    assert table["note"] == f"{page.MAX_ROWS} of 1000 rows:"
    assert (len(table["rows"]), table["head"]) == (page.MAX_ROWS, ["a < b", "x", "y", "z"])
    assert table["rows"][0] == ["0", "0.3333", "1e-07", "inf"]
    assert table["rows"][-1][0] == "999"


def test_the_card_of_a_figure_says_how_it_was_made(written):
    card = json.loads((written.parent / "timeline.json").read_text())
    assert card["config"] == FIGURES["timeline"].config("default")
    assert card["size"] == "default"
    assert card["made"].startswith("20")
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
