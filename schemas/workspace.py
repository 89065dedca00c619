"""The workspace: which computations exist and which connections are told of them.

The descriptions are what editors and `docs/workspace.md` show.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from schemas.secret import Secret

Form = Literal["identify", "track", "group", "member", "list"]
# `first`, `last`: of several identifiers of one type. `none`: never told. `attach`: no call of its own while the
# person has another identifier that is told; it travels with those calls, as a trait named by its type.
Strategy = Literal["all", "first", "last", "none", "attach"]


def _says(description: str, *examples: Any, default: str = "") -> Meta:
    """`default`: in words, where the value alone does not tell."""
    known = f"{description} By default {default}." if default else description
    return Meta(description=known, examples=list(examples) or None, extra={"says": description, "default": default})


_WHERE = {"marketing_consent": True, "country": ["DE", "AT"], "plan": {"not": "free"}, "has": "email"}


class EventNames(Struct, frozen=True, forbid_unknown_fields=True):
    """The names of `track` events."""

    computed: Annotated[str, _says("A computed trait has a new value.", "Score Changed")] = "Trait Computed"
    entered: Annotated[str, _says("Somebody entered an audience.", "Became VIP")] = "Audience Entered"
    exited: Annotated[str, _says("Somebody left an audience.", "Was VIP")] = "Audience Exited"


class Computation(Struct, frozen=True, forbid_unknown_fields=True):
    """A computed trait or an audience, of people or of accounts."""

    name: Annotated[str, _says("What people call it. Events may use it, or the key.", "Big spenders")]
    kind: Annotated[
        Literal["trait", "audience"],
        _says("`trait`: it has a value for each person. `audience`: people enter and leave it.", "audience"),
    ]
    key: Annotated[
        str,
        _says(
            "What events, syncs and vendors call it: letters, digits and `_`.",
            "big_spenders",
            default="the snake_case of the name",
        ),
    ] = ""
    id: Annotated[
        str,
        _says(
            "Sent along with every call, as `computation_id`.",
            "aud_27",
            default="a hash of the workspace's name and the key",
        ),
    ] = ""
    level: Annotated[
        Literal["user", "account"],
        _says("`user`: each person has a value. `account`: each account has one.", "account"),
    ] = "user"


class Sync(Struct, frozen=True, forbid_unknown_fields=True):
    """One computation sent to one connection, in one or more forms."""

    computation: Annotated[str, _says("Which computation is sent, by its key or name.", "big_spenders")]
    name: Annotated[
        str,
        _says(
            "The sync's own name. Two syncs of one computation to one connection need different ones.",
            "big_spenders_de",
            default="the computation's key",
        ),
    ] = ""
    forms: Annotated[
        tuple[Form, ...],
        _says(
            "`identify` sets a property of the person. `track` reports each change as an event. `group` sets a "
            "property of an account. `member` says of a person to which accounts it belongs, all of them, whatever the "
            "computation of accounts. `list` keeps a list of the people who are in the audience. One or several of "
            "those that the destination takes.",
            ["identify", "track"],
            default="the destination's first",
        ),
    ] = field(name="as", default=())
    expand: Annotated[
        Literal["", "users"],
        _says(
            "`users`: of a computation of accounts, `identify` and `track` calls for each member of the account.",
            "users",
            default="one `group` call for each account",
        ),
    ] = ""
    send_as: Annotated[
        str,
        _says(
            "What it is called at the vendor: the property, the list. Another name is another thing: people leave the "
            "old one, and everybody is sent to the new one.",
            "vip_customer",
            default="the computation's key",
        ),
    ] = ""
    send_as_was: Annotated[
        str,
        _says(
            "What it was called at the vendor before, if somebody renamed it there. Then nobody is sent again.",
            "vip",
        ),
    ] = ""
    where: Annotated[
        dict[str, Any],
        _says(
            "Whom it is sent for: conditions that must all hold, besides the connection's.",
            _WHERE,
            default="everybody",
        ),
    ] = {}
    identifiers: Annotated[
        dict[str, Strategy],
        _says(
            "For each type of identifier, which ones of a person are told. It goes before the connection's.",
            {"email": "last", "phone": "attach"},
            default="`all` of every type",
        ),
    ] = {}
    resync_on_new_identifier: Annotated[
        bool,
        _says(
            "A new identifier of a person is told the current value at once. With `false` it is told the next change.",
            False,
        ),
    ] = True
    historical: Annotated[
        bool, _says("Send what was known before the sync existed. With `false`, only what changes from now on.", False)
    ] = True
    enrich: Annotated[
        tuple[str, ...],
        _says(
            "Traits and computations that go along with `identify`, `group` and `list` calls.",
            ["first_name", "plan"],
            default="none",
        ),
    ] = ()
    events: Annotated[EventNames, _says("The names of its `track` events.", {"entered": "Became VIP"})] = EventNames()


UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}  # seconds


class Cap(Struct, frozen=True):
    """`requests` per `seconds`. In the file: `50/s`, `600/m`, `500000/d`."""

    requests: float
    seconds: float = 1.0


class Connection(Struct, frozen=True, forbid_unknown_fields=True):
    """One configured destination."""

    name: Annotated[str, _says("Your name for it: a-z, 0-9 and `-`.", "braze-eu")]
    destination: Annotated[str, _says("The vendor; `profilecast destinations` lists them.", "braze")]
    syncs: Annotated[tuple[Sync, ...], _says("What is sent to it.", [{"computation": "big_spenders"}])]
    settings: Annotated[
        Any,  # an instance of the destination's Settings once loaded
        _says("The vendor's own. Secrets are names of environment variables.", {"api_key": "${BRAZE_API_KEY}"}),
    ] = None
    cap: Annotated[
        Cap | None,
        _says(
            "At most so many requests per second, minute, hour or day; lower than the destination's cap.",
            "50/s",
            default="the destination's cap",
        ),
    ] = None
    cap_raised_by_vendor: Annotated[bool, _says("The cap is a higher one that the vendor granted you.", True)] = False
    where: Annotated[
        dict[str, Any],
        _says(
            "Whom anything is sent for: conditions for all its syncs.", {"marketing_consent": True}, default="everybody"
        ),
    ] = {}
    identifiers: Annotated[
        dict[str, Strategy],
        _says(
            "For each type of identifier, which ones of a person are told: for all its syncs.",
            {"email": "attach"},
            default="`all` of every type",
        ),
    ] = {}
    was: Annotated[
        str, _says("The connection's name before you renamed it. What was sent under that name counts.", "braze")
    ] = ""


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """A table with one row for each person: which column says what. It is compared with what it was before."""

    name: Annotated[str, _says("Your name for it: a-z, 0-9 and `-`.", "customers")]
    key: Annotated[
        str,
        _says("The column that says whom a row is about: the `profile_id` of its events, once in a table.", "id"),
    ]
    file: Annotated[
        str,
        _says(
            "A file or a pattern of files: Parquet, CSV or JSON (an array, or an object in a line).", "exports/*.csv"
        ),
    ] = ""
    duckdb: Annotated[str, _says("A DuckDB file, with a `query` beside it.", "warehouse.duckdb")] = ""
    url: Annotated[
        Secret | None,
        _says("The URL of a database, as SQLAlchemy has it, with a `query` beside it.", "${WAREHOUSE_URL}"),
    ] = None
    query: Annotated[
        str, _says("What is read of the DuckDB file or the database.", "SELECT * FROM customers", default="none")
    ] = ""
    at: Annotated[
        str,
        _says("The column that says since when a row is so.", "updated_at", default="when it was read"),
    ] = ""
    identifiers: Annotated[
        dict[str, tuple[str, ...]],
        _says(
            "For each type of identifier, its column or columns. One may hold a list, of all addresses for instance.",
            {"user_id": "id", "email": ["email", "other_emails"]},
        ),
    ] = {}
    traits: Annotated[
        dict[str, str],
        _says(
            "For each trait, its column. Of a name that is no computation it is a plain trait.",
            {"total_revenue_180_days": "revenue", "plan": "plan"},
        ),
    ] = {}
    audiences: Annotated[
        dict[str, str],
        _says("For each audience, its column: true (or 1) for who is in it.", {"big_spenders": "is_big_spender"}),
    ] = {}
    account: Annotated[str, _says("The column that says to which account the person belongs.", "company_id")] = ""
    on_missing: Annotated[
        Literal["leave", "keep", "forget"],
        _says(
            "What becomes of a person whose row is gone. `leave`: of all audiences and the account above, and the "
            "computed traits become null. `keep`: nothing. `forget`: a deletion.",
            "forget",
        ),
    ] = "leave"
    max_lost: Annotated[
        float,
        _says("Nothing is told without consent if more than this share of the rows is gone.", "5%", default="20%"),
    ] = 0.2
    every: Annotated[
        float,
        _says("How often `serve` reads it, from `1s` to `30d`. A run reads it once.", "15m", default="`1h`"),
    ] = 3600.0  # seconds


class OnTrouble(Struct, frozen=True, forbid_unknown_fields=True):
    """Who hears of a connection in trouble: one of `webhook`, `slack` and `command`."""

    webhook: Annotated[
        str,
        _says(
            "A URL that a JSON message is posted to; `${NAME}` in it is secret.", "https://ops.example/in?key=${KEY}"
        ),
    ] = ""
    slack: Annotated[
        Secret | None, _says("An incoming webhook of Slack; its URL is a secret.", "${SLACK_URL}", default="none")
    ] = None
    command: Annotated[
        tuple[str, ...], _says("A program with its arguments; it gets the message on its input.", ["./page-me", "ops"])
    ] = ()
    after: Annotated[
        float, _says("How long a trouble lasts until it is told: `90s`, `10m`, `2h`.", "30m", default="`10m`")
    ] = 600.0  # seconds


class Workspace(Struct, frozen=True, forbid_unknown_fields=True):
    """What the workspace file says, complete: keys, names, ids, forms and typed settings are filled in."""

    workspace: Annotated[str, _says("The name of it all. Every call carries it as `namespace`.", "my-shop")]
    computations: Annotated[
        tuple[Computation, ...],
        _says(
            "What is known of people.",
            [{"name": "Big spenders", "kind": "audience"}],
        ),
    ]
    connections: Annotated[tuple[Connection, ...], _says("Who is told.", [])]
    sources: Annotated[tuple[Source, ...], _says("Tables that are read, besides events.", [])] = ()
    on_trouble: Annotated[
        tuple[OnTrouble, ...],
        _says(
            "Who hears of a connection in trouble, once when it has lasted, and once when it is over.",
            [{"slack": "${SLACK_URL}", "after": "30m"}],
            default="nobody",
        ),
    ] = ()
