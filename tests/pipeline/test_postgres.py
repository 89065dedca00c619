"""A table in PostgreSQL, a real one, where the machine has it."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.conftest import Shop
from tests.pipeline.tables import with_source
from tests.pipeline.test_tables import run, told

psycopg = pytest.importorskip("psycopg")
Capture = pytest.CaptureFixture[str]
USER, PASSWORD = "reader", "hunter:2@home"
TABLE = """\
CREATE TABLE customers (
    id uuid PRIMARY KEY, vip boolean, score numeric(12, 2), plan varchar(20), emails text[],
    tags jsonb, born date, updated_at timestamptz DEFAULT '2026-01-01'
);
INSERT INTO customers
    SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, n % 200 = 0,
           CASE WHEN n > 11950 THEN n / 4.0 END, 'gold', ARRAY['u' || n || '@x.example'], '{"a": 1}', '1990-02-03'
    FROM generate_series(1, 12000) AS n;
"""


class Postgres:
    """A server of this test's own."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._programs, self._data = programs, folder / "data"
        # It refuses to be root's: then it is another user's, who may enter the folders above.
        self._as = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        folder.mkdir()
        if self._as:
            shutil.chown(folder, "postgres")
            for above in folder.parents:
                if above.stat().st_uid == 0 and above != Path("/"):
                    above.chmod(above.stat().st_mode | 0o011)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._do("initdb", "-D", self._data, "-U", USER, "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8")
        self.start()

    def _do(self, program: str, *arguments: object) -> None:
        command = [*self._as, str(self._programs / program), *map(str, arguments)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd="/")

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._data}"
        self._do("pg_ctl", "start", "-w", "-D", self._data, "-l", self._data.parent / "log", "-o", options)

    def stop(self) -> None:
        self._do("pg_ctl", "stop", "-m", "immediate", "-D", self._data)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.port)).close()

    def do(self, statements: str) -> None:
        where = {"host": "127.0.0.1", "port": self.port, "user": USER, "password": PASSWORD, "dbname": "postgres"}
        with psycopg.connect(**where) as connection:
            connection.execute(statements)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    found = sorted(glob("/usr/lib/postgresql/*/bin/initdb")) or [shutil.which("initdb")]
    if not found[-1] or (os.getuid() == 0 and not shutil.which("runuser")):
        pytest.skip("this machine has no PostgreSQL")
    server = Postgres(tmp_path_factory.mktemp("postgres") / "server", Path(found[-1]).resolve().parent)
    yield server
    server.stop()


@pytest.fixture
def warehouse(postgres: Postgres, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Postgres:
    postgres.do(f"DROP TABLE IF EXISTS customers; {TABLE}")
    url = f"postgresql+psycopg://{USER}:hunter%3A2%40home@127.0.0.1:{postgres.port}/postgres"
    monkeypatch.setenv("WAREHOUSE_URL", url)
    with_source(shop, "    url: ${WAREHOUSE_URL}\n    query: SELECT * FROM customers WHERE tags->>'a' = '1'\n")
    return postgres


def who(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012}"


def select(shop: Shop, query: str) -> None:
    text = shop.workspace.read_text()
    begin = text.index("    query: ")
    end = text.index("\n", begin)
    shop.workspace.write_text(f"{text[:begin]}    query: {json.dumps(query)}{text[end:]}")


def both(number: int, key: str, value: object) -> set[tuple[str, str, object]]:
    return {(who(number), key, value), (f"u{number}@x.example", key, value)}


def test_what_changed_in_a_table_of_postgresql_is_told(warehouse: Postgres, shop: Shop) -> None:
    run(shop)
    first = told(shop)
    members = {each for n in range(200, 12_001, 200) for each in both(n, "vip", True)}
    scores = {each for n in range(11_951, 12_001) for each in both(n, "score", n / 4)}
    assert first == members | scores
    warehouse.do(f"UPDATE customers SET vip = false, updated_at = '2026-01-02' WHERE id = '{who(200)}'")
    warehouse.do(f"UPDATE customers SET score = 7.25 WHERE id = '{who(12_000)}'")
    warehouse.do(f"DELETE FROM customers WHERE id = '{who(400)}'")
    run(shop, day=3)
    assert told(shop) == both(200, "vip", False) | both(12_000, "score", 7.25) | both(400, "vip", False)
    run(shop, day=4)
    assert told(shop) == set()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DROP TABLE customers", 'relation "customers" does not exist'),
        ("ALTER TABLE customers DROP COLUMN vip", "there is no column vip"),
        ("DELETE FROM customers", "12,000 of 12,000 rows are gone"),
        ("DELETE FROM customers WHERE score IS NULL", "--accept-changes"),
    ],
)
def test_a_wrong_table_is_stopped(warehouse: Postgres, shop: Shop, capsys: Capture, statement: str, said: str) -> None:
    run(shop)
    told(shop)
    warehouse.do(statement)
    run(shop, day=2, code=3)
    assert said in capsys.readouterr().err
    assert told(shop) == set()


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ('\'[{"a": 1}, {"b": 2}]\'::jsonb', [{"a": 1}, {"b": 2}]),
        ("'{\"a\": 1}'::jsonb", {"a": 1}),
        ("'2026-02-03'::date", "2026-02-03"),
        ("ARRAY[1, 2]", [1, 2]),
    ],
)
def test_what_a_column_says_is_what_is_told(warehouse: Postgres, shop: Shop, column: str, told: Any) -> None:
    select(shop, f"SELECT id, vip, {column} AS score, emails, plan FROM customers WHERE vip")
    run(shop)
    heard = [message["traits"] for message in shop.receiver.messages if message["type"] == "identify"]
    scores = [traits["score"] for traits in heard if "score" in traits]
    assert [told] * 120 == scores


def test_a_duration_is_no_number(warehouse: Postgres, shop: Shop, capsys: Capture) -> None:
    select(shop, "SELECT id, vip, interval '1 day' AS score, emails, plan FROM customers")
    run(shop, code=3)
    assert (
        "the column score has values of more than one type, or of a type that is not known" in capsys.readouterr().err
    )


def test_what_the_database_quotes_of_a_person_is_not_said(warehouse: Postgres, shop: Shop, capsys: Capture) -> None:
    select(shop, "SELECT id, vip, score, emails, quote_ident(emails[1])::regrole::text AS plan FROM customers")
    run(shop, code=3)
    said = capsys.readouterr().err
    assert "does not exist" in said
    assert "x.example" not in said


def test_a_number_that_is_none_is_null(warehouse: Postgres, shop: Shop) -> None:
    run(shop)
    told(shop)
    warehouse.do(f"UPDATE customers SET score = 'NaN' WHERE id = '{who(12_000)}'")
    run(shop, day=2)
    assert told(shop) == both(12_000, "score", None)


def test_a_database_that_is_away_or_refuses_says_so_without_its_password(
    warehouse: Postgres, shop: Shop, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(shop)
    warehouse.stop()
    run(shop, day=2, code=3)
    away = capsys.readouterr()
    warehouse.start()
    monkeypatch.setenv("WAREHOUSE_URL", os.environ["WAREHOUSE_URL"].replace("hunter", "winner"))
    run(shop, day=2, code=3)
    refused = capsys.readouterr()
    assert "source customers: the database cannot be read (" in away.err
    assert "refused" in away.err
    assert "password authentication failed" in refused.err
    assert not any(secret in text for text in (*away, *refused) for secret in ("hunter", "winner"))
