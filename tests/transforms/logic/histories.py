"""Hypothesis strategies: workspaces, events of one person and what becomes of calls."""

from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.workspace import Computation, Connection, Form, Strategy, Sync, Workspace
from tests.transforms.logic.job import Event, at
from tests.transforms.logic.vendors import VENDORS, Settings

SCORE = Computation("Score", "trait", "score", "score")
VIP = Computation("VIP", "audience", "vip", "vip")
# Equal ones among them: 1 and 1.0, though not true; objects whose keys stand in another order.
VALUES: list[Any] = [1, 1.0, True, False, None, "gold", 0, [1, {"a": 2.0, "b": None}], [1.0, {"b": None, "a": 2}]]
IDENTIFIERS = [
    ("user_id", "u1"),
    ("user_id", "u2"),
    ("email", "a@x.example"),
    ("email", "b@x.example"),
    ("email", "c@x.example"),
    ("phone", "+43 1"),
    ("loyalty", "7"),
]
PLAIN_TRAITS: dict[str, list[Any]] = {
    "first_name": ["Ana", "Anna", None, " "],
    "last_name": ["Lee"],
    "name": ["A. Lee"],
    "plan": ["free", {"a": 1, "b": 2}, {"b": 2, "a": 1.0}],
    "consent": [True, True, False],
}
WHERE: list[dict[str, Any]] = [
    {},
    {},
    {},
    {"consent": True},
    {"consent": {"not": False}},
    {"vip": True},
    {"has": "email"},
    {"plan": ["free", None], "score": {"not": [0, "gold"]}},
]

times = st.integers(0, 7).map(at)


def _external(identifier: tuple[str, str]) -> dict[str, str]:
    return {"type": identifier[0], "id": identifier[1]}


_ids = st.sampled_from(IDENTIFIERS).map(_external)
_traits = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in PLAIN_TRAITS.items()})
_profile = st.fixed_dictionaries(
    {
        "type": st.just("profile"),
        "external_ids": st.lists(_ids, max_size=3),
        "removed_ids": st.one_of(st.just([]), st.just([]), st.lists(_ids, max_size=2)),
        "traits": _traits,
        "at": times,
    }
)
_trait = st.fixed_dictionaries(
    {"type": st.just("trait"), "computation": st.just("score"), "value": st.sampled_from(VALUES), "at": times}
)
_audience = st.fixed_dictionaries(
    {"type": st.just("audience"), "computation": st.just("vip"), "member": st.booleans(), "at": times}
)
_delete = st.fixed_dictionaries({"type": st.just("delete"), "at": times})

# -- accounts: two of them, whose members are ana and somebody of whom nothing else is known

SEATS = Computation("Seats", "trait", "seats", "seats", "account")
AT_RISK = Computation("At risk", "audience", "at_risk", "at_risk", "account")
ACCOUNTS = ("acme", "bolt")
_ACCOUNT_TRAITS = {"plan": st.sampled_from(["free", "gold"]), "name": st.just("Acme")}


def _of_account(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Event]:
    return st.fixed_dictionaries({"account_id": st.sampled_from(ACCOUNTS), "at": times, **fields})


_seats = _of_account(type=st.just("trait"), computation=st.just("seats"), value=st.sampled_from(VALUES))
_in = st.sampled_from([True, True, False])
_at_risk = _of_account(type=st.just("audience"), computation=st.just("at_risk"), member=_in)
_joins = _of_account(type=st.just("account_member"), profile_id=st.sampled_from(["ana", "ana", "bob"]), member=_in)
_account = _of_account(type=st.just("account"), traits=st.fixed_dictionaries({}, optional=_ACCOUNT_TRAITS))

# Mostly no deletion, since one wipes out what made the history interesting.
event: st.SearchStrategy[Event] = st.one_of(_profile, _profile, _trait, _audience, _audience, _trait, _delete).map(
    lambda facts: {"profile_id": "ana", **facts}
)
known = _profile.map(lambda facts: {"profile_id": "ana", **facts})
events = st.tuples(known, st.lists(event, max_size=12)).map(lambda parts: [parts[0], *parts[1]])

_user = _profile.map(lambda facts: {"profile_id": "ana", **facts, "external_ids": [_external(IDENTIFIERS[0])]})
# She is known by an identifier that most vendors understand, and is in an account: else little would be said.
events_with_accounts = st.tuples(
    _user,
    _joins.map(lambda joins: {**joins, "profile_id": "ana"}),
    _at_risk,
    _seats,
    st.lists(st.one_of(_seats, _at_risk, _at_risk, _joins, _joins, _account), max_size=10),
    st.lists(event, max_size=5),
).map(lambda parts: [*parts[:4], *parts[4], *parts[5]])

_strategies: st.SearchStrategy[dict[str, Strategy]] = st.dictionaries(
    st.sampled_from(["email", "user_id"]), st.sampled_from(["all", "first", "last", "none", "attach"]), max_size=2
)


def syncs(key: str, forms: st.SearchStrategy[tuple[Form, ...]]) -> st.SearchStrategy[Sync]:
    """Every option of a sync that decides whether a call is made."""
    return st.builds(
        Sync,
        computation=st.just(key),
        forms=forms,
        identifiers=_strategies,
        where=st.sampled_from(WHERE),
        resync_on_new_identifier=st.booleans(),
        historical=st.booleans(),
        enrich=st.sampled_from([(), ("plan",), ("plan", "score")] if key == "vip" else [(), ("plan",)]),
    )


def _forms(slug: str, key: str, occurrences: bool) -> st.SearchStrategy[tuple[Form, ...]]:
    """What a vendor takes of a computation."""
    taken = [
        form for form in VENDORS[slug].forms if form not in ("group", "member") and (form != "list" or key == "vip")
    ]
    taken = [form for form in taken if form != "track" or occurrences]
    if taken == ["list"]:
        return st.just(("list",))
    return st.lists(st.sampled_from(taken), min_size=1, unique=True).map(lambda forms: tuple(sorted(forms)))


@st.composite
def workspaces(draw: st.DrawFn, occurrences: bool = False) -> Workspace:
    """One connection to each vendor, with all the syncs that it takes."""
    connections = []
    for slug, vendor in VENDORS.items():
        keys = ["vip"] if vendor.forms == ("list",) else ["score", "vip"]
        chosen = tuple(draw(syncs(key, _forms(slug, key, occurrences))) for key in keys)
        where, identifiers = draw(st.sampled_from(WHERE)), draw(st.one_of(st.just({}), _strategies))
        connection = Connection(f"my-{slug}", slug, chosen, Settings(), where=where, identifiers=identifiers)
        connections.append(connection)
    return Workspace("shop", (SCORE, VIP), tuple(connections))


NO_WHERE: dict[str, Any] = {}
ACCOUNT_WHERE = [*[NO_WHERE] * 6, *WHERE[-5:], {"plan": {"not": "free"}}, {"at_risk": True}, {"seats": [1, None]}]


def _account_syncs(slug: str, key: str) -> st.SearchStrategy[Sync]:
    forms = [form for form in VENDORS[slug].forms if form != "track" and (form != "list" or key == "at_risk")]
    return st.builds(
        Sync,
        computation=st.just(key),
        forms=st.lists(st.sampled_from(forms), min_size=1, unique=True).map(lambda forms: tuple(sorted(forms))),
        identifiers=_strategies,
        where=st.sampled_from(ACCOUNT_WHERE),
        resync_on_new_identifier=st.booleans(),
        historical=st.booleans(),
        enrich=st.sampled_from([(), ("plan",), ("plan", "seats")] if key == "at_risk" else [(), ("plan", "at_risk")]),
    )


@st.composite
def workspaces_with_accounts(draw: st.DrawFn) -> Workspace:
    """One connection to each vendor: with computations of accounts, and one of people that knows of them."""
    connections = []
    for slug, vendor in VENDORS.items():
        lists = vendor.forms == ("list",)
        chosen = [draw(_account_syncs(slug, key)) for key in (["at_risk"] if lists else ["seats", "at_risk"])]
        about = draw(syncs("vip", _forms(slug, "vip", occurrences=False)))
        where = draw(st.sampled_from([{}, {"at_risk": True}, {"at_risk": {"not": True}}]))
        chosen.append(replace(about, where=about.where | where))
        where, identifiers = draw(st.sampled_from(ACCOUNT_WHERE)), draw(st.one_of(st.just({}), _strategies))
        connections.append(
            Connection(f"my-{slug}", slug, tuple(chosen), Settings(), where=where, identifiers=identifiers)
        )
    return Workspace("shop", (SCORE, VIP, SEATS, AT_RISK), tuple(connections))


def without(workspace: Workspace, removed: set[tuple[str, str]]) -> Workspace:
    """The workspace without these syncs (connection, key); of `account`: with another vendor account."""
    connections = tuple(
        replace(
            c,
            syncs=tuple(s for s in c.syncs if (c.name, s.computation) not in removed),
            settings=Settings(account="other" if (c.name, "account") in removed else "shop"),
        )
        for c in workspace.connections
    )
    return replace(workspace, connections=connections)


def in_europe(workspace: Workspace) -> Workspace:
    """The same workspace with other settings."""
    connections = tuple(replace(c, settings=replace(c.settings, region="eu")) for c in workspace.connections)
    return replace(workspace, connections=connections)


removals = st.sets(
    st.sampled_from([(f"my-{slug}", what) for slug in VENDORS for what in ("score", "vip", "account")]), max_size=2
)
removals_with_accounts = st.sets(
    st.sampled_from([(f"my-{slug}", what) for slug in VENDORS for what in ("seats", "at_risk", "account")]), max_size=2
)
