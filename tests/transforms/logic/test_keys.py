"""Keys from names: examples, and what holds for every name."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transforms.logic.keys import is_key, meant_type, snake_case


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Order completed last 30 days", "order_completed_last_30_days"),
        ("order_completed_last_30days", "order_completed_last_30days"),
        ("Total revenue (180 days)", "total_revenue_180_days"),
        ("  Big   spenders! ", "big_spenders"),
        ("firstTimeShopper", "first_time_shopper"),
        ("FirstTimeShopper", "first_time_shopper"),
        ("HTTPErrors", "http_errors"),
        ("lastURL", "last_url"),
        ("v2Users", "v2_users"),
        ("B2B customers", "b2b_customers"),
        ("VIPs of the year", "vips_of_the_year"),
        ("e-mail/opens per week", "e_mail_opens_per_week"),
        ("30 day buyers", "30_day_buyers"),
        ("Käufer in Zürich, Straße", "kaufer_in_zurich_strasse"),
        ("ÉtéActif", "ete_actif"),
        ("Постоянные покупатели", "постоянные_покупатели"),
        ("हिन्दी ग्राहक", "हिन्दी_ग्राहक"),
        ("購入者 30日", "購入者_30日"),
        ("€ – !", ""),
        ("", ""),
    ],
)
def test_key_of_a_name(name: str, key: str) -> None:
    assert key == snake_case(name)


@given(st.text())
@example("İstanbul")
@example("ǰ ΐ ﬁ Ǆ")
@example("Ꮐ ꭰa")
@example("ΟΔΟΣ ẞ")
def test_a_key_is_its_own_key(name: str) -> None:
    key = snake_case(name)
    assert key == snake_case(key)


@given(st.text())
def test_a_key_has_words_joined_by_single_underscores(name: str) -> None:
    key = snake_case(name)
    assert all(c.islower() or c.isdigit() or c == "_" for c in key if c.isascii())
    assert "__" not in key
    assert key == key.strip("_")


@given(st.from_regex(r"[A-Za-z0-9 ]*[A-Za-z0-9]", fullmatch=True))
def test_a_name_with_a_latin_letter_or_digit_has_a_key(name: str) -> None:
    assert snake_case(name)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Email", "email"),
        ("e-mail", "email"),
        ("userId", "user_id"),
        ("User ID", "user_id"),
        ("IOS_IDFA", "ios.idfa"),
        ("ｅｍａｉｌ", "email"),
        ("email", ""),
        ("crm_id", ""),
        ("emial", ""),
        ("", ""),
    ],
)
def test_types_of_identifiers_have_one_spelling(written: str, meant: str) -> None:
    assert meant == meant_type(written)


def test_a_type_of_a_vendors_own_is_as_it_is() -> None:
    assert not meant_type("userId", ("userId",))
    assert "crm.id" == meant_type("CRM-ID", ("crm.id",))


@given(st.text())
def test_a_key_that_is_made_is_one(name: str) -> None:
    assert is_key(snake_case(name)) or snake_case(name) == ""


@pytest.mark.parametrize("text", ["a-b", "a b", "", "a.b", "a/b"])
def test_what_is_no_key(text: str) -> None:
    assert not is_key(text)
