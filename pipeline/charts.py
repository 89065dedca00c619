"""Charts of a report, as SVG."""

import re
from collections.abc import Sequence
from datetime import date, timedelta

from pipeline.report_data import Audience
from schemas.report import Report
from schemas.workspace import UNITS

_WIDTH, _HEIGHT, _LEFT, _BELOW = 900, 140, 44, 18
_CAP = re.compile(r"([\d.]+)/([smhd])")
_MOST_DAYS = 180


def bar(parts: Sequence[tuple[int, str]]) -> str:
    """One bar, its parts by their numbers. Colours are those of the page."""
    total, at = sum(number for number, _ in parts), 0.0
    found = []
    for number, colour in parts:
        if number:
            width = _WIDTH * number / total
            found.append(f'<rect x="{at:.1f}" width="{width:.1f}" height="10" fill="var(--{colour})"/>')
            at += width
    return _svg(10, found) if found else ""


def cap_of(report: Report) -> float:
    """Requests per second; 0: there is no such cap."""
    match = _CAP.fullmatch(report.cap)
    return float(match[1]) / UNITS[match[2]] if match else 0.0


def rate_chart(report: Report) -> str:
    """Requests per second; the cap, and what was learned of it, as lines; throttled ones as red marks."""
    cap = cap_of(report)
    rates = [(at, width, requests / width, throttled) for at, width, requests, throttled in report.traffic]
    top = max([cap, *(rate for _, _, rate, _ in rates)]) or 1.0
    end = max([report.seconds, *(at + width for at, width, _, _ in rates)]) or 1.0

    def x(seconds: float) -> float:
        return _LEFT + (_WIDTH - _LEFT) * min(max(seconds / end, 0.0), 1.0)

    def y(rate: float) -> float:
        return _HEIGHT * (1 - rate / top * 0.95)

    found = [
        f'<rect x="{x(at):.1f}" y="{y(rate):.1f}" width="{max(x(at + width) - x(at), 1):.1f}" '
        f'height="{_HEIGHT - y(rate):.1f}" fill="#7fa7d6"/>'
        for at, width, rate, _ in rates
        if rate
    ]
    if cap:
        found.append(_line([(x(0), y(cap)), (x(end), y(cap))], "var(--ink)", dashed=True))
        found.append(f'<text x="0" y="{y(cap) + 4:.1f}">{report.cap}</text>')
        steps = _steps([(at, share * cap) for at, share, _ in report.curve], cap, end)
        if report.curve:
            found.append(_line([(x(at), y(rate)) for at, rate in steps], "var(--wait)"))
    found += [
        f'<circle cx="{x(at + width / 2):.1f}" cy="6" r="4" fill="var(--bad)"><title>{throttled} answered 429'
        f"</title></circle>"
        for at, width, _, throttled in rates
        if throttled
    ]
    found += [f'<text x="{_LEFT}" y="{_HEIGHT + 13}">0 s</text>', _at_end(f"{end:.0f} s")]
    return _svg(_HEIGHT + _BELOW, found)


def _steps(points: Sequence[tuple[float, float]], first: float, end: float) -> list[tuple[float, float]]:
    """The corners of a line that stays as it is until the next point."""
    found, before = [(0.0, first)], first
    for at, rate in points:
        found += [(at, before), (at, rate)]
        before = rate
    return [*found, (end, before)]


def audience_chart(audience: Audience, today: date) -> str:
    """How many members there were at the end of each day, up to today."""
    begin = max(min(audience.sizes), today - timedelta(days=_MOST_DAYS - 1))
    span = (max(today, begin) - begin).days + 1
    before = [day for day in audience.sizes if day <= begin]
    size = audience.sizes[max(before)] if before else 0
    top, width, found = max([*audience.sizes.values(), 1]), (_WIDTH - _LEFT) / span, []
    for place in range(span):
        day = begin + timedelta(days=place)
        size = audience.sizes.get(day, size)
        height = size / top * (_HEIGHT - 10)
        found.append(
            f'<rect x="{_LEFT + place * width:.2f}" width="{width:.2f}" y="{_HEIGHT - height:.1f}" '
            f'height="{height:.1f}" fill="#7fa7d6"><title>{day}: {size:,}</title></rect>'
        )
    found += [f'<text x="0" y="14">{top:,}</text>', f'<text x="{_LEFT}" y="{_HEIGHT + 13}">{begin}</text>']
    return _svg(_HEIGHT + _BELOW, [*found, _at_end(str(today))])


def _line(points: Sequence[tuple[float, float]], colour: str, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    at = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="1.5"{dashes}/>'


def _at_end(words: str) -> str:
    return f'<text x="{_WIDTH}" y="{_HEIGHT + 13}" text-anchor="end">{words}</text>'


def _svg(height: int, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">{"".join(parts)}</svg>'
