"""Reports of one connection, one after the other."""

from msgspec.structs import replace

from schemas.report import Report


def test_a_cap_is_still_known_when_what_came_last_sent_nothing() -> None:
    nothing = Report(connection="slack", destination="slack")
    sent = replace(nothing, cap="100/s", requests=3)
    assert ("100/s", 3) == (sent.after(nothing).cap, sent.after(nothing).requests)
    assert "100/s" == nothing.after(sent).cap
    assert "50/s" == sent.after(replace(nothing, cap="50/s")).cap
