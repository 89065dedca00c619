"""What plain destinations send, by their transcripts, is what the fakes take: both are written from the facts."""

from contextlib import closing
from urllib.parse import urlsplit

import pytest

from sandbox.vendor import Request
from sandbox.vendors import serving
from tests.transforms.destinations.driver import cases
from transforms.destinations import catalogue
from transforms.destinations.auth import NO_SESSION
from transforms.destinations.contract import Destination, headers
from transforms.destinations.plain import Plain
from transforms.destinations.transcripts import Case, calls, connect, variables

WRITTEN = [
    pytest.param(kind, case, id=f"{slug}/{file}: {case.case}")
    for slug, kind in catalogue().items()
    if issubclass(kind, Plain)
    for file, case in cases(slug)
    if file != "derived" and not case.job and [step.reply.status // 100 for step in case.talk if step.reply] == [2]
]


@pytest.mark.parametrize(("kind", "case"), WRITTEN)
def test_the_fake_takes_what_the_transcript_sends(
    kind: type[Destination], case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables(case.settings).items():
        monkeypatch.setenv(name, value)
    request = first_request(connect(kind, case), case)
    fake = serving(request.host)
    assert kind.slug in (fake.slug, *fake.also)
    assert fake.authorized(request, set())
    answer = fake(lambda identifier: False).respond(request)
    reply = case.talk[0].reply
    assert reply
    assert reply.status == answer.status, answer.json


def first_request(destination: Destination, case: Case) -> Request:
    """As it arrives."""
    destination.memory = dict(case.memory)
    with closing(destination.deliver(list(calls(case).values()))) as conversation:
        asked = destination.auth.complete(next(conversation), destination.settings, NO_SESSION)
    url = urlsplit(asked.full_url)
    target = f"{url.path}?{url.query}" if url.query else url.path
    return Request(asked.method, url.netloc, target, headers(destination, asked), asked.body() or b"", 0.0)
