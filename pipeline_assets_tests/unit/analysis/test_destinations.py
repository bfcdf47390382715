import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.analysis.destinations import COLUMNS, destinations, normalise_url


@pytest.mark.parametrize(
    ("written", "page"),
    [
        ("https://shop.example/p", "https://shop.example/p"),
        ("HTTPS://Shop.Example/P", "https://shop.example/P"),
        ("  https://shop.example/p\n", "https://shop.example/p"),
        ("https://shop.example", "https://shop.example/"),
        ("https://shop.example?a=1", "https://shop.example/?a=1"),
        ("https://shop.example./p", "https://shop.example/p"),
        ("https://shop.example:443/p", "https://shop.example/p"),
        ("http://shop.example:80/p", "http://shop.example/p"),
        ("http://shop.example:443/p", "http://shop.example:443/p"),
        ("https://shop.example:8443/p", "https://shop.example:8443/p"),
        ("https://shop.example/p#reviews", "https://shop.example/p"),
        ("https://shop.example/p?", "https://shop.example/p"),
        ("https://shop.example/p?utm_source=fb&size=M&fbclid=1", "https://shop.example/p?size=M"),
        ("https://shop.example/p?UTM_Source=fb", "https://shop.example/p"),
        ("https://shop.example/p?b=2&a=1", "https://shop.example/p?b=2&a=1"),
        ("https://shop.example/p?a=%26&a=2&&", "https://shop.example/p?a=%26&a=2"),
        ("https://shop.example/p?flag", "https://shop.example/p?flag"),
        ("https://shop.example/p?ref={{ad.id}}&size=M", "https://shop.example/p?size=M"),
        ("https://shop.example/p?ref=%7B%7Bad.id%7D%7D", "https://shop.example/p"),
        ("https://shop.example/p?note={one}", "https://shop.example/p?note=%7Bone%7D"),
        ("https://bücher.example/ä ö", "https://xn--bcher-kva.example/%C3%A4%20%C3%B6"),
        ("https://xn--bcher-kva.example/%C3%A4%20%C3%B6",
         "https://xn--bcher-kva.example/%C3%A4%20%C3%B6"),
        ("https://my_shop.example/p", "https://my_shop.example/p"),
        ("http://127.0.0.1:22/", "http://127.0.0.1:22/"),
        ("http://[::1]:80/p", "http://[::1]/p"),
        ("https://l.facebook.com/l.php?u=https%3A%2F%2Fshop.example%2Fp%3Fa%3D1%26fbclid%3Dx&h=AT0",
         "https://shop.example/p?a=1"),
        ("https://l.facebook.com/l.php?u=https%3A%2F%2Fl.instagram.com%2F%3Fu%3Dhttps%253A%252F%252Fshop.example",
         "https://shop.example/"),
    ],
)  # fmt: skip
def test_a_page_has_one_address_however_an_ad_spells_it(written, page):
    assert normalise_url(written) == page


@pytest.mark.parametrize(
    "written",
    [
        "",
        "shop.example/p",
        "//shop.example/p",
        "ftp://shop.example/p",
        "javascript:alert(1)",
        "mailto:a@shop.example",
        "fb-messenger://share",
        "https://",
        "https:///p",
        "https://[::1/p",
        "https://shop.example:port/p",
        "https://shop.example:99999/p",
        "https://sh op.example/p",
        "https://xn--\u2014.example/p",
        "https://user:secret@shop.example/p",
        "http://fb.me/",
        "https://m.me/shop",
        "https://www.facebook.com/shop",
        "https://fb.com/canvas_doc/1",
        "https://www.instagram.com/shop",
        "https://wa.me/49301234",
        "https://apps.apple.com/app/id1",
        "https://itunes.apple.com/app/id1",
        "https://play.google.com/store/apps/details?id=x",
        "https://l.facebook.com/l.php?h=AT0",
        "https://l.facebook.com/l.php?u=http%3A%2F%2Ffb.me%2F",
        "{{product.url}}",
        "https://shop.example/{{product.id}}",
        "https://shop.example/%7B%7Bproduct.id%7D%7D",
        "https://{{shop.host}}/p",
    ],
)
def test_what_is_no_web_page_has_no_address(written):
    assert normalise_url(written) is None


def test_an_address_of_2000_characters_is_kept_and_one_of_2001_is_not():
    longest = "https://shop.example/".ljust(2_000, "p")
    assert normalise_url(longest) == longest
    assert normalise_url(longest + "p") is None


@given(st.text())
def test_any_text_is_an_address_or_none(written):
    normalise_url(written)


@given(st.text(), st.text(), st.text())
def test_normalising_twice_changes_nothing(host, path, query):
    for written in (f"https://{host}/{path}?{query}", f"https://shop.example/{path}?{query}"):
        page = normalise_url(written)
        if page is not None:
            assert normalise_url(page) == page
            assert page.isascii()


def creatives(*rows: dict[str, object]) -> pd.DataFrame:
    names = ["ad_id", "creative_id", "ad_account_id", "effective_status", "destination_urls"]
    return pd.DataFrame(list(rows), columns=names)


def ad(ad_id: str, *urls: str, status: str | None = "ACTIVE") -> dict[str, object]:
    return {
        "ad_id": ad_id,
        "creative_id": f"c{ad_id}",
        "ad_account_id": "act_1",
        "effective_status": status,
        "destination_urls": list(urls),
    }


def test_each_ad_has_a_row_for_each_of_its_pages_the_main_one_first():
    found = destinations(
        creatives(
            ad(
                "1",
                "https://b.example/?utm_id=1",
                "https://a.example/",
                "https://b.example/?utm_id=2",
            ),
            ad("2", "https://a.example#x", status="PAUSED"),
        )
    )
    assert found.to_dict("records") == [
        dict(zip(COLUMNS, row, strict=True))
        for row in (
            ("1", "c1", "act_1", "https://b.example/", True),
            ("1", "c1", "act_1", "https://a.example/", True),
            ("2", "c2", "act_1", "https://a.example/", False),
        )
    ]


def test_ads_that_lead_to_no_page_have_no_row():
    form, unread = ad("1", "http://fb.me/"), ad("2")
    unread["destination_urls"] = None
    found = destinations(
        creatives(form, unread, ad("3"), ad("4", "https://a.example", status=None))
    )
    assert found["ad_id"].tolist() == ["4"]
    assert found["is_active"].tolist() == [False]


def test_no_creatives_give_an_empty_frame_of_the_same_columns():
    for empty in (creatives(), creatives(ad("1"))):
        found = destinations(empty)
        assert found.empty
        assert list(found.columns) == list(COLUMNS)
        assert found["is_active"].dtype == bool
