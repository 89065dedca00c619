"""Records that could not be used: what is said of them, and when they are too many."""

import argparse
from datetime import UTC, datetime

import pytest

from pipeline.commands.arguments import bound
from pipeline.unusable import by_reason, explain, verdict
from schemas.dead_letters import DeadLetter
from schemas.input_counts import InputCounts
from transforms.logic.parse import BadRecord, Parser
from transforms.logic.portion import dead_letter

NOW = datetime(1998, 4, 1, tzinfo=UTC)


def letter(line: str, number: int = 12, records: bool = False) -> DeadLetter:
    """The dead letter of a line, as the parser makes it."""
    bad = Parser({"score": "trait"}, NOW).parse(line.encode())
    assert isinstance(bad, BadRecord)
    return dead_letter(bad, line.encode(), "events/a.jsonl", number, records)


def said(*letters: DeadLetter) -> list[str]:
    return list(explain(*by_reason(letters)))


NO_TIME = '{"type": "delete", "profile_id": "ana"}'


def test_each_reason_is_told_with_its_number_and_its_first_example() -> None:
    type_of_id = '{"type": "profile", "profile_id": "ana", "at": "1998-03-31T12:00:00Z", "external_ids": '
    type_of_id += '[{"type": "Email", "id": "ana@x.io"}]}'
    letters = [letter("[]", 3), letter(NO_TIME), letter(type_of_id, 7, records=True), letter(NO_TIME, 14)]
    assert [
        "2 missing_field: $.at; expected an RFC 3339 time with a zone, such as 1998-03-31T12:00:00Z; "
        "for example events/a.jsonl line 12. Write the field in every event of this type.",
        "1 broken_json: $; expected one object, not an array; for example events/a.jsonl line 3. "
        "Write one JSON object per line; in Avro and Parquet `value` and `traits` hold JSON text.",
        "1 misspelled_identifier_type: $.external_ids[0].type; did you mean `email`?; for example "
        "events/a.jsonl record 7. Write the type so; in another spelling it is one that no destination knows.",
    ] == said(*letters)


def test_what_could_not_be_delivered_is_not_a_record_that_could_not_be_used() -> None:
    rejected = DeadLetter(step="Deliver", reason="invalid_identifier")
    assert [] == said(rejected)


def test_without_an_example_there_is_the_number() -> None:
    assert ["1,200 too_long"] == list(explain({"too_long": 1200}, {}))


def test_nothing_of_what_a_record_says_is_told() -> None:
    event = '{"type": "trait", "profile_id": "ana", "at": "1998-03-31T12:00:00Z", "computation": "score", "value": %s}'
    profile = '{"type": "profile", "profile_id": "ana", "at": "1998-03-31T12:00:00Z", "traits": %s}'
    for line, field in (
        (event % '{"Bob Miller": [NaN]}', "$.value;"),
        (profile % '{"friends": {"Bob Miller": NaN}}', "$.traits.friends;"),
        (profile % '{"plan": NaN}', "$.traits.plan;"),
        (profile % '{"bob@example.com": NaN}', "$.traits;"),
        (profile % '{"Bob Miller": NaN}', "$.traits;"),
        (profile % '{"491701234567": NaN}', "$.traits;"),
    ):
        [text] = said(letter(line))
        assert text.startswith(f"1 unsupported_value: {field} expected a finite number")
        assert "Bob" not in text


# -- too many


def counts(**sources: tuple[int, int]) -> InputCounts:
    found = InputCounts()
    for source, (read, bad) in sources.items():
        found.add(source, read, bad)
    return found


@pytest.mark.parametrize(
    ("limit", "bad", "said"),
    [
        ("2", 2, ""),
        ("2", 3, "3 of 100 records could not be used; --max-bad is 2."),
        ("0", 1, "1 of 100 records could not be used; --max-bad is 0."),
        ("2%", 2, ""),
        ("2.5%", 3, "3 of 100 records could not be used; --max-bad is 2.5%."),
        ("0%", 0, ""),
        (None, 99, ""),
    ],
)
def test_more_than_the_limit_is_too_many(limit: str | None, bad: int, said: str) -> None:
    assert said == verdict(counts(a=(60, 0), b=(40, 0)) if not bad else counts(a=(100, bad)), limit and bound(limit))


def test_a_file_in_which_nothing_can_be_used_is_told_whatever_the_limit() -> None:
    assert "a: none of the records could be used." == verdict(counts(a=(3, 3), b=(100, 0), empty=(0, 0)), None)
    assert "a and 1 other file: none of the records could be used." == verdict(counts(a=(3, 3), b=(1, 1)), None)
    both = "a: none of the records could be used. 3 of 103 records could not be used; --max-bad is 2."
    assert both == verdict(counts(a=(3, 3), b=(100, 0)), bound("2"))
    assert "" == verdict(counts(), bound("0"))


def test_counts_of_several_parts_add_up() -> None:
    whole = counts(a=(3, 1))
    whole.merge(counts(a=(2, 2), b=(5, 0)))
    assert {"a": (5, 3), "b": (5, 0)} == whole.sources
    assert (10, 3) == (whole.read, whole.bad)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "101%", "many", "5 %"])
def test_a_limit_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"is (neither a number|not a share) such as"):
        bound(text)
