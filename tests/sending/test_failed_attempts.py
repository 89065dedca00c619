"""What is kept of attempts that came to nothing: the vendor's answer, and nothing of people or secrets."""

from dataclasses import replace

import pytest
from msgspec import structs

from schemas.calls import Identifier
from tests.sending.delivering import FAST, braze, identify, people, start
from tests.sending.vendor_server import Answer, VendorServer
from transforms.sending.books import impersonal
from transforms.sending.sender import SenderOptions

SECRET = "a-very-secret-key"
GOOD = Answer(201, {"message": "success"})


@pytest.fixture
def options(server: VendorServer, monkeypatch: pytest.MonkeyPatch) -> SenderOptions:
    monkeypatch.setenv("BRAZE", SECRET)
    return replace(FAST, gateway=server.url)


def test_each_call_of_a_request_keeps_what_the_vendor_said_to_it(server: VendorServer, options: SenderOptions) -> None:
    words = f'{{"message": "no room for person-0@example.com, big_spenders, key {SECRET}"}}'
    server.script = lambda seen: Answer(503, body=words.encode()) if seen.number == 0 else GOOD
    running = start(people(3), braze(), options)
    assert 3 == running.report().delivered
    kept = {ask: [(each.status, each.words) for each in found] for ask, found in running.log.failed.items()}
    assert {1, 2, 3} == set(kept)
    for found in kept.values():
        [(status, said)] = found
        assert 503 == status
        assert "no room for ***" in said
        assert SECRET not in said
        assert "person-0" not in said


def test_where_nobody_answers_it_says_so(server: VendorServer, options: SenderOptions) -> None:
    server.script = lambda seen: Answer(cut="hang") if seen.number == 0 else GOOD
    running = start(people(1), braze(), options)
    assert 1 == running.report().delivered
    [attempt] = running.log.failed[1]
    assert 0 == attempt.status
    assert "no answer within 0.3 s" == attempt.words


def test_what_goes_well_writes_nothing_more(server: VendorServer, options: SenderOptions) -> None:
    server.script = lambda seen: GOOD
    running = start(people(200), braze(), options)
    assert 200 == running.report().delivered
    assert {} == running.log.failed


def test_calls_that_were_divided_know_what_was_said_to_all_of_them(
    server: VendorServer, options: SenderOptions
) -> None:
    server.script = lambda seen: Answer(400, json={"message": "bad"}) if b"person-1@" in seen.body else GOOD
    running = start(people(3), braze(), options)
    assert (2, 1) == (running.report().delivered, running.report().rejections)
    assert {1, 2, 3} == set(running.log.failed)
    assert {400} == {each.status for found in running.log.failed.values() for each in found}


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("Ana Miller is not known", "*** is not known"),
        ("user u%2F77%40x is not known", "user *** is not known"),
        ("\n  many\t\tspaces  ", "many spaces"),
        ("call +49 170 1234567 or ann@else.example", "call *** or ***"),
        ("limit is 7 per second, 70 left", "limit is *** per second, 70 left"),
        ("", ""),
    ],
)
def test_no_person_is_in_the_words(words: str, shown: str) -> None:
    other = structs.replace(identify(2), identifier=Identifier("user_id", "u/77@x"))
    calls = [identify(1, 7), other, identify(3, "Ana Miller")]
    assert shown == impersonal(words, calls)


def test_words_are_cut_behind_the_people_in_them() -> None:
    words = "x" * 190 + " person-1@example.com is not known"
    assert "x" * 190 + " *** is no" == impersonal(words, [identify(1)])
