"""The fake Floodlight tag."""

from typing import Any

TAG = "https://ad.doubleclick.net/ddm/activity/src=1;type=group;cat=act;dc_rdid=d1;u1=vips;ord={}"
AGENT = {"user-agent": "Mozilla/5.0"}


def test_a_repeat_is_counted_once(sandbox: Any, gateway: Any) -> None:
    for number in (7, 7, 8):
        assert 200 == gateway.send("GET", TAG.format(number), headers=AGENT).status_code
    [account] = sandbox.told("doubleclick-floodlight", "d1")
    assert [("group/act", 1), ("group/act", 0)] == [(each["name"], each["repeats"]) for each in account["events"]]


def test_a_tag_without_a_device_or_its_browser_is_refused(gateway: Any) -> None:
    assert 400 == gateway.send("GET", TAG.format(7).replace("dc_rdid=d1;", ""), headers=AGENT).status_code
    assert 400 == gateway.send("GET", TAG.format(7), headers={"user-agent": "curl/8"}).status_code
    assert 400 == gateway.send("GET", TAG.format(7).replace("vips", "%3Cb%3E"), headers=AGENT).status_code
