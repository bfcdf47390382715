"""Texts are cut into telling words, and their language and manner are told apart."""

import pytest

from pipeline_assets.analysis.congruence_texts import (
    find_language,
    find_manner,
    pairs_of,
    stems_of,
    words_of,
)


def language_of(text: str) -> str | None:
    return find_language(text, words_of(text))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("running shoes", "The runner's shoe"),
        ("cleaners", "Cleaner"),
        ("Matratzen", "die Matratze"),
        ("crème", "CREME"),
        ("l'autonomie", "autonomie"),
        ("zapatillas", "zapatilla"),
        ("12,400", "12.400"),
        ("12 %", "12.0"),
    ],
)
def test_forms_of_a_word_have_one_stem(one: str, other: str) -> None:
    assert stems_of(words_of(one)).keys() == stems_of(words_of(other)).keys()


@pytest.mark.parametrize(
    ("one", "other"),
    [("serum", "cream"), ("12", "120"), ("card", "cart"), ("hose", "hosen-träger")],
)
def test_different_words_have_different_stems(one: str, other: str) -> None:
    assert stems_of(words_of(one)).keys() != stems_of(words_of(other)).keys()


def test_common_words_say_nothing_and_do_not_part_a_pair() -> None:
    words = words_of("It's the shoe for you, and don't you lace your boots")
    assert list(stems_of(words).values()) == ["shoe", "lace", "boots"]
    assert pairs_of(words) == {("shoe", "lace"), ("lace", "boot")}


def test_a_script_without_spaces_is_compared_by_pairs_of_letters() -> None:
    one, other = stems_of(words_of("化粧水の新商品")), stems_of(words_of("新商品の化粧水"))
    assert len(one.keys() & other.keys()) >= 4


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("This is the serum that your skin is missing", "en"),
        ("Das ist das Serum, das Ihrer Haut fehlt", "de"),
        ("C'est le sérum qui manque à votre peau", "fr"),
        ("Este es el sérum que le falta a tu piel", "es"),
        ("Questo è il siero che manca alla tua pelle", "it"),
        ("Dit is het serum dat je huid mist", "nl"),
        ("Este é o sérum que falta para a sua pele", "pt"),
        ("Det här är serumet som din hud saknar", "sv"),
        ("To jest serum, którego brakuje na skórze, dla ciebie i dla niej", "pl"),
        ("Это сыворотка для вашей кожи", "cyrillic"),
        ("これはあなたの肌のための美容液です", "cjk"),
        ("هذا هو المصل لبشرتك", "arabic"),
        ("Serum", None),
        ("Serum 30 ml", None),
        ("Lorem ipsum dolor sit amet consectetur adipiscing elit sed", None),
        ("", None),
    ],
)
def test_a_language_is_told_by_its_common_words_or_its_script(
    text: str, language: str | None
) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize(
    ("text", "language", "formality"),
    [
        ("Wir beraten Sie gern.", "de", 1),
        ("Heute rufen wir Ihnen zurück.", "de", 1),
        ("Sie kamen gern.", "de", 0),  # they or you
        ("Wir mögen sie und ihre Schuhe.", "de", 0),
        ("Hol dir den Schuh.", "de", -1),
        ("Vous allez aimer votre vélo.", "fr", 1),
        ("Tu vas aimer ton vélo.", "fr", -1),
        ("Para usted.", "es", 1),
        ("Es para ti.", "es", -1),
        ("You will love it.", "en", 0),
        ("Wir beraten Sie gern.", None, 0),
    ],
)
def test_address_is_formal_or_informal_where_the_language_shows_it(
    text: str, language: str | None, formality: int
) -> None:
    assert find_manner(text, words_of(text), language).formality == formality


def test_the_manner_of_a_text_is_measured() -> None:
    text = "Wow!! 😍 You'll love it. We make incredible things for you."
    manner = find_manner(text, words_of(text), "en")
    assert manner.word_count == 10
    assert manner.excitement == 1  # two marks and an emoji in three sentences
    assert manner.emotion == pytest.approx(3 / 10)
    assert manner.speaks_to_reader
    assert manner.is_colloquial
    dry = "The formulation comprises micronised pigments dispersed in a polymer matrix."
    assert find_manner(dry, words_of(dry), "en").readability > manner.readability + 30


def test_nothing_has_a_manner_too() -> None:
    manner = find_manner("", [], None)
    assert (manner.word_count, manner.readability, manner.excitement) == (0, 0, 0)
