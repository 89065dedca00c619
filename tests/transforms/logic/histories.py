"""Hypothesis strategies: workspaces, events of one person and what becomes of calls."""

from typing import Any

from hypothesis import strategies as st

from schemas.workspace import Computation, Connection, Form, Sync, Workspace
from tests.transforms.logic.job import Event, at
from tests.transforms.logic.vendors import VENDORS

SCORE = Computation("Score", "trait", "score", "score")
VIP = Computation("VIP", "audience", "vip", "vip")
# Equal ones among them: 1 and 1.0, though not true; objects whose keys stand in another order.
VALUES: list[Any] = [
    1,
    1.0,
    True,
    False,
    None,
    "gold",
    0,
    [1, {"a": 2.0, "b": None}],
    [1.0, {"b": None, "a": 2}],
]
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
}

times = st.integers(0, 7).map(at)


def _external(identifier: tuple[str, str]) -> dict[str, str]:
    return {"type": identifier[0], "id": identifier[1]}


_traits = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in PLAIN_TRAITS.items()})
_profile = st.fixed_dictionaries(
    {
        "type": st.just("profile"),
        "external_ids": st.lists(st.sampled_from(IDENTIFIERS).map(_external), max_size=3),
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

# Mostly no deletion, since one wipes out what made the history interesting.
event: st.SearchStrategy[Event] = st.one_of(_profile, _profile, _trait, _audience, _audience, _trait, _delete).map(
    lambda facts: {"profile_id": "ana", **facts}
)
known = _profile.map(lambda facts: {"profile_id": "ana", **facts})
events = st.tuples(known, st.lists(event, max_size=12)).map(lambda parts: [parts[0], *parts[1]])

_strategies = st.dictionaries(st.sampled_from(["email", "user_id"]), st.sampled_from(["all", "first", "last"]))


def syncs(key: str, forms: tuple[Form, ...]) -> st.SearchStrategy[Sync]:
    """Every option of a sync that decides whether a call is made."""
    return st.builds(
        Sync,
        computation=st.just(key),
        forms=st.just(forms),
        identifiers=_strategies,
        resync_on_new_identifier=st.booleans(),
        historical=st.booleans(),
        enrich=st.sampled_from([(), ("plan",)]),
    )


@st.composite
def workspaces(draw: st.DrawFn, forms: tuple[Form, ...] = ("identify",)) -> Workspace:
    """One connection to each vendor, with all the syncs that it takes."""
    connections = []
    for slug, vendor in VENDORS.items():
        keys = ["vip"] if vendor.kind == "list" else ["score", "vip"]
        chosen = tuple(draw(syncs(key, forms)) for key in keys)
        connections.append(Connection(f"my-{slug}", slug, chosen, vendor.Settings()))
    return Workspace("shop", (SCORE, VIP), tuple(connections))


def without(workspace: Workspace, removed: set[tuple[str, str]]) -> Workspace:
    """The workspace without these syncs (connection, key)."""
    connections = tuple(
        Connection(
            c.name, c.destination, tuple(s for s in c.syncs if (c.name, s.computation) not in removed), c.settings
        )
        for c in workspace.connections
    )
    return Workspace(workspace.workspace, workspace.computations, connections)


def in_europe(workspace: Workspace) -> Workspace:
    """The same workspace with other settings."""
    connections = tuple(
        Connection(c.name, c.destination, c.syncs, VENDORS[c.destination].Settings(region="eu"))
        for c in workspace.connections
    )
    return Workspace(workspace.workspace, workspace.computations, connections)


removals = st.sets(st.sampled_from([(f"my-{slug}", key) for slug in VENDORS for key in ("score", "vip")]), max_size=2)
