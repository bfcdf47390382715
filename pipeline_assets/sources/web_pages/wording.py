"""The words that shops use for buttons and discounts, in the languages that ads are mostly in."""

import re

from pipeline_assets.money import NUMBER

_FLAGS = re.IGNORECASE

BUYING = re.compile(
    r"\b(add to (cart|bag|basket)|buy|shop|order|get|claim|grab|checkout|pre-?order|subscribe|"
    r"kaufen|bestellen|in den warenkorb|sichern|zum angebot|einkaufen|"
    r"acheter|commander|ajouter au panier|j'en profite|profiter|"
    r"comprar|añadir|agregar|pedir|acquista|aggiungi|ordina|"
    r"kopen|bestel|in winkelwagen|köp|handla|osta|kup|dodaj do koszyka)\b"
    r"|カートに入れる|購入|注文|加入购物车|立即购买|구매|장바구니",
    _FLAGS,
)
"""What the button of an offer says."""

ASKING = re.compile(
    r"\b(start|try|join|sign up|register|book|reserve|download|apply|request|contact|call|donate|"
    r"learn more|discover|see|find out|explore|read more|watch|"
    r"starten|testen|buchen|herunterladen|anfordern|mehr erfahren|entdecken|"
    r"essayer|s'inscrire|réserver|télécharger|en savoir plus|découvrir|"
    r"empezar|probar|reservar|descargar|más información|descubrir|"
    r"inizia|prova|prenota|scarica|scopri)\b|詳しく|申し込|了解更多|자세히",
    _FLAGS,
)
"""What the button of a softer step says."""

NO_MAIN_BUTTON = re.compile(
    r"\b(cookies?|accept|reject|agree|akzeptieren|ablehnen|zustimmen|accepter|refuser|aceptar|"
    r"rechazar|accetta|close|schließen|fermer|cerrar|menu|menü|search|suche|suchen|buscar|"
    r"log ?in|sign in|anmelden|account|konto|cart \(?\d*\)?$|next|previous|back|share|filter|"
    r"show more|load more|settings|einstellungen|preferences|skip to|newsletter|size guide|"
    r"english|deutsch|français)\b",
    _FLAGS,
)
"""Buttons of the page's own machinery."""

_PERCENT = r"\d{1,2}(?:[.,]\d)?\s?%"
_MONEY = (
    rf"(?:[$€£¥₹₺₩]\s?{NUMBER}|(?:eur|usd|gbp|chf|jpy|kr)\s{NUMBER}"
    rf"|{NUMBER}\s?(?:[$€£¥₺₽]|(?:eur|usd|gbp|chf|kr|zł|kč)\b))"
)

DISCOUNT = re.compile(
    rf"(?<![\d%.,\w])[-−–]\s?{_PERCENT}"
    rf"|\b(?:save|spare|sparen sie|up to|bis zu|jusqu'à|hasta(?: un)?|fino al|extra|ahorra)"
    rf"\s+(?:an extra\s+|up to\s+|bis zu\s+)?(?:{_PERCENT}|{_MONEY})"
    rf"|\b{_PERCENT}\s*(?:\w+\s)?(?:off|rabatt|reduziert|günstiger|discount|réduction|remise|"
    rf"descuento|dto|sconto|korting|rabat|less)\b"
    rf"|\b{_PERCENT}\s*(?:de |di )(?:réduction|remise|descuento|sconto)"
    rf"|{_MONEY}\s*(?:off|rabatt|gespart|de réduction|de remise|de descuento|di sconto)\b"
    rf"|\bbuy\s+\w+,?\s+get\s+\w+(?:\s+free)?|\bbogo\b|\bhalf price\b|\bzum halben preis\b"
    rf"|\b\d\s?(?:for|für|pour|por|per)\s?\d\b(?!\s*(?:%|years|days|people))"
    rf"|\b\d\s?\+\s?\d\s+(?:free|gratis|gratuite?s?|offert)\b",
    _FLAGS,
)
"""A lower price than the usual one: percents, amounts, one more for free."""

MAY_BE_DISCOUNT = re.compile(r"\d|\bbuy\b|\bbogo\b|\bhalf\b|\bhalben\b", _FLAGS)
"""Without any of these there is no discount: most lines need no closer look."""

NO_PRICE = re.compile(
    r"\b(shipping|delivery|versand|livraison|envío|spedizione|over|above|orders?|off|save|instead|"
    r"was|statt|ab einem|au lieu|antes|gift card|discount|rabatt)\b",
    _FLAGS,
)
"""Words beside an amount that is not what the product costs."""

PART_BEFORE = re.compile(
    r"\b(?:payments?|instal?lments?|zahlungen|raten|rate|paiements?|mensualités|fois|pagos|cuotas|"
    r"meses|pay in \d|\d+\s?[x×])\s*(?:of|zu|à|von|de|da|je|at|:)?\s*$",
    _FLAGS,
)
PART_AFTER = re.compile(
    r"^\s*(?:(?:/|per|a|each|im|pro|par|al|por|every)\s*)?"
    r"(?:month(?:ly)?|mo|week(?:ly)?|monat(?:lich)?|mtl|mois|mes(?:es)?|mese|maand|mån(?:ad)?)\b"
    r"|^\s*[x×]\s?\d",
    _FLAGS,
)
"""Words before and after an amount that is paid more than once: an instalment, a month's price."""
