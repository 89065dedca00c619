"""A log of events in which anything may happen to people and accounts, and what three vendors are to know of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from pipeline.cli import main
from sandbox.testing import RunningSandbox
from schemas.calls import Identifier
from tests.engines.world import until
from tests.pipeline.killing import known_by, text
from tests.pipeline.running import Event, profile, score, vip, write_events
from tests.transforms.logic.model import Model, latest

SEEDS = (1, 2, 3)
PEOPLE = 12  # of each seed; the last one is forgotten
ACCOUNTS = 3
FORGOTTEN = f"p{PEOPLE - 1}."
SECRETS = {"BRAZE_API_KEY": "braze-key", "ADS_TOKEN": "very-secret-token"}
Known = dict[str, Any]

WORKSPACE = """\
workspace: shop
computations:
  - {name: Vip, kind: audience}
  - {name: Score, kind: trait}
  - {name: At risk, kind: audience, level: account}
  - {name: Seats, kind: trait, level: account}
connections:
  - name: braze
    destination: braze
    settings: {endpoint: "https://rest.fra-01.braze.eu", api_key: "${BRAZE_API_KEY}"}
    syncs:
      - {computation: vip, as: identify}
      - {computation: score, as: identify}
      - {computation: seats, as: identify, expand: users}
  - name: hook
    destination: webhook
    settings: {url: "https://hook.example/in"}
    syncs:
      - {computation: vip, as: [identify, track]}
      - {computation: score, as: identify}
      - {computation: at_risk, as: group}
      - {computation: seats, as: group}
  - name: ads
    destination: facebook-custom-audiences
    settings: {ad_account_id: "1", access_token: "${ADS_TOKEN}"}
    syncs: [{computation: vip}, {computation: at_risk}]
"""


# -- the log, and what should come of it


def history(seed: int) -> list[Event]:
    """People and accounts to whom anything may happen, each thing at some hour of two days; one is forgotten."""
    chance = Random(seed)
    accounts = [f"s{seed}a{number}." for number in range(ACCOUNTS)]

    def at(first: int = 0) -> str:
        hour = chance.randrange(first, 48)
        return f"2026-01-{1 + hour // 24:02}T{hour % 24:02}:00:00Z"

    def happens(who: str) -> Event:
        email = f"{who}{chance.randrange(3)}@example.com"
        removal = {"type": "profile", "profile_id": who, "removed_ids": [{"type": "email", "id": email}]}
        member, account = chance.random() < 0.6, chance.choice(accounts)
        joins = {"type": "account_member", "profile_id": who, "account_id": account, "member": member}
        found: list[Event] = [
            profile(who, "", email), removal, vip(who, "", member), vip(who, "", member), joins,
            score(who, "", chance.choice([None, 1, 2.5, "gold", ["a", 7]])),
        ]  # fmt: skip
        return {**chance.choice(found), "at": at(first=1)}

    events: list[Event] = []
    for number in range(PEOPLE):
        who = f"s{seed}p{number}."
        events += [profile(who, "2026-01-01T00:00:00Z"), *(happens(who) for _ in range(10))]
    for each in accounts:
        of_account = {"type": "audience", "account_id": each, "computation": "at_risk"}
        events += [{**of_account, "member": chance.random() < 0.6, "at": at()} for _ in range(3)]
        of_account = {"type": "trait", "account_id": each, "computation": "seats"}
        events += [{**of_account, "value": chance.randrange(9), "at": at()} for _ in range(3)]
    forgotten = {"type": "delete", "profile_id": f"s{seed}{FORGOTTEN}", "at": "2026-01-03T00:00:00Z"}
    return [*events, forgotten]


def shuffled(name: object) -> tuple[list[Event], list[Event]]:
    """The log of all seeds in another order for each name, some of it twice, in two parts."""
    chance = Random(str(name))
    events = [event for seed in SEEDS for event in history(seed)]
    events += chance.choices(events, k=len(events) // 2)
    chance.shuffle(events)
    return events[: len(events) // 2], events[len(events) // 2 :]


def wanted(events: Sequence[Event]) -> dict[str, Known]:
    """What the webhook is to know, by the slow model of the rules."""
    found: dict[str, Known] = {}
    for who in sorted({event.get("profile_id", "") for event in events} - {""}):
        model = Model()
        model.events = [
            {"external_ids": [], "removed_ids": [], **event, "profile_id": "ana"}
            for event in events
            if event.get("profile_id") == who
        ]
        facts = {key: model.value(key) for key in ("vip", "score")}
        known = {key: fact[1] for key, fact in facts.items() if fact and fact[1] not in (None, False)}
        if known:
            found |= {text({_kind(each): each.id}): known for each in model.identifiers()}
    for account in sorted({event.get("account_id", "") for event in events} - {""}):
        about = [event for event in events if event.get("account_id") == account and "computation" in event]
        facts = {key: latest(about, key) for key in ("at_risk", "seats")}
        if known := {key: fact[1] for key, fact in facts.items() if fact and fact[1] is not False}:
            found[text({"groupId": account})] = known
    return found


def _kind(identifier: Identifier) -> str:
    return {"user_id": "userId"}.get(identifier.type, identifier.type)


# -- what the vendors know


def known(vendors: RunningSandbox, expected: dict[str, Known]) -> Known:
    """What is determined by what the webhook is to know, whenever and how often the vendors were told.

    Whom nothing was told of is not told that it is over. An address that was taken away keeps the traits that it was
    told before, and is in nothing.
    """
    there = {each for whom in expected for each in json.loads(whom).values()}

    def determined(person: Known) -> Known:
        values = {key: value for key, value in person["values"].items() if key not in person["identifiers"]}
        if there & {*person["identifiers"].values()}:
            return {key: value for key, value in values.items() if value is not False}
        return {key: value for key, value in values.items() if value is True}

    return known_by(vendors, determined)


def knows(vendors: RunningSandbox, events: Sequence[Event]) -> None:
    """Wait until the webhook knows what these events say."""
    expected = wanted(events)
    until(lambda: known(vendors, expected).get("webhook", ({},))[0] == expected)


def by_runs(root: Path, vendors: RunningSandbox, order: int) -> None:
    """Two, hours apart."""
    for number, part in enumerate(shuffled(("run", order))):
        file = write_events(root / f"{number}.jsonl", *part)
        arguments = ["--workspace", root / "workspace.yaml", "--state", root / "state", "--gateway", vendors.url]
        arguments += ["--now", f"2026-02-01T{6 * number:02}:00:00Z", *([] if number else ["--new-state"])]
        assert main(["run", *map(str, arguments), "--events", str(file)]) in (0, 4)


def waiting(status: dict[str, Any]) -> int:
    return sum(each["waiting"] for each in status["connections"].values())
