"""The page as text: complete, closed, self-contained, small, whatever the run was like."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from raymix.evaluation.portrait import amounts
from raymix.report.page import render
from raymix.runs.rounds import TermValues

ENVIRONMENT = {"raymix": "0.1.0", "packing": "measured <fast>"}
SHAPES = {"grey": (1, 28, 28), "colour": (3, 32, 32), "two channels": (2, 8, 8), "D1": (1,), "D2": (2,), "D5": (5,)}
VOID = {"meta", "link", "img", "br", "circle", "path", "use", "image", "rect"}
MOST_BYTES = 5_000_000


class Outline(HTMLParser):
    """Refuses tags that are not closed in order, and keeps what was seen."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.addresses, self.text = [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.addresses += [value for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.addresses += [value for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    def of_class(self, name):
        return [tag for tag, attributes in self.tags if name in (attributes.get("class") or "").split()]

    @property
    def sections(self):
        return [attributes["id"] for tag, attributes in self.tags if tag == "section"]


def check(page, K):
    """What holds of every page; returns its outline."""
    outline = Outline(page)
    assert len(page.encode()) < MOST_BYTES
    assert len(outline.of_class("sheet")) >= K
    assert "script" not in {tag for tag, _ in outline.tags}
    assert all(re.match(r"data:|#", address) for address in outline.addresses)
    places = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    for address in outline.addresses:
        assert not address.startswith("#") or address[1:] in places
    drawn = " ".join(
        value or "" for tag, attributes in outline.tags for name, value in attributes.items() if name == "d"
    )
    assert "nan" not in drawn and "inf" not in drawn
    assert "url(http" not in page and "#010203" not in page and "#040506" not in page and "#070809" not in page
    return outline


SIZES = [*((kind, 3) for kind in SHAPES), *((kind, 1) for kind in ("colour", "D2"))]
LARGE = [("colour", 15), ("D2", 15), ("D2", 40)]


@pytest.mark.parametrize(("kind", "K"), [*SIZES, *(pytest.param(*each, marks=pytest.mark.slow) for each in LARGE)])
def test_a_page_of_any_size_and_kind_is_complete(make_lines, make_portrait, make_settings, kind, K):
    shape, classes = SHAPES[kind], [f"class {c}" for c in range(10)]
    config, spec = make_settings(shape, K, classes=classes)
    lines = make_lines(K, classes=10)
    page = render(lines, config, spec, ENVIRONMENT, make_portrait(shape, lines[-1].components))
    outline = check(page, K)
    expected = ["summary", "troubles", "components", "flow", "training", "classes", "plane", "config"]
    if K == 1:
        expected.remove("flow")
    if kind not in ("D2", "D5"):
        expected.remove("plane")
    assert outline.sections == expected
    assert len(outline.of_class("pairs")) == (K if len(shape) == 3 else 0)
    text = " ".join(outline.text)
    assert all(f"Component {k}" in text for k in range(K))
    assert "measured <fast>" in text and "num_components: " in text


def test_sections_without_content_are_left_out(make_lines, make_portrait, make_settings):
    config, spec = make_settings((1, 8, 8), 3, rounds=0, mode="random")
    lines = make_lines(3, rounds=0, judged=False)
    page = render(lines, config, spec, ENVIRONMENT, make_portrait((1, 8, 8), [0, 1, 2]))
    outline = check(page, 3)
    assert outline.sections == ["summary", "troubles", "components", "training", "config"]
    assert "discriminator loss" not in " ".join(outline.text)


def test_every_term_of_the_losses_has_a_chart_in_its_own_unit(make_lines, make_portrait, make_settings):
    config, spec = make_settings((1, 8, 8), 3)
    lines, portrait = make_lines(3), make_portrait((1, 8, 8), [0, 1, 2])
    page = render(lines, config, spec, ENVIRONMENT, portrait)
    assert "bound: mean over" in page and page.count(">nats per row<") == 1 and "critic" not in page
    terms = {"<loss>": TermValues("", (1.5, 2.5, None)), "critic": TermValues("bits per pixel", (0.6, None, 0.4))}
    page = render([replace(line, terms=terms) for line in lines], config, spec, ENVIRONMENT, portrait)
    text = " ".join(check(page, 3).text)
    assert text.index("<loss>: mean over") < text.index("critic: mean over") < text.index("discriminator loss")
    assert page.count(">bits per pixel<") == page.count(">nats<") == 1 and "nats per row" not in page


def test_a_run_begun_by_an_older_version_shows_what_each_line_knows(make_lines, make_portrait, make_settings):
    config, spec = make_settings((1, 8, 8), 3)
    older = {"loss": TermValues("", (1.5, 2.5, 3.5))}
    lines = [replace(line, terms=older) if line.round < 3 else line for line in make_lines(3)]
    text = " ".join(check(render(lines, config, spec, {}, make_portrait((1, 8, 8), [0, 1, 2])), 3).text)
    assert "loss: mean over" in text and "bound: mean over" in text


@pytest.mark.parametrize("kind", ["grey", "D5", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("D1", "D2"))])
def test_dropped_and_empty_components_are_shown_as_they_are(make_lines, make_portrait, make_settings, kind):
    config, spec = make_settings(SHAPES[kind], 5)
    lines = make_lines(5, dropped=(1, 3))
    portrait = make_portrait(SHAPES[kind], [0, 2, 4], empty=(2,))
    text = " ".join(check(render(lines, config, spec, ENVIRONMENT, portrait), 3).text)
    assert "Component 4" in text and "Component 1 " not in text
    assert "Components 1, 3 no longer compete" in text


def test_a_portrait_of_components_that_all_own_nothing_is_drawn(make_lines, make_portrait, make_settings):
    for shape in ((1, 8, 8), (2,)):
        config, spec = make_settings(shape, 2)
        portrait = make_portrait(shape, [0, 1], empty=(0, 1))
        check(render(make_lines(2), config, spec, ENVIRONMENT, portrait), 2)


def test_a_run_under_way_says_so(make_lines, make_portrait, make_settings):
    config, spec = make_settings((2,), 3, rounds=8)
    lines = make_lines(3, rounds=3)
    portrait = make_portrait((2,), [0, 1, 2])
    text = " ".join(check(render(lines, config, spec, ENVIRONMENT, portrait), 3).text)
    assert "Round 3 of 8: the run is still going on, or was stopped" in text
    config, spec = make_settings((2,), 3, rounds=3)
    assert "All rounds are done (3 of 3)." in render(lines, config, spec, ENVIRONMENT, portrait)


def test_records_from_before_flows_were_kept_are_drawn_without(make_lines, make_portrait, make_settings):
    config, spec = make_settings((2,), 3)
    lines = [replace(line, flow_F3=()) for line in make_lines(3)]
    outline = check(render(lines, config, spec, ENVIRONMENT, make_portrait((2,), [0, 1, 2])), 3)
    assert "flow" not in outline.sections


def test_names_from_the_data_are_text_and_nothing_else(make_lines, make_portrait, make_settings):
    evil = "<script>alert(1)</script>"
    config, spec = make_settings((2,), 3, classes=[evil, "$x$", "&amp;"])
    lines = make_lines(3, classes=3)
    page = render(lines, config, spec, {evil: evil}, make_portrait((2,), [0, 1, 2]))
    outline = check(page, 3)
    assert evil in outline.text and "&amp;" in outline.text and "<script>" not in page


def test_a_part_of_a_large_data_set_is_said_to_be_one(make_lines, make_portrait, make_settings):
    config, spec = make_settings((2,), 2)
    portrait = replace(make_portrait((2,), [0, 1]), num_rows=10**9, num_read=2_000_000, num_searched=20_000)
    text = " ".join(" ".join(check(render(make_lines(2), config, spec, {}, portrait), 2).text).split())
    assert "among 20,000 of 1,000,000,000 rows" in text and "from 2,000,000 rows in blocks drawn at random" in text


@pytest.mark.slow
def test_large_colour_images_of_noise_stay_within_bounds(make_lines, make_portrait, make_settings):
    shape, K = (3, 64, 64), 15
    todo = amounts(shape, K)
    config, spec = make_settings(shape, K)
    portrait = make_portrait(shape, range(K), num=todo.shown)
    check(render(make_lines(K, rounds=1), config, spec, {}, portrait), K)


def test_a_page_repeats_to_the_same_text(make_lines, make_portrait, make_settings):
    config, spec = make_settings((2,), 2)
    pages = [render(make_lines(2), config, spec, {}, make_portrait((2,), [0, 1])) for _ in range(2)]
    assert pages[0] == pages[1]
    assert np.unique(re.findall(r'<clipPath id="([^"]*)"', pages[0])).size == pages[0].count("<clipPath id=")
