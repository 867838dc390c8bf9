"""The HTML report: whole in itself, everything said in it escaped, readable at any width, and never lost to a figure."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from reports import figures
from reports.__main__ import main
from reports.page import bar, page
from tests.runs import small_record, small_run

TEMPLATE = Path(figures.__file__).parents[1] / "template"
EVIL = "<script>alert('evil')</script> & $x$"
WINDOW = {
    "direction": EVIL,
    "width": None,
    "largest coherent effect": None,
    "points": [{"strength": 0.5, "effect": None, "inside band": 1.0, "coherent": True, "beyond random": True}],
}


class Elements(HTMLParser):
    """Start tags of a page, with their attributes, and whether each that needs an end has one."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.stray: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.stray.append(tag)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def evil_run() -> Any:
    dose = small_record(family="dose_response", case=EVIL, reason=EVIL, verdict="refuted", details={"windows": [WINDOW], "as shown": EVIL})
    other = small_record(case="two", details={"words": [{"emotion": EVIL, "promoted": [EVIL], "suppressed": ["|"]}]})
    run = small_run(dose, other, complete=False, incomplete_because=(EVIL,))
    return run, [{"claim": other.claim, "case": "two", "id": EVIL, "texts": [EVIL]}]


def test_what_a_model_says_is_shown_and_never_run() -> None:
    run, samples = evil_run()
    run.subject["model"] = EVIL
    text = page(run, samples)
    found = Elements(text)
    assert len(found.of("script")) == 1
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert") >= 8
    assert not found.stray
    assert not found.open
    assert not [key for _, attributes in found.found for key in attributes if key.startswith("on")]


def test_the_page_fetches_nothing_and_forbids_it() -> None:
    text = page(*evil_run())
    for _, attributes in Elements(text).found:
        for key in ("src", "href", "xlink:href", "srcset", "action"):
            assert re.match("#|data:,", attributes.get(key) or "#")
    assert not re.search(r"@import|url\((?!#)", text)
    assert "default-src 'none'" in text


def test_ids_are_unique_and_every_link_leads_somewhere() -> None:
    windows = {"windows": [{**WINDOW, "direction": "calm"}]}
    records = [small_record(family="dose_response", case=c, details={**windows, "x": c}) for c in ("a", "b")]
    found = Elements(page(small_run(*records, small_record())))
    ids = [attributes["id"] for _, attributes in found.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {str(a.get("href"))[1:] for tag in ("a", "use") for a in found.of(tag)}
    assert links <= set(ids)


def test_tables_have_captions_and_scopes_and_headings_skip_no_level() -> None:
    found = Elements(page(*evil_run()))
    assert len(found.of("table")) == len(found.of("caption"))
    assert all(a.get("scope") in ("row", "col") for a in found.of("th"))
    levels = [int(tag[1]) for tag, _ in found.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"complete": False, "incomplete_because": ("--limit 2",)}, "--limit 2"),
        ({"suite": {"version": "1", "commit": None, "dirty": True}}, "changed since its commit"),
        ({"subject": {**small_run().subject, "stimuli": "world"}}, "The planted world"),
    ],
)
def test_what_lowers_trust_is_said_on_top(changes: dict[str, Any], said: str) -> None:
    text = page(small_run(**changes))
    assert 0 < text.index(said) < text.index('id="families"')
    assert said not in page(small_run())


def test_a_figure_that_breaks_is_a_line_that_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> str:
        raise ZeroDivisionError("no paper left")

    monkeypatch.setitem(figures.DRAWN, "separation", (figures.Kind(broken, "broken", "broken"),))
    assert "The figure could not be drawn: ZeroDivisionError: no paper left" in page(small_run())


def test_details_without_a_figure_to_draw_lose_no_report() -> None:
    names = [None, {}, {"cosines": [[None]], "emotions": ["a"]}, {"scatter": [[None] * 3], "circumplex": [[0.1, 0.2]], "emotions": ["a"]}]
    empty = dict.fromkeys(("rate", "low", "high", "difference", "difference low", "difference high"))
    rates = {"rates": [{"arm": "none", "misdeeds": 0, "readable": 0, **empty}]}
    conditions = {"conditions": [{"direction": "calm", "strength": 0.1, "act": None, "control": None, "net": None, "coherent": None}]}
    risk = {"risk": {"value": None, "direction": None, "random": None, "slopes": {"+calm": None}}}
    records = [
        small_record(family=family, case=f"{family}-{i}", details=details, items=[{"id": "a", "score": None, "lift": None, "elo": None}])
        for family in figures.DRAWN
        for i, details in enumerate([*names, rates, conditions, risk])
        if i < 2 or family in ("geometry", "circumplex", "blackmail")
    ]
    assert "could not be drawn" not in page(small_run(*records))


def luminance(colour: str) -> float:
    """Return the relative luminance of #rrggbb or #rgb (WCAG 2.2)."""
    colour = colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colours, 1 to 21 (WCAG 2.2, 1.4.3)."""
    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def test_words_stand_out_from_the_page_in_light_and_dark_and_in_print() -> None:
    themes = re.findall(r":root \{(.*?)\}", (TEMPLATE / "report.css").read_text("utf-8"), re.DOTALL)
    assert len(themes) == 3
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for theme in themes:
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6});", theme))
        grounds = {colours.pop("paper"), colours.pop("raised")}
        del colours["line"]  # it parts rows and carries no word
        assert set(colours) >= {"ink", "muted", "warm", "cool", "supported", "refuted", "inconclusive"}
        low = {name: min(contrast(colour, ground) for ground in grounds) for name, colour in colours.items()}
        assert min(low.values()) >= 4.5, low


def test_a_bar_ends_where_its_scale_ends() -> None:
    found = bar(0.0, -3.0, 1.0)
    assert found is not None
    assert (found.low, found.high) == (0.0, 100.0)
    assert found.at == pytest.approx(found.zero, abs=0.01)
    assert bar(None, 0.0, 1.0) is None


def test_the_command_writes_beside_the_run_or_where_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.json").write_text(json.dumps(small_run().plain()), "utf-8")
    assert main(["html", str(tmp_path)]) == 0
    assert main(["html", str(tmp_path / "run.json"), "--output", str(tmp_path / "x.html")]) == 0
    assert (tmp_path / "report.html").read_text("utf-8") == (tmp_path / "x.html").read_text("utf-8")
    assert main(["html", str(tmp_path), "--output", str(tmp_path / "none" / "x.html")]) == 4
    assert "--output" in capsys.readouterr().err


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MEASURE = """<script>
const frame = document.createElement("iframe");
frame.style = "width:390px;height:844px;border:0";
frame.srcdoc = %s;
frame.onload = () => {
  const inner = frame.contentDocument;
  inner.querySelectorAll("details").forEach((one) => (one.open = true));
  const fetched = frame.contentWindow.performance.getEntriesByType("resource").length;
  const over = inner.documentElement.scrollWidth - inner.documentElement.clientWidth;
  document.title = JSON.stringify({over, fetched, drawn: inner.querySelectorAll("figure svg").length});
};
document.documentElement.append(frame);
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
def test_a_browser_shows_it_on_a_phone_without_errors_or_requests_or_sideways_scrolling(tmp_path: Path) -> None:
    text = page(*evil_run())
    (tmp_path / "outer.html").write_text("<!doctype html><title></title>" + MEASURE % json.dumps(text).replace("</", "<\\/"), "utf-8")
    command = [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={tmp_path}"]
    done = subprocess.run(
        [*command, "--dump-dom", f"file://{tmp_path}/outer.html"], capture_output=True, text=True, timeout=300, check=True
    )
    found = re.search(r"<title>(\{.*?\})</title>", done.stdout)
    assert found
    assert json.loads(found[1]) == {"over": 0, "fetched": 0, "drawn": 1}
    assert "CONSOLE" not in done.stderr
