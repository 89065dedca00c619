"""Lists over runs: each has its own interval, and a run says what it holds and until when."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.cli import main
from sandbox.testing import RunningSandbox, running_sandbox
from tests.pipeline.conftest import Shop
from tests.pipeline.running import Event, profile, summary_of, vip, write_events
from tests.sending.vendor_server import Answer, Seen
from tests.sending.vendor_server import vendor as serve

DAY_1, NOON = "2026-01-01T00:00:00Z", "2026-01-02T12:00:00Z"
WORKSPACE = """\
workspace: shop
computations:
  - {name: Vip, kind: audience}
  - {name: Risk, kind: audience}
connections:
  - name: ads
    destination: facebook-custom-audiences
    settings: {ad_account_id: "1", access_token: "${ADS_TOKEN}"}
    syncs: [{computation: vip}, {computation: risk}]
"""


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningSandbox]:
    monkeypatch.setenv("ADS_TOKEN", "very-secret-token")
    with running_sandbox() as sandbox:
        yield sandbox


def risk(who: str, at: str, member: bool = True) -> Event:
    return {**vip(who, at, member), "computation": "risk"}


def run(
    shop: Shop, vendor: RunningSandbox, now: str, *events: Event, workspace: str = WORKSPACE, more: tuple[str, ...] = ()
) -> dict[str, Any]:
    """One run's summary of the connection."""
    shop.workspace.write_text(workspace)
    path = write_events(shop.root / "events.jsonl", *events)
    common = ["--workspace", str(shop.workspace), "--state", str(shop.state), "--gateway", vendor.url]
    common += [] if shop.state.exists() else ["--new-state"]
    assert 0 == main(["run", *common, "--now", now, "--events", str(path), *more])
    found: dict[str, Any] = summary_of(shop.state)["connections"]["ads"]
    return found


def near(expected: str, actual: str) -> bool:
    """A run takes some seconds, and a list is due a little early."""
    return abs(datetime.fromisoformat(expected) - datetime.fromisoformat(actual)) < timedelta(seconds=20)


def test_a_run_says_which_audiences_are_too_small_for_their_vendor(
    shop: Shop, vendor: RunningSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    members = [each for n in range(100) for each in (profile(f"u{n}", DAY_1), vip(f"u{n}", DAY_1))]
    run(shop, vendor, "2026-01-02T00:00:00Z", *members, risk("u1", DAY_1))
    words = "ads: risk has 1 person; Facebook Custom Audiences uses a list from 100 members on"
    assert [words] == summary_of(shop.state)["small_lists"]
    assert [f"{words}."] == [line for line in capsys.readouterr().out.splitlines() if "100 members" in line]


def test_each_list_has_its_own_interval(shop: Shop, vendor: RunningSandbox) -> None:
    run(shop, vendor, "2026-01-02T00:00:00Z", profile("ana", DAY_1), vip("ana", DAY_1), risk("ana", DAY_1))
    run(shop, vendor, "2026-01-03T00:00:00Z", vip("ana", NOON, False))
    third = run(shop, vendor, "2026-01-03T00:30:00Z", risk("ana", NOON, False), vip("ana", "2026-01-02T13:00:00Z"))
    assert (1, 1) == (third["delivered"], third["scheduled"])
    assert near("2026-01-03T01:00:00Z", third["scheduled_until"])
    fourth = run(shop, vendor, "2026-01-03T01:00:00Z", risk("ana", "2026-01-02T14:00:00Z"))
    assert (1, 1) == (fourth["delivered"], fourth["scheduled"])
    assert near("2026-01-03T01:30:00Z", fourth["scheduled_until"])


def test_a_flush_that_was_cut_short_leaves_other_lists_their_interval(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADS_TOKEN", "very-secret-token")
    shop.workspace.write_text(WORKSPACE)

    def answer(seen: Seen) -> Answer:
        if "customaudiences" in seen.target:
            return Answer(json={"data": [{"name": "vip", "id": "11"}, {"name": "risk", "id": "22"}]})
        if "/11/users" in seen.target:
            return Answer(503)
        return Answer(json={"audience_id": "22", "num_received": 1, "num_invalid_entries": 0})

    with serve(answer) as server:
        common = [
            "--workspace",
            str(shop.workspace),
            "--state",
            str(shop.state),
            "--gateway",
            server.url,
            "--retry-for",
            "1s",
        ]
        first = write_events(
            shop.root / "1.jsonl", profile("ana", DAY_1), profile("eve", DAY_1), vip("eve", DAY_1), risk("ana", DAY_1)
        )
        main(["run", *common, "--new-state", "--now", "2026-01-02T00:00:00Z", "--events", str(first)])
        assert 1 == summary_of(shop.state)["connections"]["ads"]["delivered"]
        second = write_events(shop.root / "2.jsonl", profile("bob", DAY_1), risk("bob", DAY_1))
        main(["run", *common, "--now", "2026-01-02T00:10:00Z", "--events", str(second)])
        found = summary_of(shop.state)["connections"]["ads"]
        assert (0, 1) == (found["delivered"], found["scheduled"])  # `risk` was told ten minutes ago


def test_rows_that_match_nobody_are_said(
    shop: Shop, vendor: RunningSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    attached = 'access_token: "${ADS_TOKEN}"}\n    identifiers: {user_id: attach}'
    people = [profile("ana", DAY_1, "ana@x.io"), profile("bob", DAY_1), vip("ana", DAY_1), vip("bob", DAY_1)]
    found = run(shop, vendor, NOON, *people, workspace=WORKSPACE.replace('access_token: "${ADS_TOKEN}"}', attached))
    assert (2, [1]) == (found["delivered"], list(found["report"]["notes"].values()))
    printed = " ".join(capsys.readouterr().out.split())
    assert "1 delivered call of people of whom no address, number or device is known" in printed
    [audience] = [each for each in vendor.told("facebook-custom-audiences")[0]["lists"] if each["name"] == "vip"]
    assert [{"EXTERN_ID", "EMAIL"}] == [member.keys() for member in audience["members"]]
    assert [{"EXTERN_ID": "bob"}] == audience["unmatched"]


def test_an_address_stays_on_the_list_while_somebody_is_on_it_by_that(
    shop: Shop, vendor: RunningSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    only_emails = 'access_token: "${ADS_TOKEN}"}\n    identifiers: {user_id: none}'
    workspace = WORKSPACE.replace('access_token: "${ADS_TOKEN}"}', only_emails)
    people = [profile("ana", DAY_1, "family@x.io"), profile("bob", DAY_1, "family@x.io")]
    run(shop, vendor, "2026-01-02T00:00:00Z", *people, vip("ana", DAY_1), vip("bob", DAY_1), workspace=workspace)

    def on_the_list() -> int:
        return sum(len(each["members"]) for each in vendor.told("facebook-custom-audiences")[0]["lists"])

    run(shop, vendor, "2026-01-03T00:00:00Z", vip("ana", NOON, False), workspace=workspace)
    assert 1 == on_the_list()
    assert "1 removal from lists left out" in " ".join(capsys.readouterr().out.split())
    run(shop, vendor, "2026-01-04T00:00:00Z", vip("bob", NOON, False), workspace=workspace)
    assert 0 == on_the_list()


def test_what_waits_for_a_flush_says_until_when(
    shop: Shop, vendor: RunningSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    def now() -> str:
        return datetime.now(UTC).isoformat()

    run(shop, vendor, now(), profile("ana", DAY_1, "ana@x.example"), vip("ana", DAY_1))
    found = run(shop, vendor, now(), vip("ana", NOON, False))
    assert 2 == found["scheduled"]
    when = found["scheduled_until"].replace("T", " ")
    assert "  ads: 2 calls scheduled for the next flush" in capsys.readouterr().out.splitlines()
    place = ["--workspace", str(shop.workspace), "--state", str(shop.state)]
    assert 0 == main(["why", "ana", *place])
    assert f"the list is flushed next at {when}" in capsys.readouterr().out
    assert 0 == main(["plan", *place])
    told = capsys.readouterr().out
    assert f"ads: the list vip is flushed next at {when}" in told
    assert "ads: the list risk is flushed at once" in told
    assert 0 == main(["report", "--state", str(shop.state), "--out", str(shop.root / "report.html")])
    assert f"vip at {when}" in (shop.root / "report.html").read_text()


# -- one row for several people, or for several spellings

FAMILY, SHOUTED = "family@x.example", "Family@X.example"
ONE = WORKSPACE.replace("  - {name: Risk, kind: audience}\n", "").replace(", {computation: risk}", "")


def known_by(who: str, at: str, *emails: str, removed: tuple[str, ...] = ()) -> Event:
    ids, gone = ([{"type": "email", "id": each} for each in some] for some in (emails, removed))
    return {"type": "profile", "profile_id": who, "at": at, "external_ids": ids, "removed_ids": gone}


def rows(vendor: RunningSandbox) -> int:
    (its,) = (each for each in vendor.told()[0]["lists"] if each["name"] == "vip")
    return len(its["members"]) + len(its["unmatched"])


def test_a_row_is_gone_when_the_one_to_whom_it_was_left_leaves_before_the_flush(
    shop: Shop, vendor: RunningSandbox
) -> None:
    begin = [known_by("ana", DAY_1, FAMILY), known_by("bob", DAY_1, FAMILY), vip("ana", DAY_1)]
    run(shop, vendor, "2026-01-02T00:00:00Z", *begin, workspace=ONE)
    for minute, who, is_in in ((10, "bob", True), (20, "ana", False), (30, "bob", False)):
        event = vip(who, f"2026-01-02T00:{minute - 1}:00Z", is_in) if minute > 10 else vip(who, "2026-01-02T00:09:00Z")
        run(shop, vendor, f"2026-01-02T00:{minute}:00Z", event, workspace=ONE)
    assert 1 == rows(vendor)
    run(shop, vendor, "2026-01-02T02:00:00Z", workspace=ONE)
    assert 0 == rows(vendor)


def test_another_spelling_of_an_address_takes_nobody_off(shop: Shop, vendor: RunningSandbox) -> None:
    run(shop, vendor, "2026-01-02T00:00:00Z", known_by("ana", DAY_1, SHOUTED), vip("ana", DAY_1), workspace=ONE)
    changed = known_by("ana", "2026-01-02T02:00:00Z", FAMILY, removed=(SHOUTED,))
    run(shop, vendor, "2026-01-02T03:00:00Z", changed, workspace=ONE)
    run(shop, vendor, "2026-01-02T06:00:00Z", workspace=ONE)
    assert 1 == rows(vendor)
    run(shop, vendor, "2026-01-02T09:00:00Z", vip("ana", "2026-01-02T08:00:00Z", False), workspace=ONE)
    assert 0 == rows(vendor)


def test_two_people_may_spell_their_address_differently(shop: Shop, vendor: RunningSandbox) -> None:
    begin = [known_by("ana", DAY_1, SHOUTED), known_by("bob", DAY_1, FAMILY), vip("ana", DAY_1), vip("bob", DAY_1)]
    run(shop, vendor, "2026-01-02T00:00:00Z", *begin, workspace=ONE)
    assert 1 == rows(vendor)
    run(shop, vendor, "2026-01-02T03:00:00Z", vip("bob", "2026-01-02T02:00:00Z", False), workspace=ONE)
    assert 1 == rows(vendor)
    run(shop, vendor, "2026-01-02T06:00:00Z", vip("ana", "2026-01-02T05:00:00Z", False), workspace=ONE)
    assert 0 == rows(vendor)
