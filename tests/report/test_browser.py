"""Pages in a real browser: nothing fails, every picture loads, nothing is wider than the window."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from raymix.cli import main
from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.report.page import render
from raymix.report.search_page import render_search
from raymix.report.trials import Trial

WIDTHS = (360, 1440)
QUICK = [
    "--workers=local",
    "--rounds=2",
    "--schedule.pretrain-epochs=1",
    "--schedule.epochs-per-round=1",
    "--discriminator.epochs=1",
    "--resources.fused=true",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium on this machine (the Debian package is `chromium`)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


def look(browser: Browser, page: Path, width: int, scheme: str = "light") -> dict[str, int]:
    """Open a page in a window of this width. Returns how much of what is on it, and what it measures."""
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    tab, faults, asked = context.new_page(), [], []
    tab.on("console", lambda message: faults.append(message.text))
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("requestfailed", lambda request: faults.append(request.url[:100]))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.as_uri())
    tab.wait_for_load_state("networkidle")
    found: dict[str, int] = tab.evaluate(
        """async () => {
            const blanks = [...document.images].filter(image => !image.naturalWidth);
            const figures = [...document.querySelectorAll('svg.figure')];
            const embedded = [...document.querySelectorAll('svg image')];
            const loads = await Promise.all(embedded.map(image => new Promise(done => {
                const copy = new Image();
                copy.onload = () => done(copy.naturalWidth > 0);
                copy.onerror = () => done(false);
                copy.src = image.href.baseVal.trim();
            })));
            return {
                images: document.images.length, blank: blanks.length,
                figures: figures.length,
                flat: figures.filter(figure => !figure.getBoundingClientRect().height).length,
                embedded: embedded.length, broken: loads.filter(loaded => !loaded).length,
                width: document.documentElement.scrollWidth,
            };
        }"""
    )
    context.close()
    assert faults == []
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]
    assert found["blank"] == found["flat"] == found["broken"] == 0
    assert found["width"] <= width
    return found


@pytest.fixture(scope="module")
def reports(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of two small runs, one of images and one in the plane."""
    folder = tmp_path_factory.mktemp("pages")
    for recipe, rows in (("digits", 400), ("synthetic-3", 300)):
        out, settings = folder / recipe, [f"--data.num-rows={rows}", "--resources.pack=10", "--discriminator.body=auto"]
        assert main(["train", recipe, *QUICK, *settings, "--out", str(out)]) == 0
    return {recipe: folder / recipe / "report.html" for recipe in ("digits", "synthetic-3")}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_a_run_on_images(browser: Browser, reports: dict[str, Path], width: int, scheme: str) -> None:
    found = look(browser, reports["digits"], width, scheme)
    assert found["images"] == 10 * (3 + 5) and found["figures"] == 10 + 2 + 3 + 3


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_of_a_run_in_the_plane(browser: Browser, reports: dict[str, Path], width: int) -> None:
    found = look(browser, reports["synthetic-3"], width)
    assert found["images"] == 0 and found["figures"] == 3 * 3 + 2 + 3 + 3 + 2 and found["embedded"] >= 3 * 2 + 2


@pytest.mark.parametrize(
    "shape", [pytest.param((3, 20, 30), marks=pytest.mark.slow), pytest.param((5,), marks=pytest.mark.slow)]
)
def test_a_page_of_15_components_with_long_names(
    browser: Browser, make_lines, make_portrait, make_settings, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    classes = [f"a class with a long name, {'x' * 40} {c}" for c in range(12)]
    config, spec = make_settings(shape, 15, classes=classes)
    lines = make_lines(15, classes=12)
    lines[-1] = replace(lines[-1], warnings=("something went wrong in " + "a/very/long/path/" * 10,))
    environment = {"packing": "measured " + "x" * 200}
    page = tmp_path / "report.html"
    page.write_text(render(lines, config, spec, environment, make_portrait(shape, range(15))))
    for width in WIDTHS:
        look(browser, page, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_of_a_search_fits(browser: Browser, width: int, tmp_path: Path) -> None:
    trials = [
        Trial(f"t{i}", {"num_components": 2**i, "width": 16}, 8 - i % 2, 8, -3.0 + i, 2**i, 1000, 5000, 1e9, 60.0)
        for i in range(4)
    ]
    page = tmp_path / "search.html"
    spec = DataSpec("synthetic-5", 1_800, (2,), "float32")
    page.write_text(render_search(trials, "kde_log_likelihood", Config(), spec, None))
    assert look(browser, page, width)["figures"] == 4
