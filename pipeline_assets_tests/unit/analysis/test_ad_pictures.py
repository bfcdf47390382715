from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, features

from pipeline_assets.analysis.ad_pictures import (
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
VOCALISED = "إِلَى اللَّيْل"
PILED_UP = "Z" + 9 * "\u0301"
PALE = (230, 240, 250)


def opened(picture: Picture) -> Image.Image:
    return Image.open(BytesIO(picture.png)).convert("RGB")


def encoded(image: Image.Image, format_name: str = "PNG") -> bytes:
    buffer = BytesIO()
    image.save(buffer, format_name)
    return buffer.getvalue()


def of_ratio(ratio: Ratio, headline: str, background: Image.Image | None) -> Image.Image:
    pictures = render(headline, background=background, seed=SEED)
    return opened(next(each for each in pictures if each.ratio is ratio))


def box_of_white(image: Image.Image) -> tuple[int, int, int, int]:
    box = image.convert("L").point(lambda value: 255 if value > 250 else 0).getbbox()
    assert box is not None
    return box


def noise() -> Image.Image:
    return Image.effect_noise((700, 500), 90).convert("RGB")


def test_each_ratio_is_a_png_of_metas_size() -> None:
    pictures = render("Meet Dew Serum", background=None, seed=SEED)
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
        [each.png for each in render("Meet Dew", background=None, seed=seed)]
        for seed in ("a", "a", "b")
    )
    assert one == again
    assert one != other


@pytest.mark.parametrize(
    "headline", ["Hi", "W" * 40, "Why is your skin dry?", ARABIC, VOCALISED, "Ẫ" * 20, PILED_UP]
)
def test_nothing_is_drawn_outside_of_the_safe_zone(headline: str) -> None:
    color = (10, 120, 200)
    with_card = render(headline, background=Image.new("RGB", (600, 600), color), seed=SEED)
    alone = render(headline, background=None, seed=SEED)
    for picture in (*with_card, *alone):
        image, safe = opened(picture), picture.ratio.safe_box
        plain = Image.new("RGB", image.size, color)
        drawn = ImageChops.difference(image, plain).getbbox()
        box = box_of_white(image) if picture in alone else drawn
        assert box is not None
        assert box[0] >= safe.left
        assert box[1] >= safe.top
        assert box[2] <= safe.right
        assert box[3] <= safe.bottom


@pytest.mark.parametrize(
    "color", [(255, 255, 255), (0, 0, 0), (255, 230, 0), (0, 255, 120), (128, 128, 128)]
)
def test_words_stand_out_on_any_background(color: tuple[int, int, int]) -> None:
    background = Image.new("RGB", (600, 600), color)
    for picture in render("Meet Dew Serum", background=background, seed=SEED):
        image = opened(picture)
        plain = Image.new("RGB", image.size, color)
        card = image.crop(ImageChops.difference(image, plain).getbbox())
        (_, ground), (_, words) = sorted(card.getcolors(1 << 20) or (), reverse=True)[:2]
        assert words == (255, 255, 255)
        assert contrast_ratio(ground, words) >= 7  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", "abcd")
def test_a_headline_alone_stands_out_on_every_ground(seed: str) -> None:
    for picture in render("Meet Dew Serum", background=None, seed=seed):
        image = opened(picture)
        corners = [image.getpixel((0, 0)), image.getpixel((image.width - 1, image.height - 1))]
        assert all(contrast_ratio(each, (255, 255, 255)) >= 7 for each in corners)  # type: ignore[arg-type]
        assert box_of_white(image)[3] - box_of_white(image)[1] > image.height // 12


def test_contrast_is_wcags() -> None:
    assert contrast_ratio((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast_ratio((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)
    assert contrast_ratio((255, 255, 255), (119, 119, 119)) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("size", [(600, 600), (764, 400), (540, 960), (1400, 500)])
def test_a_picture_is_shown_whole_on_a_ground_of_its_edges(size: tuple[int, int]) -> None:
    picture, side = Image.new("RGB", size, PALE), 100
    inset = (20, 20, size[0] - 20, size[1] - 20)
    for left in (inset[0], inset[2] - side):
        for top in (inset[1], inset[3] - side):
            picture.paste("black", (left, top, left + side, top + side))
    for rendered in render("Why is your skin dry by noon?", background=picture, seed=SEED):
        image = opened(rendered)
        corners = (0, 0), (image.width - 1, image.height - 1)
        assert {image.getpixel(corner) for corner in corners} == {PALE}
        marks = image.convert("L").point(lambda value: 255 if value < 30 else 0)
        box = marks.getbbox()
        assert box is not None
        scale = (box[2] - box[0]) / (inset[2] - inset[0])
        assert (box[3] - box[1]) / (inset[3] - inset[1]) == pytest.approx(scale, abs=0.02)
        assert marks.histogram()[255] == pytest.approx(4 * (side * scale) ** 2, rel=0.08)


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
        ("a\u00adb\x00", "ab", "\u00ad\x00"),
        ("می\u200cخواهم", "می\u200cخواهم", ""),
        ("a \U0001f469\u200d\U0001f467 b", "a b", "\U0001f469\u200d\U0001f467"),
        ("1\ufe0f\u20e3 Sleep", "1 Sleep", "\u20e3"),
        ("S\u0321\u0356leep", "S\u0321leep", "\u0356"),
        (VOCALISED, VOCALISED, ""),
    ],
)
def test_what_the_font_lacks_is_left_out_and_told(text: str, drawn: str, left_out: str) -> None:
    assert drawable_text(text) == (drawn, left_out)


def test_a_headline_is_drawn_whole_or_not_at_all() -> None:
    whole = render("Serum \U0001f9f4 now", background=None, seed=SEED)
    assert all(each.is_headline_whole for each in whole)  # an emoji is no letter
    assert [each.png for each in whole] == [
        each.png for each in render("Serum now", background=None, seed=SEED)
    ]
    lacking = render("美容液 now", background=None, seed=SEED)
    assert not any(each.is_headline_whole for each in lacking)
    assert lacking == []
    picture = noise()
    shown = render("美容液 now", background=picture, seed=SEED)
    assert [each.is_headline_whole for each in shown] == [False] * 4
    assert [each.png for each in shown] == [
        each.png for each in render("", background=picture, seed=SEED)
    ]


@pytest.mark.parametrize(
    ("headline", "is_whole"), [("1\ufe0f\u20e3 Sleep better", True), ("S\u0321\u0356leep", False)]
)
def test_a_mark_that_the_font_lacks_leaves_no_empty_box(headline: str, *, is_whole: bool) -> None:
    made = render(headline, background=noise(), seed=SEED)
    assert {each.is_headline_whole for each in made} == {is_whole}


@pytest.mark.skipif(not features.check("fribidi"), reason="Pillow cannot order Arabic here")
def test_vocalised_words_are_as_large_as_others() -> None:
    for text in ("نَوْمٌ أَفْضَل", VOCALISED):
        fitted = fit_text(text, width=900, height=400, largest=108)
        assert fitted is not None
        assert fitted.font.size == 108


def test_no_word_is_left_alone_on_the_last_line() -> None:
    fitted = fit_text("Daily Mineral SPF 50", width=880, height=400, largest=90)
    assert fitted is not None
    assert fitted.lines == ("Daily Mineral", "SPF 50")


@pytest.mark.skipif(not features.check("fribidi"), reason="Pillow cannot order Arabic here")
def test_scripts_from_the_right_begin_at_the_right() -> None:
    ratio = Ratio.SQUARE
    plain = Image.new("RGB", (ratio.width, ratio.height), (0, 60, 90))
    from_right = of_ratio(ratio, "كريم", plain)
    from_left = of_ratio(ratio, "Krem", plain)
    whites = [box_of_white(each) for each in (from_right, from_left)]
    assert whites[0][0] > ratio.width // 2
    assert whites[1][2] < ratio.width // 2
