"""The table of partners: each row makes a sound destination. How one speaks is in the transcripts of the first."""

from base64 import b64encode
from contextlib import closing
from typing import Any, get_args

import pytest

from schemas.calls import Call, Identifier
from schemas.secret import Secret
from schemas.workspace import Connection, Form, Workspace
from transforms.destinations import catalogue
from transforms.destinations.auth import NO_SESSION
from transforms.destinations.contract import Destination, Request, headers
from transforms.destinations.partners import DESTINATIONS, PARTNERS, Key, KeyAndEndpoint, Partner
from transforms.destinations.safety import url_fault
from transforms.destinations.transcripts import COMPUTATIONS, syncs

every_partner = pytest.mark.parametrize("partner", PARTNERS, ids=[partner.slug for partner in PARTNERS])


def connected(partner: Partner, monkeypatch: pytest.MonkeyPatch) -> Destination:
    monkeypatch.setenv("KEY", "secret-key")
    key = Secret("${KEY}")
    given: Any = Key(api_key=key) if partner.endpoint else KeyAndEndpoint(api_key=key, url="https://in.example/hook")
    kind = catalogue()[partner.slug]
    connection = Connection(partner.slug, partner.slug, syncs(kind), given)
    return kind(Workspace("acme-shop", COMPUTATIONS, (connection,)), connection)


def request_about(destination: Destination, kind: Any) -> Request:
    identifier = Identifier(destination.identifiers[0], "u1")
    call = Call("p1", kind, identifier, "big_spenders", True, 0, 1, computation="big_spenders", sync="big_spenders")
    assert destination.check(call) is None
    with closing(destination.deliver([call])) as conversation:
        return destination.auth.complete(next(conversation), destination.settings, NO_SESSION)


@every_partner
def test_a_row_is_a_destination(partner: Partner) -> None:
    kind = catalogue()[partner.slug]
    assert kind in DESTINATIONS
    assert (partner.name, partner.forms, partner.identifiers) == (kind.name, kind.forms, kind.identifiers)
    assert set(partner.forms) <= set(get_args(Form)) - {"list"}
    assert not partner.endpoint or (partner.endpoint.startswith("https://") and not url_fault(partner.endpoint))


@every_partner
def test_its_messages_go_to_its_endpoint_with_the_key(partner: Partner, monkeypatch: pytest.MonkeyPatch) -> None:
    destination = connected(partner, monkeypatch)
    for kind in (*partner.forms, "delete"):
        request = request_about(destination, kind)
        assert ("POST", partner.endpoint or "https://in.example/hook") == (request.method, request.full_url)
        assert kind == request.json["type"]
        key = "secret-key" if partner.slug == "candu" else "secret-key:"
        assert f"Basic {b64encode(key.encode()).decode()}" == headers(destination, request)["authorization"]


def test_rows_are_in_order_and_each_has_a_slug_of_its_own() -> None:
    slugs = [partner.slug for partner in PARTNERS]
    assert sorted(set(slugs)) == slugs
    others = [kind for kind in catalogue().values() if kind not in DESTINATIONS]
    assert set() == set(slugs) & {name for kind in others for name in (kind.slug, *kind.aliases)}
