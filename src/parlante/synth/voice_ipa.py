# ruff: noqa: RUF001
"""The International Phonetic Alphabet, folded onto PHONES by what the lips and jaw do.

English symbols keep their identity; those of other languages go to the English phone that looks most alike
(rounded front vowels to `uw`/`er`, retroflex and uvular sounds to their plain or open neighbours).
"""

import unicodedata

# Longest match first; a value of two phones is split in time.
_LONG: dict[str, str] = {
    "aɪ": "ay", "aʊ": "aw", "ɔɪ": "oy", "ɔø": "oy", "eɪ": "ey", "oʊ": "ow", "əʊ": "ow", "ɑɪ": "ay", "ʌɪ": "ay",
    "æʊ": "aw", "ɛɪ": "ey", "æɪ": "ey", "aɪə": "ay ah", "aɪɚ": "ay er", "aʊə": "aw ah", "iə": "iy ah", "ɪə": "ih ah",
    "eə": "eh ah", "ɛə": "eh ah", "ʊə": "uh ah", "əl": "ah l", "dʒ": "jh", "tʃ": "ch", "ts": "t s", "dz": "d z",
    "tɕ": "ch", "dʑ": "jh", "tʂ": "ch", "dʐ": "jh", "pf": "p f", "ɔʏ": "oy", "ɔy": "oy", "œy": "oy", "ai": "ay",
    "au": "aw", "oi": "oy", "ɔi": "oy", "ei": "ey", "ou": "ow", "eu": "eh uw", "ɛu": "eh uw", "ɑʊ": "aw", "ɑu": "aw",
    "ia": "iy aa", "ie": "iy eh", "ua": "uw aa", "ue": "uw eh", "uo": "uw ao", "ui": "uw iy", "iu": "iy uw",
    "kw": "k w", "ks": "k s", "ɡz": "g z",
}  # fmt: skip
_SHORT: dict[str, str] = {
    **{symbol: symbol for symbol in "bdfklmnpstvwz"},
    "ɡ": "g", "g": "g", "h": "hh", "ɦ": "hh", "ŋ": "ng", "ɹ": "r", "ɻ": "r", "r": "d", "ɾ": "d", "ʃ": "sh", "ʒ": "zh",
    "θ": "th", "ð": "dh", "j": "y", "ɫ": "l", "ʍ": "w", "ɬ": "l",
    "i": "iy", "ɪ": "ih", "e": "ey", "ɛ": "eh", "æ": "ae", "a": "aa", "ɑ": "aa", "ɒ": "ao", "ɔ": "ao", "o": "ow",
    "ʊ": "uh", "u": "uw", "ʌ": "ah", "ə": "ah", "ɐ": "ah", "ɜ": "er", "ɚ": "er", "ɝ": "er", "ɨ": "ih", "ᵻ": "ih",
    "y": "uw", "ʏ": "uh", "ø": "er", "œ": "er", "ɵ": "uh", "ʉ": "uw", "ɯ": "ih", "ɤ": "ah", "ɘ": "ih", "ɞ": "er",
    "x": "hh", "χ": "hh", "ç": "hh", "ħ": "hh", "ɣ": "g", "ʁ": "g", "ʀ": "g", "ʕ": "aa", "q": "k", "c": "k", "ɟ": "g",
    "ɲ": "n", "ɳ": "n", "ɴ": "ng", "ʎ": "l", "ɭ": "l", "ʟ": "l", "ʈ": "t", "ɖ": "d", "ɽ": "d", "β": "v", "ɸ": "f",
    "ʋ": "v", "ɥ": "w", "ɰ": "g", "ʂ": "sh", "ʐ": "zh", "ɕ": "sh", "ʑ": "zh", "ɓ": "b", "ɗ": "d", "ɱ": "m",
    "ʝ": "y", "ɠ": "g", "ʄ": "jh", "ʙ": "b",
}  # fmt: skip
_IGNORED = set("ˈˌːˑ‿.ʰʲʷˠˤʼ˞|-'ʔ\u0361\u035c")


def to_phones(ipa: str) -> tuple[str, ...]:
    """The PHONES that one IPA segment stands for; empty for nothing but marks or an unknown symbol.

    >>> to_phones("ˈɑːɹ")
    ('aa', 'r')
    """
    text = unicodedata.normalize("NFD", ipa)
    text = "".join(c for c in text if c not in _IGNORED and not unicodedata.combining(c) and not c.isdigit())
    found: list[str] = []
    at = 0
    while at < len(text):
        for size in (3, 2, 1):
            value = (_LONG if size > 1 else _SHORT).get(text[at : at + size])
            if value is not None:
                found += value.split()
                break
        at += size
    return tuple(found)
