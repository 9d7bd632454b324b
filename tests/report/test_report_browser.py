"""The pages in a real browser: nothing runs, nothing is fetched, no error, everything is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.cli.reporting import side_of, write_matrix, write_report
from harness.record.events import NodePlaced
from harness.report.compare import compare
from harness.report.page import comparison_page

NASTY = "\"'><script>window.pwned=1</script><img src=x onerror=window.pwned=1></style></title></svg>"
DRAWN = """[...document.querySelectorAll('figure')].map(figure => {
  const title = figure.querySelector('.title')?.textContent ?? 'topology';
  const marks = [...figure.querySelectorAll('svg.chart path.line, svg.chart circle.dot, svg.chart path.node')];
  return [title, marks.filter(mark => {
    const box = mark.getBoundingClientRect(), colour = getComputedStyle(mark);
    const shown = colour.stroke !== 'none' || colour.fill !== 'none';
    return shown && box.width + box.height > 2 && box.width <= innerWidth;
  }).length];
})"""


@pytest.fixture
def report(write_run: Any, events: Any) -> Path:
    return write_report(write_run("chaos-7f3a", events()))


def test_a_report_is_drawn_without_a_word_on_the_console(browser: Any, report: Path) -> None:
    browser.open(report)
    assert browser.said == []
    assert browser.asked == [report.as_uri()]
    drawn = dict(browser.evaluate(DRAWN))
    assert set(drawn) == {
        "Block intervals", "Heights", "Blocks behind the highest", "Throughput of transactions",
        "Latency of transactions", "topology",
    }  # fmt: skip
    assert all(drawn.values()), drawn
    assert drawn["Heights"] == 4 and drawn["Latency of transactions"] == 3
    assert browser.evaluate("document.querySelectorAll('figure svg .band.fault').length") == 10
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_on_a_wide_screen_no_table_is_cut_off(browser: Any, write_run: Any, events: Any, tmp_path: Path) -> None:
    folder = "/home/somebody/networks/runs/2026-01-31T12-00-00-chaos-7f3a/nodes"
    names = ("validator-0", "validator-1")
    placed = [(2.0, NodePlaced(name, f"{folder}/{name}", ("cd", f"{folder}/{name}"))) for name in names]
    browser.open(write_report(write_run("chaos-7f3a", sorted([*events(), *placed], key=lambda pair: pair[0]))))
    browser.screenshot(tmp_path / "shot.png", 1300, 900)
    wide = "[...document.querySelectorAll('.scroll:has(table)')]"
    assert browser.evaluate(f"{wide}.length") > 0
    assert browser.evaluate(f"{wide}.filter(e => e.scrollWidth > e.clientWidth).length") == 0


def test_it_fits_a_narrow_screen_and_follows_the_scheme(browser: Any, report: Path, tmp_path: Path) -> None:
    browser.open(report)
    colours = []
    for dark in (False, True):
        browser.screenshot(tmp_path / "shot.png", 420, 900, dark=dark)
        assert browser.evaluate("document.documentElement.scrollWidth") <= 420
        colours.append(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert colours[0] != colours[1]


def test_hostile_texts_are_shown_and_do_nothing(browser: Any, write_run: Any, events: Any, tmp_path: Path) -> None:
    names: dict[str, str] = {}
    hostile = events(lambda text: names.setdefault(text, f"{NASTY}{len(names)}"))
    one, other = write_run("hostile-7f3a", hostile), write_run("chaos-7f3a", events())
    compared = tmp_path / "compared.html"
    compared.write_text(comparison_page(compare(side_of(one), side_of(other))), encoding="utf-8")
    for page in (write_report(one), write_matrix([one, other]), compared):
        browser.open(page)
        assert browser.evaluate("typeof window.pwned") == "undefined"
        assert browser.evaluate("document.querySelectorAll('script, img').length") == 0
        assert "<script>window.pwned=1</script>" in browser.evaluate("document.body.textContent")
        assert browser.said == [] and browser.asked == [page.as_uri()]


def test_the_browser_would_have_told(browser: Any, tmp_path: Path) -> None:
    """What the tests above look for is seen where it is."""
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><meta charset=utf-8><title>x</title>"
        "<script>window.pwned=1; console.error('x')</script><img src=y>"
    )
    browser.open(page)
    assert browser.evaluate("window.pwned") == 1
    assert browser.said and len(browser.asked) == 2


def test_a_matrix_is_drawn(browser: Any, write_run: Any, events: Any) -> None:
    runs = [
        write_run(f"load-000{n}", events(rate=rate, matrix={"id": "load-1", "number": n, "of": 2}), rate=rate)
        for n, rate in ((1, 5), (2, 20))
    ]
    browser.open(write_matrix(runs))
    drawn = dict(browser.evaluate(DRAWN))
    assert drawn["transactions: achieved against offered"] == 3 + 2 + 2  # lines, and points
    assert drawn["transactions: latency against offered"] == 2 + 4
    assert browser.said == []
