"""The contract of destinations: every one is found by itself and asked the same questions, from its transcripts."""

import pickle
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, get_args

import msgspec
import pytest
from msgspec import structs

from schemas.secret import Secret
from tests.transforms.destinations.driver import DATA, cases, not_applicable
from transforms.destinations import catalogue
from transforms.destinations.contract import Destination, Form
from transforms.destinations.partners import PARTNERS
from transforms.destinations.transcripts import (
    Case,
    Question,
    Unwritten,
    calls,
    connect,
    filled,
    play,
    secret,
    variables,
)

# Of the partners, which are made alike from a table, the first; see test_partners.py for the others.
ALIKE = {partner.slug for partner in PARTNERS[1:]}
DESTINATIONS = [kind for slug, kind in catalogue().items() if slug not in ALIKE]
CASES = [(kind, file, case) for slug, kind in catalogue().items() for file, case in cases(slug)]


def over(found: Iterable[tuple[type[Destination], str, Case]]) -> pytest.MarkDecorator:
    params = [pytest.param(kind, case, id=f"{kind.slug}/{file}: {case.case}") for kind, file, case in found]
    return pytest.mark.parametrize(("kind", "case"), params)


every_destination = pytest.mark.parametrize("kind", DESTINATIONS, ids=[d.slug for d in DESTINATIONS])
every_case = over(CASES)


# -- conversations
@pytest.fixture
def destination(kind: type[Destination], case: Case, monkeypatch: pytest.MonkeyPatch) -> Destination:
    for name, value in variables(case.settings).items():
        monkeypatch.setenv(name, value)
    return connect(kind, case)


@every_case
def test_the_conversation_follows_the_transcript(destination: Destination, case: Case) -> None:
    played = play(destination, case)
    talk = [filled(step, destination, calls(case)) for step in case.talk]
    expected = [msgspec.to_builtins(step.send) for step in talk]
    actual = [msgspec.to_builtins(request) for request in played.sent]
    assert expected == actual
    assert _typed(expected) == _typed(actual), "equal for Python, not for JSON: true and 1, or 1 and 1.0"
    assert [step.means for step in case.talk if step.reply] == played.meanings
    assert case.expect == played.outcomes
    if case.memory_after is not None:
        assert case.memory_after == played.memory
    kept = [repr(destination.settings), destination.tenant(), destination.limit_group(), *played.spoken]
    shown = pickle.dumps(destination.settings) + "\n".join(kept).encode()
    assert [] == [name for name, value in variables(case.settings).items() if value.encode() in shown]


# What an answer may hold where something else is expected.
ODD: list[Any] = [None, 7, "x", True, [], {}, [None], [7], {"x": None}, -1.5]


@every_destination
def test_no_part_of_an_answer_is_taken_for_granted(kind: type[Destination], monkeypatch: pytest.MonkeyPatch) -> None:
    for _, case in cases(kind.slug):
        for name, value in variables(case.settings).items():
            monkeypatch.setenv(name, value)
        for number, step in enumerate(case.talk):
            if step.reply is None or step.reply.json is msgspec.UNSET:
                continue
            for path in paths(step.reply.json):
                for odd in ODD:
                    reply = structs.replace(step.reply, json=replaced(step.reply.json, path, odd))
                    talk = [*case.talk[:number], structs.replace(step, reply=reply), *case.talk[number + 1 :]]
                    told = structs.replace(case, talk=talk)
                    with suppress(Unwritten):
                        assert case.expect.keys() == play(connect(kind, told), told).outcomes.keys()


def paths(value: Any) -> Iterator[tuple[str | int, ...]]:
    """Of all parts of a JSON value, itself too."""
    yield ()
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from ((name, *rest) for rest in paths(part))


def replaced(value: Any, path: tuple[str | int, ...], part: Any) -> Any:
    """The value with another part."""
    if not path:
        return part
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], part)
    return copy


@over(found for found in CASES if found[2].covers == "missing_identifier")
def test_identifier_that_is_not_understood_costs_no_request(destination: Destination, case: Case) -> None:
    assert [] == case.talk
    assert {"rejected invalid_identifier"} == set(case.expect.values())
    assert set() == {call.identifier.type for call in case.calls.values()} & set(destination.identifiers)


@every_destination
def test_every_question_is_answered(kind: type[Destination]) -> None:
    assert (DATA / kind.slug).is_dir(), f"{kind.slug} has no transcripts: write tests/data/destinations/{kind.slug}/"
    questions = set(get_args(Question)) - {"other"}
    answered = {case.covers for _, case in cases(kind.slug)}
    waived = not_applicable(kind.slug)
    assert set() == questions - answered - set(waived), f"{kind.slug}: write a case, or a reason in not_applicable.yaml"
    assert set() == set(waived) - questions, f"{kind.slug}/not_applicable.yaml: no such question"
    assert set() == set(waived) & answered, f"{kind.slug}/not_applicable.yaml: there is a case for it"
    assert all(reason.strip() for reason in waived.values()), f"{kind.slug}/not_applicable.yaml: a reason is missing"


@every_destination
def test_deletion_is_asked_where_it_is_offered(kind: type[Destination]) -> None:
    assert kind.forgets == ("forget" not in not_applicable(kind.slug))


def test_every_folder_has_its_destination() -> None:
    assert set() == {folder.name for folder in DATA.iterdir() if folder.is_dir()} - set(catalogue())


# -- declarations
@every_destination
def test_names(kind: type[Destination]) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", kind.slug)
    module = "partners" if kind.slug == PARTNERS[0].slug else kind.slug.replace("-", "_")
    assert kind.__module__ == f"transforms.destinations.{module}"
    assert kind.name.strip()
    assert kind.page.startswith("https://")
    assert kind.forms
    assert set(kind.forms) <= set(get_args(Form))
    others = [name for other in DESTINATIONS if other is not kind for name in (other.slug, *other.aliases)]
    assert set() == {kind.slug, *kind.aliases} & set(others)


@every_destination
def test_identifiers(kind: type[Destination]) -> None:
    assert kind.identifiers
    assert all(kind.identifiers)
    assert len(kind.identifiers) == len(set(kind.identifiers))
    assert "*" not in kind.identifiers or ("*",) == kind.identifiers


@every_destination
def test_limits_have_a_source(kind: type[Destination]) -> None:
    for limit in kind.limits:
        assert limit.requests > 0
        assert limit.seconds > 0
        assert limit.source.strip(), f"where is it written? {limit}"
    assert kind.concurrency >= 1
    assert kind.batch.items >= 1
    assert kind.batch.bytes >= 1


@every_destination
def test_required_keys_say_what_fills_them(kind: type[Destination]) -> None:
    for key, alternatives in kind.required.items():
        assert key
        assert alternatives
        for parts in alternatives:
            assert parts, f"{key}: an empty alternative"
            assert all(re.fullmatch(r"[^:]+|email:local", part) for part in parts)


@every_destination
def test_lists_are_flushed_on_an_interval(kind: type[Destination]) -> None:
    assert ("list" in kind.flush_every) == ("list" in kind.forms)
    assert all(seconds > 0 for seconds in kind.flush_every.values())


@every_destination
def test_what_is_offered_is_written(kind: type[Destination]) -> None:
    assert kind.deliver is not Destination.deliver
    assert kind.forgets == (kind.forget is not Destination.forget)


@every_destination
def test_texts_of_settings_break_no_request(kind: type[Destination]) -> None:
    _, case = next(iter(cases(kind.slug)))
    texts = [f.name for f in structs.fields(kind.Settings) if isinstance(getattr(_settings(kind, case), f.name), str)]
    for name in texts:
        broken = case.settings | {name: f"{case.settings.get(name, '')}\n"}
        with pytest.raises(msgspec.ValidationError):
            _settings(kind, structs.replace(case, settings=broken))


def _settings(kind: type[Destination], case: Case) -> Any:
    return msgspec.convert(case.settings, kind.Settings, dec_hook=secret)


@every_destination
def test_deletion_is_known_beforehand(kind: type[Destination]) -> None:
    _, case = next(iter(cases(kind.slug)))
    destination = connect(kind, case)
    assert kind.forgets == any(destination.can_forget(type) for type in (*destination.identifiers, "anything"))
    assert destination.can_forget("anything") == (kind.forgets and destination.identifiers == ("*",))


@every_destination
def test_names_at_the_vendor_stay_apart_and_the_same(kind: type[Destination]) -> None:
    """Whatever letters the keys are of, and however long they are."""
    _, case = next(iter(cases(kind.slug)))
    destination = connect(kind, case)
    keys = [
        "高額購入者",
        "解約予定者",
        "Большие_траты",
        "Частые_заказы",
        "größe_1",
        "grüße_1",
        "x" * 300,
        "x" * 301,
        "plan",
    ]
    for form in kind.forms:
        names = [destination.name_at_vendor(form, key) for key in keys]
        assert len(keys) == len({name.lower() for name in names})
        assert names == [destination.name_at_vendor(form, key) for key in keys]
        assert "plan" == names[-1]
    events = [destination.event_at_vendor(key) for key in keys]
    assert len(keys) == len({name.lower() for name in events})


@every_destination
def test_settings_are_strict_and_described(kind: type[Destination]) -> None:
    config = kind.Settings.__struct_config__
    assert (True, True) == (config.frozen, config.forbid_unknown_fields)
    fields = msgspec.inspect.type_info(kind.Settings)
    assert isinstance(fields, msgspec.inspect.StructType)
    assert [] == [f.name for f in fields.fields if not _description(f.type)], "describe with Annotated[…, Meta(…)]"
    (_, *_), parts = msgspec.json.schema_components([kind.Settings], schema_hook=_secret_schema)
    assert set(parts[kind.Settings.__name__]["properties"]) == {f.encode_name for f in fields.fields}


def _description(kind: msgspec.inspect.Type) -> str:
    found = isinstance(kind, msgspec.inspect.Metadata) and (kind.extra_json_schema or {}).get("description")
    return found or ""


def _secret_schema(kind: type) -> dict[str, Any]:
    if kind is Secret:
        return {"type": "string"}
    raise NotImplementedError(kind)


def _typed(value: Any) -> Any:
    """A value whose equality tells true from 1, and 1 from 1.0."""
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    return (type(value).__name__, value)
