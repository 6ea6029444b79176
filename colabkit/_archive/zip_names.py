"""Names in a zip that does not tell its encoding: each encoding of the time reads them, and the likeliest text wins."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

DEFAULT = "cp437"
"""What the format says: the code page of the first PC."""

_WESTERN = "ïéèêàâäáãåçñóôöõíîúûüßøæÉÈÀÄÅÇÑÓÖÚÜØÁÃ"
_CENTRAL = "ąćęłńóśźżáčďéěíňřšťúůýžőűäöüßĄĆĘŁŃÓŚŹŻÁČĎÉĚÍŇŘŠŤÚŮÝŽŐŰÄÖÜ"
_TURKISH = "çğıöşüâîÇĞİÖŞÜ"
_RUSSIAN = "оеаинтсрвлкмдпуОЕАИНТСРВЛКМДПУ"
_GREEK = "αοιετσνηυρπκμλςάέίόήύΑΟΙΕΤΣΝΗΥΡΠΚΜΛΔ"
_HEBREW = "יוהלארתבשמםנ"
_CHINESE = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法"
    "学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外"
    "将两高间由问很最重并物手应向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及"
    "比员解水名真论处走义各入几口认条平系气题活更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保"
    "至队形社便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传师"
    "观清今切院让识候带导争运训练测试图片标注档案验证集音频视络"
)
_TRADITIONAL = (
    "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年過發後作裡用道行所然家種事成方多經麼去法"
    "學如都同現當沒動面起看定天分還進好小部其些主樣理心本前開但因只從想實日者意無力它與長把機十民第公此已工使情明性知全三又關點正業外將"
    "兩高間由問很最重並物手應向頭文體政美相見被利什二等產或新己制身果加西斯月話合回特代內信表化老給世位次度門任常先海通教兒原東聲提立及比"
    "員解水名真論處走義各入幾口認條平系氣題活更別打女變四神總何電數安少報結反受目太量再感建務做接必場件計管期市直德資命山金指克許統區保至"
    "隊形社便空決治展馬科料檔案圖片訓練測試驗證集音頻視臺灣說明"
)
_KOREAN = (
    "이다가는의에을하고지로한은들도를서기사자그리아나해어시보수대인정일부과만게전제상스면주원장있여동구성요공유연적신소실교관계방조학비무문"
    "생국경세오용안화선물양파내분모음터데트마라드바회건법현미진결입개년월중료행러치및통반급위당차설최후직각글울"
)


@dataclass(frozen=True)
class _Candidate:
    encoding: str
    language: str
    common: str
    likely: float = 1.0


_CANDIDATES = (
    _Candidate(DEFAULT, "the first PC's letters", _WESTERN),
    _Candidate("cp1252", "Western European", _WESTERN),
    _Candidate("cp850", "Western European", _WESTERN),
    _Candidate("gb18030", "Chinese (GBK)", _CHINESE),
    _Candidate("cp932", "Japanese (Shift JIS)", ""),
    _Candidate("cp866", "Russian (code page 866)", _RUSSIAN),
    _Candidate("cp1251", "Russian (Windows)", _RUSSIAN),
    _Candidate("cp949", "Korean", _KOREAN),
    _Candidate("big5", "Chinese (Big5)", _TRADITIONAL),
    _Candidate("euc_jp", "Japanese (EUC)", "", 0.95),
    _Candidate("koi8-r", "Russian (KOI8-R)", _RUSSIAN, 0.8),
    _Candidate("cp852", "Central European", _CENTRAL, 0.9),
    _Candidate("cp1250", "Central European", _CENTRAL, 0.9),
    _Candidate("cp857", "Turkish", _TURKISH, 0.9),
    _Candidate("cp1254", "Turkish", _TURKISH, 0.9),
    _Candidate("cp737", "Greek", _GREEK, 0.8),
    _Candidate("cp1253", "Greek", _GREEK, 0.8),
    _Candidate("cp862", "Hebrew", _HEBREW, 0.8),
    _Candidate("cp1255", "Hebrew", _HEBREW, 0.8),
)
_SIGNS = "°№·" + "".join(map(chr, range(0x2013, 0x201E)))  # dashes and quotes
_WIDE = frozenset({"gb18030", "cp932", "cp949", "big5", "euc_jp"})


def encoding_of(names: list[bytes]) -> tuple[str, str]:
    """Tell which encoding names were most likely written in, and whose letters it holds.

    Args:
        names: The names as bytes, those with letters beyond ASCII.

    Example:
        >>> encoding_of(["Größe.csv".encode("cp1252")])[0], encoding_of(["Отчёт.csv".encode("cp866")])[0]
        ('cp1252', 'cp866')
    """
    best, encoding, language = 0.0, DEFAULT, _CANDIDATES[0].language
    for candidate in _CANDIDATES:
        try:
            read = [name.decode(candidate.encoding) for name in names]
        except UnicodeDecodeError:
            continue
        score = sum(_plausibility(text, candidate) for text in read) * candidate.likely
        if score > best + 1e-6:
            best, encoding, language = score, candidate.encoding, candidate.language
    return encoding, language


def is_surely_utf_8(name: bytes) -> bool:
    """Say whether a name can hardly be anything but UTF-8: it is sound, and long enough not to be so by chance."""
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return sum(0x80 <= byte < 0xC0 for byte in name) > 1


def _plausibility(text: str, candidate: _Candidate) -> float:
    """Add up what the letters beyond ASCII say: common ones for an encoding; signs and mixed words against it."""
    score, before, fallen, accented = 0.0, "", False, False
    for letter in text:
        script = _script(letter)
        if ord(letter) > 127:
            weight = _weight(letter, script, candidate)
            if script and before and script != before:
                weight -= 1 if "CJK" in (script, before) else 4
            elif fallen and letter.isupper():
                weight -= 2  # an upper letter behind a lower one
            elif script and script == before and letter.isupper():
                weight *= 0.8
            elif accented and script == "LATIN":
                weight -= 0.8  # words are made of plain letters with an accent here and there
            score += weight * (2 if candidate.encoding in _WIDE and ord(letter) > 0xFF and not _is_half(letter) else 1)
        elif script and before and script != before:
            score -= 1 if before == "CJK" else 4
        fallen = bool(script) and (fallen or letter.islower())
        accented = script == "LATIN" and ord(letter) > 127
        before = script
    return score


def _weight(letter: str, script: str, candidate: _Candidate) -> float:
    if not script:
        return 0.5 if unicodedata.east_asian_width(letter) in "WF" else 0.0 if letter in _SIGNS else -3
    if letter in candidate.common:
        return 1.5
    if script != "CJK":
        return (
            1.0 if candidate.common in (_RUSSIAN, _GREEK, _HEBREW) and _script(candidate.common[0]) == script else 0.2
        )
    if _is_half(letter):
        return 0.1
    if "぀" <= letter <= "ヿ":
        return 1.4 if candidate.encoding in ("cp932", "euc_jp") else -0.5
    if "가" <= letter <= "힣":
        return 1.0 if _pair(letter, "euc_kr") else -1.0
    return _commonness_of_han(letter, candidate.encoding)


def _commonness_of_han(letter: str, encoding: str) -> float:
    """Weigh a Chinese character by the part of its standard that it is in: the first has those of daily use."""
    lead = _pair(letter, {"gb18030": "gb2312", "cp932": "shift_jis", "cp949": "euc_kr"}.get(encoding, encoding))
    if encoding == "gb18030":
        return 1.0 if 0xB0 <= lead <= 0xD7 else 0.1 if lead else -0.5
    if encoding == "cp932":
        return 1.2 if 0x88 <= lead <= 0x97 else 0.1
    if encoding == "euc_jp":
        return 1.0 if 0xB0 <= lead <= 0xCF else 0.1
    if encoding == "big5":
        return 1.0 if 0xA4 <= lead <= 0xC6 else 0.1
    return 0.1


def _pair(letter: str, standard: str) -> int:
    """Return the first byte of a letter in a standard of two bytes, or 0 where it is not in that."""
    try:
        return letter.encode(standard)[0]
    except UnicodeEncodeError:
        return 0


def _is_half(letter: str) -> bool:
    return "｡" <= letter <= "ﾟ"


def _script(letter: str) -> str:
    """Name the script of a letter; "" where it is none."""
    if not (letter.isalpha() or unicodedata.category(letter) == "Mn"):
        return "CJK" if letter == "ー" else ""
    if letter.isascii():
        return "LATIN"
    name = unicodedata.name(letter, "").partition(" ")[0]
    return "" if letter in "ªº" else "CJK" if name in _OF_EAST_ASIA else name


_OF_EAST_ASIA = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HALFWIDTH", "HANGUL", "KATAKANA-HIRAGANA"})
