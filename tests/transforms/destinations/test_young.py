"""What was just made at a vendor is waited for, and not for ever."""

from transforms.destinations.young import Young


def test_what_was_just_made_is_waited_for_some_minutes_with_growing_waits() -> None:
    young = Young()
    young.made("vips")
    waits = []
    while wait := young.wait("vips"):
        waits.append(wait)
    assert sorted(waits) == waits
    assert 60 <= sum(waits) <= 600
    assert "vips" in young, "another must not be made in its place"


def test_what_was_seen_or_not_made_here_is_not_waited_for() -> None:
    young = Young()
    assert young.wait("vips") is None
    young.made("vips")
    young.seen("vips")
    assert young.wait("vips") is None
    assert "vips" not in young
