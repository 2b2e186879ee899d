"""The report: one file, nothing fetched, hostile text inert, well-formed."""

import base64
import html.parser
import re
import shutil
import subprocess

import pytest

from rewardjax.reporting import page as report
from rewardjax.reporting import plots

HOSTILE = '<script>alert(1)</script> & "quotes" </pre><img src=http://x/y.png> {{ 7 * 7 }}'
VOID = {"meta", "img", "link", "br"}


class Page(html.parser.HTMLParser):
    """Collects tags, attributes and text; fails on a tag that is closed out of order."""

    def __init__(self, text):
        super().__init__()
        self.stack, self.tags, self.text, self.sources, self.links, self.ids, self.classes = (
            [],
            [],
            [],
            [],
            [],
            [],
            [],
        )
        self.feed(text)
        self.close()
        assert not self.stack

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        attrs = dict(attrs)
        self.sources += [attrs[name] for name in ("src", "srcset", "data") if name in attrs]
        self.links += [attrs["href"]] if "href" in attrs else []
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.classes += [attrs["class"]] if "class" in attrs else []
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def figure(tmp_path_factory):
    path = tmp_path_factory.mktemp("figures") / "loss.png"
    plots.curves([{"step": 1, "loss": 0.7}, {"step": 2, "loss": 0.6}], path)
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory, figure):
    path = tmp_path_factory.mktemp("run") / "sub" / "report.html"
    rows = [
        {"set": "honest", "accuracy": 0.87654, "pairs": 12345},
        {"set": HOSTILE, "accuracy": None, "extra": True},
    ]
    prompt = [{"role": "system", "content": "S"}, {"role": "user", "content": HOSTILE}]
    report.write_report(
        path,
        HOSTILE,
        facts={"commit": "abc", HOSTILE: HOSTILE, "mesh": {"data": 8}},
        tables={"Held-out sets": rows, "Empty": []},
        figures={HOSTILE: figure},
        examples=[
            dict(
                prompt=prompt,
                chosen=HOSTILE,
                rejected="no",
                chosen_reward=1.5,
                rejected_reward=2.0,
                note=HOSTILE,
            )
        ],
        config={"data": {"source": HOSTILE}},
    )
    return path


def test_text_is_text_and_the_page_is_well_formed(written):
    page = Page(written.read_text())
    assert "script" not in page.tags and page.tags.count("img") == 1
    assert page.text.count(HOSTILE) >= 6 and "49" not in "".join(page.text)


def test_nothing_is_fetched_and_figures_are_inside(written, figure):
    text = written.read_text()
    page = Page(text)
    [source] = page.sources
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == figure.read_bytes()
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert not re.search(r"url\(|@import|<link", text) and "default-src 'none'" in text
    assert [file.name for file in written.parent.iterdir()] == ["report.html"]


def test_tables_show_numbers_for_people(written):
    text = written.read_text()
    assert '<td class="number">0.8765</td>' in text and '<td class="number">12,345</td>' in text
    assert '<td class="number">–</td>' in text and "Empty" not in text
    assert "The model prefers the rejected response by 0.5." in text


@pytest.mark.parametrize(
    "value, shown",
    [
        (0.00001234, "1.234e-05"),
        (123456.7, "123,457"),
        (7, "7"),
        (True, "true"),
        ([1, "a"], '[1, "a"]'),
        (float("nan"), "nan"),
        (-12345.0, "-12,345"),
        ("x", "x"),
        (None, "–"),
    ],
)
def test_values_as_people_read_them(value, shown):
    assert report._show(value) == shown


def test_facts_alone_make_a_page(tmp_path):
    report.write_report(tmp_path / "report.html", "Bare", {"steps": 3})
    page = Page((tmp_path / "report.html").read_text())
    assert page.ids == ["facts"] and "details" not in page.tags


def test_what_is_wrong_is_named_and_leaves_the_old_report(tmp_path):
    path, fake = tmp_path / "report.html", tmp_path / "fake.png"
    path.write_text("old")
    fake.write_bytes(b"GIF89a")
    with pytest.raises(ValueError, match="fake.png is not a PNG"):
        report.write_report(path, "t", {}, figures={"c": fake})
    with pytest.raises(KeyError, match="rejected"):
        report.write_report(path, "t", {}, examples=[{"prompt": "a", "chosen": "b"}])
    assert path.read_text() == "old"


def test_a_browser_renders_it(written):
    browser = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if browser is None:
        pytest.skip("no headless browser here")
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--dump-dom",
        written.as_uri(),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "Sample pairs" in dom and dom.count("<img") == 1


def test_sections_come_first_with_their_figures_and_tables(tmp_path, figure):
    path = tmp_path / "report.html"
    rows = [
        {"model": "a", "score, %": "71.4*", "interval": "-1.0 to 72.5", "note": HOSTILE},
        {"model": "b", "score, %": None},
    ]
    parts = [
        report.Section(
            "One", ["A paragraph.", HOSTILE], {"the caption": figure}, {"Rows": rows, "Empty": []}
        ),
        report.Section("Two"),
    ]
    report.write_report(path, "Parts", {"steps": 3}, {"Last": rows}, parts=parts)
    page = Page(path.read_text())
    headings = [
        text
        for text in page.text
        if text in ("One", "the caption", "Rows", "Two", "Last", "The run")
    ]
    assert headings[4:] == ["One", "the caption", "Rows", "Two", "Last", "The run"], (
        "after the four links, in this order"
    )
    text = path.read_text()
    assert (
        '<td class="number">71.4*</td><td class="number">-1.0 to 72.5</td>' in text
        and "Empty" not in text
    )
    assert "script" not in page.tags and all(link[1:] in page.ids for link in page.links)


def test_links_lead_to_files_beside_the_page(tmp_path):
    part = report.Section("Files", links={"a b.html": "one & two"})
    report.write_report(tmp_path / "p.html", "t", {}, parts=[part])
    assert '<a href="a%20b.html">a b.html</a>: one &amp; two' in (tmp_path / "p.html").read_text()


def test_pairs_are_conversations_and_a_role_is_a_text_too(tmp_path):
    prompt = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Which?"},
        {"role": 'x" onclick="alert(1)', "content": HOSTILE},
    ]
    example = {"prompt": prompt, "chosen": "this", "rejected": "that"}
    example |= {"chosen_reward": 2.0, "rejected_reward": 1.5}
    report.write_report(tmp_path / "report.html", "t", {}, examples=[example])
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    bubbles = [attrs for attrs in page.classes if attrs.startswith("bubble")]
    assert bubbles == ["bubble system", "bubble user", "bubble", "bubble", "bubble"]
    assert 'onclick="' not in text and HOSTILE in page.text
    sides = [attrs for attrs in page.classes if attrs.startswith("chat ")]
    assert sides == ["chat chosen", "chat rejected"]
    assert "The model prefers the chosen response by 0.5." in text


def test_long_texts_of_examples_are_folded_and_whole(tmp_path):
    example = {"prompt": "short", "chosen": HOSTILE * 60, "rejected": "b"}
    example |= {"chosen_reward": 0.0, "rejected_reward": 1.5}
    part = report.Section("Mistakes", examples={"A set": [example]})
    report.write_report(tmp_path / "report.html", "t", {}, parts=[part])
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert "A set" in page.text and "script" not in page.tags
    assert page.tags.count("details") == 1 and "more characters" in text
    assert "The model prefers the rejected response by 1.5." in text
