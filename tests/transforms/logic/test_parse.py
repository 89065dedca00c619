"""Parse: every line is an event, a bad record that explains itself, or blank; and nothing else."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.dead_letters import BAD_RECORD
from schemas.events import (
    IDENTIFIER_TYPES,
    Account,
    AccountMember,
    AnyEvent,
    Audience,
    Delete,
    Event,
    ExternalId,
    Profile,
    Trait,
)
from schemas.state import account_key
from transforms.logic.parse import MAX_DEPTH, MAX_LINE_BYTES, BadRecord, Parser, is_blank, subject_of
from transforms.logic.portion import key_of

NOW = datetime(1998, 4, 1, tzinfo=UTC)
AT = "1998-03-31T12:00:00Z"
TIME = datetime(1998, 3, 31, 12, tzinfo=UTC)
COMPUTATIONS = {"total_revenue": "trait", "big_spenders": "audience", "seats": "trait", "at_risk": "audience"}
OF_ACCOUNTS = ("seats", "at_risk")


def parser() -> Parser:
    return Parser(COMPUTATIONS, NOW, OF_ACCOUNTS)


def line(**fields: Any) -> bytes:
    return json.dumps({"type": "delete", "profile_id": "p1", "at": AT, **fields}).encode()


def of_account(kind: str, **fields: Any) -> bytes:
    return json.dumps({"type": kind, "account_id": "acme", "at": AT, **fields}).encode()


def trait(value: str) -> bytes:
    """A trait event with this JSON text as its value."""
    return line(type="trait", computation="total_revenue", value=0)[:-2] + value.encode() + b"}"


def refused(text: bytes) -> BadRecord:
    result = parser().parse(text)
    assert isinstance(result, BadRecord), result
    return result


def test_each_type_of_event() -> None:
    lines = [
        line(type="profile", external_ids=[{"type": "email", "id": "ana@example.com"}], traits={"plan": "gold"}),
        line(type="profile", removed_ids=[{"type": "email", "id": "ana@example.com"}]),
        line(type="trait", computation="total_revenue", value=450.25),
        line(type="audience", computation="big_spenders", member=True),
        line(),
    ]
    email = ExternalId(type="email", id="ana@example.com")
    assert [
        Profile(profile_id="p1", at=TIME, external_ids=[email], traits={"plan": "gold"}),
        Profile(profile_id="p1", at=TIME, removed_ids=[email]),
        Trait(profile_id="p1", at=TIME, computation="total_revenue", value=450.25),
        Audience(profile_id="p1", at=TIME, computation="big_spenders", member=True),
        Delete(profile_id="p1", at=TIME),
    ] == [parser().parse(text) for text in lines]


def test_each_type_of_event_about_an_account() -> None:
    lines = [
        of_account("account", traits={"name": "Acme"}),
        of_account("account_member", profile_id=42, member=True),
        of_account("trait", computation="seats", value=3),
        of_account("audience", computation="at_risk", member=False),
    ]
    assert [
        Account(account_id="acme", at=TIME, traits={"name": "Acme"}),
        AccountMember(account_id="acme", profile_id="42", at=TIME, member=True),
        Trait(account_id="acme", at=TIME, computation="seats", value=3),
        Audience(account_id="acme", at=TIME, computation="at_risk", member=False),
    ] == [parser().parse(text) for text in lines]
    assert {account_key("acme")} == {subject_of(text) for text in lines}


def test_an_account_and_a_person_of_one_id_are_two_subjects() -> None:
    assert "p1" == subject_of(line(type="profile", account_id="acme"))
    assert subject_of(of_account("account", account_id="p1")) == account_key("p1") != subject_of(line())
    assert account_key("7") == subject_of(of_account("account", account_id=7.0))


BAD: list[tuple[str, bytes, str, str, str]] = [
    # what, the line, its reason, the field, a part of what was expected
    ("cut short", line()[:-5], "broken_json", "", "the line ends before"),
    ("trailing garbage", line() + b"}", "broken_json", "", "trailing characters"),
    ("two events in one line", line() + line(), "broken_json", "", "trailing characters"),
    ("not JSON at all", b"profile_id,at", "broken_json", "", "malformed"),
    ("an array", b"[" + line() + b"]", "broken_json", "$", "one object, not an array"),
    ("a text", b'"p1"', "broken_json", "$", "one object, not text"),
    ("Latin-1", line().replace(b"p1", b"caf\xe9"), "invalid_utf8", "", "UTF-8; the byte at 37 is not"),
    ("Latin-1 in an unknown field", line(x="?").replace(b"?", b"\xe9"), "invalid_utf8", "", "UTF-8"),
    ("a line without end", b"{" + b" " * MAX_LINE_BYTES, "too_long", "", "at most 4,194,304 bytes"),
    (
        "no type",
        line().replace(b"type", b"kind"),
        "missing_field",
        "$.type",
        "one of profile, trait, audience, account, account_member, delete",
    ),
    ("no profile id", line().replace(b"profile_id", b"id"), "missing_field", "$.profile_id", "whole number"),
    ("no time", line().replace(b'"at"', b'"on"'), "missing_field", "$.at", "RFC 3339"),
    ("no value", line(type="trait", computation="total_revenue"), "missing_field", "$.value", "any JSON"),
    (
        "an external id without its id",
        line(type="profile", external_ids=[{"type": "user_id", "id": "u1"}, {"type": "email"}]),
        "missing_field",
        "$.external_ids[1].id",
        "text or a whole number",
    ),
    ("an empty profile id", line(profile_id=""), "empty_id", "$.profile_id", "at least one character"),
    ("a blank profile id", line(profile_id=" \t"), "empty_id", "$.profile_id", "more than blanks"),
    (
        "an empty external id",
        line(type="profile", external_ids=[{"type": "email", "id": ""}]),
        "empty_id",
        "$.external_ids[0].id",
        "at least one character",
    ),
    (
        "a blank type of external id",
        line(type="profile", external_ids=[{"type": " ", "id": "x"}]),
        "empty_id",
        "$.external_ids[0].type",
        "more than blanks",
    ),
    ("a fraction as profile id", line(profile_id=7.5), "wrong_type", "$.profile_id", "not a number that is not whole"),
    ("a number beyond 64 bits as profile id", line(profile_id=2**64), "wrong_type", "$.profile_id", "than 64 bits"),
    ("a double that may be another number", line(profile_id=2.0**53), "wrong_type", "$.profile_id", "not whole or"),
    ("true as profile id", line(profile_id=True), "wrong_type", "$.profile_id", "a whole number, not true or false"),
    ("null as profile id", line(profile_id=None), "wrong_type", "$.profile_id", "text or a whole number, not null"),
    (
        "true as external id",
        line(type="profile", external_ids=[{"type": "user_id", "id": True}]),
        "wrong_type",
        "$.external_ids[0].id",
        "text or a whole number, not true or false",
    ),
    (
        "a number as type of an external id",
        line(type="profile", external_ids=[{"type": 7, "id": "x"}]),
        "wrong_type",
        "$.external_ids[0].type",
        "text, not a number",
    ),
    (
        "an empty removed id",
        line(type="profile", removed_ids=[{"type": "email", "id": ""}]),
        "empty_id",
        "$.removed_ids[0].id",
        "at least one character",
    ),
    (
        "a blank removed id",
        line(type="profile", removed_ids=[{"type": "email", "id": "x"}, {"type": "email", "id": " "}]),
        "empty_id",
        "$.removed_ids[1].id",
        "more than blanks",
    ),
    (
        "a well-known type in other letters",
        line(type="profile", external_ids=[{"type": "Email", "id": "x"}]),
        "misspelled_identifier_type",
        "$.external_ids[0].type",
        "did you mean `email`?",
    ),
    (
        "a well-known type in other letters that is removed",
        line(type="profile", removed_ids=[{"type": "E-Mail", "id": "x"}]),
        "misspelled_identifier_type",
        "$.removed_ids[0].type",
        "did you mean `email`?",
    ),
    ("a number as type", line(type=7), "wrong_type", "$.type", "text, not a number"),
    (
        "a text as membership",
        line(type="audience", computation="big_spenders", member="yes"),
        "wrong_type",
        "$.member",
        "true or false, not text",
    ),
    ("traits as an array", line(type="profile", traits=[]), "wrong_type", "$.traits", "an object, not an array"),
    ("external ids as an object", line(type="profile", external_ids={}), "wrong_type", "$.external_ids", "an array"),
    ("seconds as time", line(at=891345600), "wrong_type", "$.at", "RFC 3339 time with a zone"),
    ("a day as time", line(at="1998-03-31"), "wrong_type", "$.at", "such as 1998-03-31T12:00:00Z"),
    ("the 31st of February", line(at="1998-02-31T00:00:00Z"), "wrong_type", "$.at", "RFC 3339"),
    ("an unknown type of event", line(type="purchase"), "unknown_event_type", "$.type", "one of profile, trait"),
    (
        "a message of Segment's that is of no use here",
        line(type="page", userId="u1", timestamp="1998-01-01T00:00:00Z"),
        "unknown_message",
        "$.type",
        "identify, group or track",
    ),
    (
        "a misspelt computation",
        line(type="trait", computation="total_revenu", value=1),
        "unknown_computation",
        "$.computation",
        "`total_revenue` comes near",
    ),
    (
        "a trait event for an audience",
        line(type="trait", computation="big_spenders", value=True),
        "wrong_computation_kind",
        "$.type",
        "an event of type `audience`",
    ),
    (
        "an audience event for a trait",
        line(type="audience", computation="total_revenue", member=True),
        "wrong_computation_kind",
        "$.type",
        "an event of type `trait`",
    ),
    ("an account without its id", line(type="account"), "missing_field", "$.account_id", "whole number"),
    ("a member without an account", line(type="account_member", member=True), "missing_field", "$.account_id", "text"),
    ("an account's name", line(profile_id="\0account:acme"), "unsupported_value", "$.profile_id", "no character NUL"),
    (
        "an account's name, of a member",
        of_account("account_member", profile_id="\0account:acme", member=True),
        "unsupported_value",
        "$.profile_id",
        "no character NUL",
    ),
    ("a blank account id", of_account("account", account_id=" "), "empty_id", "$.account_id", "more than blanks"),
    ("a blank member", of_account("account_member", profile_id=" ", member=True), "empty_id", "$.profile_id", "blanks"),
    (
        "account traits beyond 64 bits",
        of_account("account", traits={"n": 2**64}),
        "unsupported_value",
        "$.traits.n",
        "",
    ),
    (
        "nobody, of a person's trait",
        line(type="trait", computation="total_revenue", value=1).replace(b"profile_id", b"a"),
        "missing_field",
        "$.profile_id",
        "text or a whole number: the computation is one of people",
    ),
    (
        "nobody",
        of_account("trait", computation="seats", value=1).replace(b"account_id", b"a"),
        "missing_field",
        "$.account_id",
        "text or a whole number: the computation is one of accounts",
    ),
    (
        "a person's trait of an account",
        line(type="trait", computation="seats", value=1),
        "wrong_subject",
        "$.profile_id",
        "`account_id` alone",
    ),
    (
        "an account's audience of people",
        of_account("audience", computation="big_spenders", member=True),
        "wrong_subject",
        "$.account_id",
        "`profile_id` alone",
    ),
    ("both", of_account("trait", profile_id="p1", computation="seats", value=1), "wrong_subject", "$.profile_id", ""),
    ("a time without zone", line(at="1998-03-31T12:00:00"), "time_without_zone", "$.at", "with a zone"),
    ("before 1970", line(at="1969-12-31T23:59:59Z"), "absurd_time", "$.at", "from 1970 to 1998-04-02"),
    ("a week ahead", line(at="1998-04-08T00:00:00Z"), "absurd_time", "$.at", "one day after the run's clock"),
    ("the end of the calendar", line(at="9999-12-31T23:59:59-23:59"), "absurd_time", "$.at", "from 1970"),
    ("NaN", trait("NaN"), "unsupported_value", "$.value", "a finite number"),
    ("infinity inside", trait('{"a": [1, -Infinity]}'), "unsupported_value", "$.value.a[1]", "a finite number"),
    ("beyond double", trait("1e400"), "unsupported_value", "$.value", "a finite number"),
    ("beyond 64 bits", trait("18446744073709551616"), "unsupported_value", "$.value", "at most 64 bits"),
    ("below 64 bits", trait("[-9223372036854775809]"), "unsupported_value", "$.value[0]", "at most 64 bits"),
    ("5,000 digits", trait("9" * 5000), "unsupported_value", "$.value", "number"),
    ("half a surrogate pair", trait('"\\ud83d"'), "unsupported_value", "$.value", "surrogate"),
    ("half a surrogate pair as key", trait('{"\\ude00": 1}'), "unsupported_value", "$.value", "surrogate"),
    ("too deep", trait("[" * 65 + "]" * 65), "unsupported_value", "$.value" + "[0]" * 64, "at most 64 arrays"),
    ("very much too deep", trait("[" * 9000 + "]" * 9000), "unsupported_value", "$", "at most 64 arrays"),
    (
        "too deep in traits",
        line(type="profile", traits={"n": [2**64]}),
        "unsupported_value",
        "$.traits.n[0]",
        "64 bits",
    ),
]


@pytest.mark.parametrize(
    ("text", "reason", "field", "expected"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
def test_a_bad_record_says_what_is_wrong_where_and_what_to_do(
    text: bytes, reason: str, field: str, expected: str
) -> None:
    bad = refused(text)
    assert (reason, field) == (bad.reason, bad.field)
    assert expected in bad.expected
    assert bad.advice


def test_every_reason_has_a_case() -> None:
    assert set(BAD_RECORD) == {case[2] for case in BAD}


def test_a_long_path_is_cut() -> None:
    assert 201 == len(refused(trait('{"' + "k" * 1000 + '": 18446744073709551616}')).field)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("1e5", 100000.0),
        ("null", None),
        ('"\\ud83d\\ude00"', "😀"),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ("[" * MAX_DEPTH + "]" * MAX_DEPTH, json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)),
    ],
)
def test_values_at_the_edge_are_accepted(text: str, value: object) -> None:
    assert Trait(profile_id="p1", at=TIME, computation="total_revenue", value=value) == parser().parse(trait(text))


@pytest.mark.parametrize("at", ["1970-01-01T00:00:00Z", "1997-01-01T08:00:00+01:00", "1998-04-02T00:00:00Z"])
def test_old_times_and_a_fast_clock_are_accepted(at: str) -> None:
    assert Delete(profile_id="p1", at=datetime.fromisoformat(at)) == parser().parse(line(at=at))


def test_of_a_repeated_key_the_last_counts() -> None:
    assert Delete(profile_id="p2", at=TIME) == parser().parse(line()[:-1] + b',"profile_id":"p2"}')


@pytest.mark.parametrize("blank", [b"", b"\r", b" \t "])
def test_a_blank_line_is_no_record(blank: bytes) -> None:
    assert is_blank(blank)
    assert parser().parse(blank) is None
    assert subject_of(blank) is None


def test_windows_line_ends_are_white_space() -> None:
    assert isinstance(parser().parse(line() + b"\r"), Delete)


def test_unknown_fields_are_ignored_and_counted() -> None:
    subject = parser()
    external_ids = [{"type": "email", "id": "a@example.com", "source": "web"}, {"id": "u1", "type": "user_id"}]
    event = subject.parse(line(type="profile", external_ids=external_ids, traits={"any": 1}, note={"x": [1]}))
    known = [ExternalId(type="email", id="a@example.com"), ExternalId(type="user_id", id="u1")]
    assert Profile(profile_id="p1", at=TIME, external_ids=known, traits={"any": 1}) == event
    subject.parse(line(note=1))
    assert {"note": 2, "external_ids[].source": 1} == subject.unknown_fields


def test_unknown_fields_of_bad_records_are_not_counted() -> None:
    subject = parser()
    assert isinstance(subject.parse(line(note=1, profile_id=" ")), BadRecord)
    assert isinstance(subject.parse(line(note=1, profile_id=5.5)), BadRecord)
    assert not subject.unknown_fields


@pytest.mark.parametrize(
    "text",
    [b"[]", b"{", b'{"profile_id": 7.5}', b'{"profile_id": true}', b'{"profile_id": "\xff"}', b"[" * 9000],
)
def test_no_profile_id_where_there_is_none(text: bytes) -> None:
    assert subject_of(text) is None


# -- identifiers and names


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("42", "42"),
        ("42.0", "42"),
        ("4.2e1", "42"),
        ("-7", "-7"),
        ("-0.0", "0"),
        ("9007199254740991.0", "9007199254740991"),
        ("18446744073709551615", "18446744073709551615"),
        ("-9223372036854775808", "-9223372036854775808"),
    ],
)
def test_a_whole_number_as_identifier_is_its_decimal_text(number: str, text: str) -> None:
    written = line(type="profile", profile_id=0, external_ids=[{"type": "user_id", "id": 0}], removed_ids=[])
    written = written.replace(b": 0", b": " + number.encode())
    user = ExternalId(type="user_id", id=text)
    assert Profile(profile_id=text, at=TIME, external_ids=[user]) == parser().parse(written)
    assert text == subject_of(written)


def test_whole_numbers_are_taken_in_removed_ids_and_beside_unknown_fields() -> None:
    removed = [{"type": "user_id", "id": 7, "note": 1}]
    subject = parser()
    event = subject.parse(line(type="profile", profile_id=42, removed_ids=removed))
    assert Profile(profile_id="42", at=TIME, removed_ids=[ExternalId(type="user_id", id="7")]) == event
    assert {"removed_ids[].note": 1} == subject.unknown_fields


@pytest.mark.parametrize("number", ["1e400", "NaN", "9" * 5000, "9007199254740992.0", "1.5"])
def test_what_is_no_whole_number_for_certain_is_no_identifier(number: str) -> None:
    written = line(profile_id=0).replace(b": 0", b": " + number.encode())
    assert isinstance(parser().parse(written), BadRecord)
    assert subject_of(written) is None


COMPOSED, DECOMPOSED = "Caf\u00e9", "Cafe\u0301"


@pytest.mark.parametrize("known", [COMPOSED, DECOMPOSED])
@pytest.mark.parametrize("written", [COMPOSED, DECOMPOSED])
def test_a_computation_is_known_in_every_spelling_of_its_letters(known: str, written: str) -> None:
    subject = Parser({known: "trait", known + "s": "audience"}, NOW)
    assert [
        Trait(profile_id="p1", at=TIME, computation=known, value=1),
        Audience(profile_id="p1", at=TIME, computation=known + "s", member=True),
    ] == [
        subject.parse(line(type="trait", computation=written, value=1)),
        subject.parse(line(type="audience", computation=written + "s", member=True)),
    ]
    bad = subject.parse(line(type="audience", computation=written, member=True))
    assert isinstance(bad, BadRecord)
    assert "wrong_computation_kind" == bad.reason
    bad = subject.parse(trait("NaN").replace(b"total_revenue", written.encode()))
    assert isinstance(bad, BadRecord)
    assert "unsupported_value" == bad.reason


def test_types_of_identifiers_have_one_spelling_and_identifiers_are_left_alone() -> None:
    ids = [{"type": DECOMPOSED, "id": DECOMPOSED}, {"type": "email", "id": DECOMPOSED}]
    expected = [ExternalId(type=COMPOSED, id=DECOMPOSED), ExternalId(type="email", id=DECOMPOSED)]
    event = parser().parse(line(type="profile", external_ids=ids, removed_ids=ids[:1]))
    assert Profile(profile_id="p1", at=TIME, external_ids=expected, removed_ids=expected[:1]) == event


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Email", "email"),
        ("E-Mail", "email"),
        (" email", "email"),
        ("USER_ID", "user_id"),
        ("userId", "user_id"),
        ("user id", "user_id"),
        ("Phone", "phone"),
        ("anonymousId", "anonymous_id"),
        ("iOS.IDFA", "ios.idfa"),
        ("android_idfa", "android.idfa"),
    ],
)
def test_a_well_known_type_in_another_spelling_is_asked_about(written: str, meant: str) -> None:
    bad = refused(line(type="profile", external_ids=[{"type": written, "id": "x"}]))
    assert ("misspelled_identifier_type", f"did you mean `{meant}`?") == (bad.reason, bad.expected)


@pytest.mark.parametrize("custom", ["loyalty_number", "emails", "email_md5", "user", "telephone", "Kundennummer"])
def test_any_other_type_is_a_custom_one(custom: str) -> None:
    event = parser().parse(line(type="profile", external_ids=[{"type": custom, "id": "x"}]))
    assert Profile(profile_id="p1", at=TIME, external_ids=[ExternalId(type=custom, id="x")]) == event


# -- advice


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("NaN", "leave the value out, or send null"),
        ("[-Infinity]", "leave the value out, or send null"),
        ("18446744073709551616", "write the number as text"),
        ("9" * 5000, "write the number as text"),
        ('"\\ud83d"', "write the whole character, or leave it out"),
        ("[" * 65 + "]" * 65, "send less of them inside one another"),
    ],
)
def test_each_kind_of_unsupported_value_has_its_own_advice(value: str, advice: str) -> None:
    assert ("unsupported_value", advice) == (refused(trait(value)).reason, refused(trait(value)).advice)


# -- whatever the bytes

scalars = (
    st.none() | st.booleans() | st.integers(-(2**66), 2**66) | st.floats(allow_nan=False, allow_infinity=False)
) | st.text(max_size=8)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner))
ids = st.text(max_size=4) | st.integers(-5, 5) | st.sampled_from(IDENTIFIER_TYPES)
zones = st.integers(-1439, 1439).map(lambda minutes: timedelta(minutes=minutes))
times = st.datetimes().map(lambda moment: moment.isoformat()) | st.builds(
    lambda moment, zone: moment.replace(tzinfo=UTC).isoformat()[:-6] + f"{_offset(zone)}", st.datetimes(), zones
)


def _offset(zone: timedelta) -> str:
    minutes = int(zone.total_seconds()) // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


near_events = st.fixed_dictionaries(
    {"type": st.sampled_from(["profile", "trait", "audience", "delete"])},
    optional={
        "profile_id": ids | values,
        "at": st.just(AT) | times | values,
        "computation": st.sampled_from([*COMPUTATIONS, "other"]) | values,
        "value": values,
        "member": st.booleans() | values,
        "external_ids": st.lists(st.fixed_dictionaries({}, optional={"type": ids, "id": ids, "x": values})) | values,
        "removed_ids": st.lists(st.fixed_dictionaries({}, optional={"type": ids, "id": ids, "x": values})) | values,
        "traits": st.dictionaries(st.text(max_size=4), values) | values,
        "extra": values,
    },
).map(lambda event: json.dumps(event).encode())


def check(text: bytes) -> None:
    result = parser().parse(text)
    if result is None:
        assert is_blank(text)
    elif isinstance(result, Event):
        assert result == msgspec.msgpack.decode(msgspec.msgpack.encode(result), type=AnyEvent)
        assert result == parser().parse(msgspec.json.encode(result))
        assert key_of(result) == subject_of(text)
    else:
        assert result.reason in BAD_RECORD
        assert result.expected
        assert result.advice
        assert msgspec.json.encode(result)


@given(st.binary())
@example(b"\xef\xbb\xbf{}")
def test_any_bytes_are_an_event_or_a_bad_record(text: bytes) -> None:
    check(text)


@given(near_events)
def test_whatever_comes_near_an_event_is_one_or_a_bad_record(text: bytes) -> None:
    check(text)


@given(near_events, st.data())
def test_a_damaged_event_is_one_or_a_bad_record(text: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    check(text[:start] + data.draw(st.binary(max_size=4)) + text[end:])


@given(near_events.map(json.loads))
def test_an_unknown_field_changes_nothing_else(event: dict[str, Any]) -> None:
    event.pop("extra", None)
    plain = parser().parse(json.dumps(event).encode())
    with_unknown = parser().parse(json.dumps({"unknown": 1, **event}).encode())
    assert plain == with_unknown


@pytest.mark.parametrize("strange", [None, [1], {"id": 1}, True, 1.5, "", 0])
@pytest.mark.parametrize("kind", ["profile", "delete"])
def test_whatever_a_person_has_as_an_account_the_event_is_about_the_person(kind: str, strange: Any) -> None:
    """Without a subject, it would be folded beside what is known of the person, and its state would have no name."""
    text = line(type=kind, account_id=strange)
    event = parser().parse(text)
    assert not isinstance(event, BadRecord | None)
    assert "p1" == key_of(event) == subject_of(text)


@pytest.mark.parametrize("zero", [0, 0.0])
def test_an_account_may_be_number_zero(zero: float) -> None:
    text = of_account("account", account_id=zero)
    event = parser().parse(text)
    assert not isinstance(event, BadRecord | None)
    assert account_key("0") == key_of(event) == subject_of(text)
