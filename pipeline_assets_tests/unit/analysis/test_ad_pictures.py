from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, features

from pipeline_assets.analysis.ad_pictures import (
    MIN_CONTRAST,
    Picture,
    Ratio,
    contrast_ratio,
    drawable_text,
    fit_text,
    open_background,
    render,
)

SEED = "https://shop.example/serum"
ARABIC = "هل تبحث عن كريم؟"
PILED_UP = "Z" + 39 * "\u0301"


def opened(picture: Picture) -> Image.Image:
    return Image.open(BytesIO(picture.png)).convert("RGB")


def encoded(image: Image.Image, format_name: str = "PNG") -> bytes:
    buffer = BytesIO()
    image.save(buffer, format_name)
    return buffer.getvalue()


def of_ratio(ratio: Ratio, headline: str, background: Image.Image | None) -> Image.Image:
    pictures = render(headline, "Shop now", background=background, seed=SEED)
    return opened(next(each for each in pictures if each.ratio is ratio))


def noise() -> Image.Image:
    return Image.effect_noise((700, 500), 90).convert("RGB")


def test_each_ratio_is_a_png_of_metas_size() -> None:
    pictures = render("Meet Dew Serum", "Shop now", background=None, seed=SEED)
    sizes = {each.ratio.label: Image.open(BytesIO(each.png)).size for each in pictures}
    assert sizes == {
        "1:1": (1080, 1080),
        "4:5": (1080, 1350),
        "9:16": (1080, 1920),
        "1.91:1": (1200, 628),
    }
    assert all(Image.open(BytesIO(each.png)).format == "PNG" for each in pictures)


def test_the_same_input_gives_the_same_bytes_and_another_seed_others() -> None:
    one, again, other = (
        [each.png for each in render("Meet Dew", "Shop now", background=None, seed=seed)]
        for seed in ("a", "a", "b")
    )
    assert one == again
    assert one != other


@pytest.mark.parametrize("ratio", Ratio)
@pytest.mark.parametrize(
    "headline",
    ["Hi", "W" * 40, "Why is your skin dry by noon? Or by ten?", ARABIC, "Ẫ" * 20, PILED_UP],
)
def test_nothing_is_drawn_outside_of_the_safe_zone(ratio: Ratio, headline: str) -> None:
    plain = Image.new("RGB", (ratio.width, ratio.height), (10, 120, 200))
    drawn = of_ratio(ratio, headline, plain)
    changed = ImageChops.difference(drawn, plain).getbbox()
    assert changed is not None
    safe = ratio.safe_box
    assert (changed[0], changed[1]) >= (safe.left, safe.top)
    assert changed[1] >= safe.top
    assert changed[2] <= safe.right
    assert changed[3] <= safe.bottom


@pytest.mark.parametrize(
    "color", [(255, 255, 255), (0, 0, 0), (255, 230, 0), (0, 255, 120), (128, 128, 128)]
)
def test_words_stand_out_on_any_background(color: tuple[int, int, int]) -> None:
    background = Image.new("RGB", (600, 600), color)
    for ratio in Ratio:
        image = of_ratio(ratio, "Meet Dew Serum", background)
        bottom_left = (ratio.safe_box.left + 60, ratio.safe_box.bottom - 4)
        card = image.getpixel(bottom_left)
        assert isinstance(card, tuple)
        assert contrast_ratio((card[0], card[1], card[2]), (255, 255, 255)) >= MIN_CONTRAST
        assert (255, 255, 255) in {pixel for _, pixel in image.getcolors(1 << 20) or ()}


def test_contrast_is_wcags() -> None:
    assert contrast_ratio((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast_ratio((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)
    assert contrast_ratio((255, 255, 255), (119, 119, 119)) == pytest.approx(4.48, abs=0.01)


def test_a_background_covers_the_picture_whatever_its_shape() -> None:
    wide = Image.new("RGB", (2000, 100), (200, 30, 30))
    for ratio in Ratio:
        image = of_ratio(ratio, "Meet Dew Serum", wide)
        corners = [(0, 0), (ratio.width - 1, 0), (0, ratio.height - 1)]
        assert [image.getpixel(corner) for corner in corners] == [(200, 30, 30)] * 3


def test_stored_pictures_are_opened_upright_and_on_white() -> None:
    clear = open_background(encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 0))))
    assert clear is not None
    assert (clear.mode, clear.getpixel((0, 0))) == ("RGB", (255, 255, 255))
    frames = [Image.new("RGB", (9, 9), color) for color in ("red", "blue")]
    buffer = BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    first = open_background(buffer.getvalue())
    assert first is not None
    assert first.getpixel((0, 0)) == (255, 0, 0)
    turned = Image.new("RGB", (40, 20), "red")
    exif = turned.getexif()
    exif[0x0112] = 6
    buffer = BytesIO()
    turned.save(buffer, "JPEG", exif=exif)
    upright = open_background(buffer.getvalue())
    assert upright is not None
    assert upright.size == (20, 40)


@pytest.mark.parametrize(
    "data", [b"", b"no picture", encoded(noise())[:2000], encoded(noise(), "JPEG")[:300]]
)
def test_broken_pictures_are_no_background(data: bytes) -> None:
    assert open_background(data) is None


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=60),
    st.integers(80, 900),
    st.integers(30, 500),
)
def test_fitted_lines_fit_and_hold_every_word(text: str, width: int, height: int) -> None:
    drawn, _ = drawable_text(text)
    fitted = fit_text(drawn, width=width, height=height, largest=96)
    if fitted is None:
        return
    assert " ".join(fitted.lines).split() == drawn.split()
    assert fitted.width <= width
    assert fitted.height <= height


@given(st.text(alphabet="abcdefghijklm ", min_size=1, max_size=40).filter(str.strip))
@settings(max_examples=60, deadline=None)
def test_forty_letters_always_fit_a_card(text: str) -> None:
    for ratio in Ratio:
        padding = min(ratio.width, ratio.height) // 22
        width = ratio.safe_box.width // (2 if ratio is Ratio.LANDSCAPE else 1) - 2 * padding
        height = ratio.safe_box.height // 3
        assert fit_text(text, width=width, height=height, largest=96) is not None


@pytest.mark.parametrize(
    ("text", "drawn", "left_out"),
    [
        ("Größe 49,90 € – “now”", "Größe 49,90 € – “now”", ""),
        ("Ντύσου καλά", "Ντύσου καλά", ""),
        ("Тёплый дом", "Тёплый дом", ""),
        ("Serum \U0001f9f4 now", "Serum now", "\U0001f9f4"),
        ("美容液 now", "now", "美容液"),
        ("a\u200db\x00", "ab", "\u200d\x00"),
    ],
)
def test_what_the_font_lacks_is_left_out_and_told(text: str, drawn: str, left_out: str) -> None:
    assert drawable_text(text) == (drawn, left_out)


def test_a_headline_is_drawn_whole_or_not_at_all() -> None:
    whole = render("Serum \U0001f9f4 now", "Shop now", background=None, seed=SEED)
    assert all(each.is_headline_whole for each in whole)  # an emoji is no letter
    assert [each.png for each in whole] == [
        each.png for each in render("Serum now", "Shop now", background=None, seed=SEED)
    ]
    lacking = render("美容液 now", "Shop now", background=None, seed=SEED)
    assert not any(each.is_headline_whole for each in lacking)
    assert [each.png for each in lacking] == [
        each.png for each in render("", "Shop now", background=None, seed=SEED)
    ]


@pytest.mark.skipif(not features.check("fribidi"), reason="Pillow cannot order Arabic here")
def test_scripts_from_the_right_begin_at_the_right() -> None:
    ratio = Ratio.SQUARE
    plain = Image.new("RGB", (ratio.width, ratio.height), (0, 60, 90))
    from_right = of_ratio(ratio, "كريم", plain)
    from_left = of_ratio(ratio, "Krem", plain)
    whites = [
        Image.eval(each.convert("L"), lambda value: 255 if value > 250 else 0).getbbox()
        for each in (from_right, from_left)
    ]
    assert whites[0] is not None
    assert whites[1] is not None
    assert whites[0][0] > ratio.width // 2
    assert whites[1][2] < ratio.width // 2
