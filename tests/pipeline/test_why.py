"""`profilecast why`: one person's sentences, from a state that runs left."""

from pathlib import Path

import pytest

from tests.pipeline.conftest import Shop
from tests.pipeline.running import free_port, profile, score, vip

Capture = pytest.CaptureFixture[str]
DAY_1, DAY_2 = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
ANA = (profile("ana", DAY_1, "ana@x.example"), vip("ana", DAY_1), score("ana", DAY_1, 7))
WORKSPACE = """\
workspace: shop
computations:
  - {name: Vip, kind: audience}
  - {name: Score, kind: trait}
connections:
  - name: hook
    destination: webhook
    settings: {url: "https://hook.example/in"}
    syncs:
      - {computation: %s%s}
"""


def syncing(shop: Shop, computation: str, more: str = "") -> None:
    shop.workspace.write_text(WORKSPACE % (computation, more))


def why(shop: Shop, capsys: Capture, who: str, *more: str, code: int = 0) -> list[str]:
    """The lines about the connection `hook`; all of them where there are none."""
    capsys.readouterr()
    place = ["--workspace", str(shop.workspace), "--state", str(shop.state)]
    assert code == shop.main("why", who, *place, *more)
    told = capsys.readouterr()
    lines = (told.out + told.err).splitlines()
    if "hook" not in lines:
        return lines
    about = lines[lines.index("hook") + 1 :]
    return [line.strip() for line in about[: about.index("") if "" in about else None]]


def test_what_was_told_has_its_times(shop: Shop, capsys: Capture) -> None:
    syncing(shop, "vip")
    shop.run(*ANA)
    lines = why(shop, capsys, "ana")
    assert "vip as identify" == lines[0]
    assert lines[1].startswith("user_id ana: told that the person is in: asked on 20")
    assert " acknowledged on 20" in lines[1]
    assert 3 == len(lines)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (", where: {plan: gold}", "not told: the filter wants that plan is gold (it is not known)"),
        (", where: {has: phone}", "not told: the filter wants that the person has an identifier of the type phone"),
        (
            ", historical: false",
            "nothing is told: the value is from before the sync began",
        ),
        (
            ", identifiers: {email: none, user_id: none}",
            "not told: identifiers of its type are told nothing (`none`)",
        ),
    ],
)
def test_a_rule_that_kept_it_is_named(shop: Shop, capsys: Capture, more: str, sentence: str) -> None:
    syncing(shop, "score", more)
    shop.run(*ANA)
    assert any(sentence in line for line in why(shop, capsys, "ana"))


def test_the_vendors_words_stand_beside_what_it_refused(shop: Shop, capsys: Capture) -> None:
    syncing(shop, "score")
    shop.receiver.answer = lambda host, message: 422
    shop.run(*ANA)
    line = why(shop, capsys, "ana")[1]
    assert line.startswith("user_id ana: not told: invalid_value on ")
    assert ", after 1 attempt" in line
    assert "profilecast replay" in line


def test_what_waits_says_for_what(shop: Shop, capsys: Capture) -> None:
    syncing(shop, "score")
    shop.receiver.answer = lambda host, message: 401
    assert 3 == shop.run(*ANA)
    assert "the connection stopped in run " in why(shop, capsys, "ana")[1]


def test_the_last_attempts_stand_below_with_the_vendors_answer(shop: Shop, capsys: Capture) -> None:
    syncing(shop, "score", ", identifiers: {email: none}")
    for status in (500, 502, 503, 504):
        shop.receiver.answer = lambda host, message, status=status: status  # type: ignore[misc]
        shop.run(*ANA, more=("--retry-for", "0s"))
    waits = why(shop, capsys, "ana")
    assert "user_id ana: the value 7 was asked on 20" == waits[1][:40]
    shop.receiver.answer = lambda host, message: 200
    shop.run(*ANA)
    told = why(shop, capsys, "ana")
    assert told[1].startswith("user_id ana: told 7: asked on 20")
    for lines in (waits, told):
        assert [" HTTP 502", " HTTP 503", " HTTP 504"] == [line.rpartition("Z:")[2] for line in lines[2:5]]
        assert all(line.startswith("tried on 20") for line in lines[2:5])
        assert lines[5].startswith("email ana@x.example: not told")


def test_what_never_reached_the_vendor_was_not_sent(shop: Shop, capsys: Capture) -> None:
    syncing(shop, "score", ", identifiers: {email: none}")
    shop.receiver.url = f"http://127.0.0.1:{free_port()}"
    assert 4 == shop.run(*ANA, more=("--retry-for", "0s"))
    assert "; no attempt has reached the vendor since 20" in why(shop, capsys, "ana")[1]


def test_by_an_identifier_everybody_is_found_who_has_it(shop: Shop, capsys: Capture) -> None:
    shop.run(*ANA, profile("anna", DAY_1, "ana@x.example"))
    capsys.readouterr()
    place = ["--workspace", str(shop.workspace), "--state", str(shop.state)]
    assert 0 == shop.main("why", "email:ana@x.example", *place)
    assert "email:ana@x.example: 2 profiles: ana, anna" == capsys.readouterr().out.splitlines()[0]


def test_nobody_is_found_by_the_identifier_of_somebody_who_was_deleted(shop: Shop, capsys: Capture) -> None:
    shop.run(*ANA)
    shop.run({"type": "delete", "profile_id": "ana", "at": DAY_2})
    shop.run()
    assert "nobody is known by that" in why(shop, capsys, "email:ana@x.example", code=1)[0]
    assert "  deleted on 2026-01-02 00:00:00Z" in why(shop, capsys, "ana")


def test_what_a_connection_was_told_under_another_name_is_found(shop: Shop, capsys: Capture) -> None:
    syncing(shop, "score")
    shop.run(*ANA)
    text = shop.workspace.read_text().replace("name: hook\n", "name: crm\n    was: hook\n")
    shop.workspace.write_text(text)
    lines = why(shop, capsys, "ana")
    assert "crm" in lines
    assert any("user_id ana: told 7: asked on 20" in line and "acknowledged on 20" in line for line in lines)


def test_a_connection_that_is_gone_while_its_calls_wait_is_named(shop: Shop, capsys: Capture) -> None:
    syncing(shop, "score")
    shop.receiver.answer = lambda host, message: 401
    shop.run(*ANA)
    shop.workspace.write_text(shop.workspace.read_text().replace("name: hook", "name: other"))
    lines = why(shop, capsys, "ana")
    assert any("the workspace does not sync this any more" in line for line in lines)


def test_a_sync_that_is_gone_is_named(shop: Shop, capsys: Capture) -> None:
    syncing(shop, "vip")
    shop.run(*ANA)
    syncing(shop, "score")
    shop.run()
    lines = why(shop, capsys, "ana")
    assert "user_id ana: told 7: asked on 20" == lines[1][:32]
    assert any("the workspace does not sync this any more; the vendor keeps what it was told" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ana", "--connection", "hok"), "did you mean hook?"),
        (("ana", "--sync", "vp"), "did you mean vip?"),
        (("nobody",), "nobody is known by that. A profile id stands"),
        (("emial:ana@x.example",), "nobody is known by that; did you mean email:ana@x.example?"),
        (("loyalty:7",), "nobody is known by that. A profile id stands"),
    ],
)
def test_a_mistaken_name_is_said(shop: Shop, capsys: Capture, arguments: tuple[str, ...], words: str) -> None:
    shop.run(*ANA)
    assert any(words in line for line in why(shop, capsys, *arguments, code=1))


def test_without_a_state_there_is_nothing_to_say(shop: Shop, tmp_path: Path, capsys: Capture) -> None:
    assert "there is no state here" in why(shop, capsys, "ana", code=1)[0]
