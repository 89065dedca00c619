"""`profilecast report`: a page that says what the summaries and the logs say, and nothing about people."""

import re
from datetime import date
from html.parser import HTMLParser

import pytest

from pipeline.charts import audience_chart, cap_of, rate_chart
from pipeline.report_data import Audience
from schemas.report import Report
from tests.pipeline.conftest import Shop
from tests.pipeline.running import profile, score, vip, workspace

Capture = pytest.CaptureFixture[str]
DAY_1, DAY_2 = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
ANA = (profile("ana-7", DAY_1, "ana@x.example"), vip("ana-7", DAY_1), score("ana-7", DAY_1, 98_989))
_EMPTY = ("meta", "rect", "circle", "polyline", "br")


class Whole(HTMLParser):
    """Whether every element ends; the text of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attributes: object) -> None:
        if tag not in _EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: object) -> None:
        """It ends at once."""

    def handle_endtag(self, tag: str) -> None:
        if tag not in _EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def report(shop: Shop, *more: str) -> str:
    path = shop.root / "report.html"
    assert 0 == shop.main("report", "--state", str(shop.state), "--out", str(path), *more)
    html = path.read_text()
    page = Whole()
    page.feed(html)
    assert ["html", "body"] == page.open
    assert not re.search(r"(src|href)=|@import|url\(|https?://", html)
    return " ".join(" ".join(page.text).split())


def test_the_counts_of_runs_are_on_the_page(shop: Shop) -> None:
    workspace(shop.workspace, "hook", cap="50/s")
    shop.run(*ANA)
    shop.receiver.answer = lambda host, message: 422
    shop.run(score("ana-7", DAY_2, 4712))
    text = report(shop)
    for words in ("4 events read", "8 calls made", "6 delivered", "2 rejected", "2 runs", "vip : 1 member"):
        assert words.replace(" :", ":") in text
    assert "8 requests, 1.0 calls in each" in text
    assert "invalid_value 2" in text
    assert "fix what the answer complains of, then profilecast replay" in text


def test_nobody_is_named(shop: Shop) -> None:
    shop.receiver.answer = lambda host, message: 422
    shop.run(*ANA)
    text = report(shop)
    for personal in ("ana-7", "ana@x.example", "98989"):  # no hour, minute or second of a run is 98
        assert personal not in text


def test_what_needs_somebody_and_what_waits_stands_at_the_top(shop: Shop) -> None:
    shop.receiver.answer = lambda host, message: 401
    shop.run(*ANA)
    text = report(shop)
    assert "hook 6 20" in text
    assert "stopped: " in text


def test_deletions_that_are_owed_are_counted(shop: Shop) -> None:
    shop.run(*ANA)
    assert "deletions owed" in report(shop)


def test_a_run_can_be_chosen(shop: Shop, capsys: Capture) -> None:
    shop.run(*ANA)
    shop.run(score("ana-7", DAY_2, 4712))
    name = min(path.name for path in (shop.state / "runs").iterdir())
    assert "3 events read" in report(shop, "--run", name)
    assert "None in this time." in report(shop, "--since", "2100-01-01T00:00:00Z")
    assert 1 == shop.main("report", "--state", str(shop.state), "--run", "20200101T000000Z")
    assert "there is no such run" in capsys.readouterr().err


def test_without_a_state_there_is_no_report(shop: Shop, capsys: Capture) -> None:
    assert 1 == shop.main("report", "--state", str(shop.state))
    assert "there is no state here" in capsys.readouterr().err


@pytest.mark.parametrize(("cap", "rate"), [("100/s", 100.0), ("600/m", 10.0), ("none", 0.0), ("5 per 7 s", 0.0)])
def test_a_cap_is_read_as_it_is_written(cap: str, rate: float) -> None:
    assert rate == cap_of(Report(connection="hook", destination="webhook", cap=cap))


def test_the_chart_of_a_rate_shows_throttled_requests_and_learned_caps() -> None:
    told = Report(
        connection="hook", destination="webhook", cap="100/s", seconds=4.0, curve=[(2.0, 0.5, "429")],
        traffic=[(0.0, 1.0, 90, 0), (1.0, 1.0, 80, 3), (2.0, 1.0, 0, 0), (3.0, 1.0, 40, 0)],
    )  # fmt: skip
    chart = rate_chart(told)
    assert 3 == chart.count('fill="#7fa7d6"')
    assert "3 answered 429" in chart
    assert 2 == chart.count("<polyline")


def test_the_chart_of_an_audience_has_each_day() -> None:
    audience = Audience({date(2026, 1, 1): 2, date(2026, 1, 3): 5})
    chart = audience_chart(audience, date(2026, 1, 4))
    for words in ("2026-01-01: 2<", "2026-01-02: 2<", "2026-01-03: 5<", "2026-01-04: 5<"):
        assert words in chart
    assert 4 == chart.count("<rect")


def test_of_a_long_time_the_last_days_are_shown() -> None:
    chart = audience_chart(Audience({date(2020, 1, 1): 7}), date(2026, 1, 4))
    assert 180 == chart.count("<rect")
    assert "2026-01-04: 7<" in chart
