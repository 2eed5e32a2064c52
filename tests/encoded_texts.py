"""Short texts as people post them, in the encodings that they are stored in, with what they say.

All of them are made by code, so that it is known what is right. Texts that are the same bytes in UTF-8 are
left out of the other encodings: they say nothing about which encoding it is.
"""

from collections.abc import Iterator
from typing import NamedTuple

SIMPLIFIED = (
    "开心", "好", "今天天气真好", "难过……", "我不喜欢这个电影，太差了！", "好看 love it", "so 累 today",
    "lunch with 妈妈", "RT 上海：堵车了", "期末考试终于结束啦~", "“真的吗？”他说", "I ♥ 北京", "北京",
    "新年快乐！！！", "讨厌下雨天", "这家店的服务态度很差，再也不来了", "哈哈哈哈",
    "生日快乐 happy birthday", "今日份的快乐", "看 http://t.co/x1，太好看了！", "一般般吧", "失望透顶",
    "晚安", "五星好评", "不推荐！", "地铁2号线又坏了 :(", "想家了。", "ok的", "A座3楼见", "火锅 yyds",
)  # fmt: skip
TRADITIONAL = (
    "開心", "今天天氣真好", "難過……", "我不喜歡這部電影，太差了！", "好看 love it", "lunch with 媽媽",
    "期末考試終於結束啦~", "「真的嗎？」他說", "台北", "新年快樂！！！", "討厭下雨天",
    "這家店的服務態度很差", "哈哈哈哈", "生日快樂 happy birthday", "早安", "失望透頂", "晚安",
    "不推薦！", "想家了。", "我愛台灣", "香港加油", "謝謝大家", "好累喔", "夜市小吃 best",
)  # fmt: skip
# What GBK can write of it stands in the real data, too.
ENGLISH_QUOTED = (
    "I don’t like it, it’s awful", "can’t wait", "“so good”", "it’s", "best day… ever",
    "we’re here – finally", "that’s “art”?", "coffee — black", "you’re the best!",
    "they’ve lost… again", "#MyLife’s great", "isn’t it?", "What a day…", "‘quoted’ twice",
    "rock ’n’ roll", "no… just no…", "Mom’s birthday", "he said “no” & left", "I’m “fine”…",
)  # fmt: skip
ACCENTED = (
    "señor mañana", "café noir", "no está bien", "¡Qué día más bonito!", "¿Dónde estás?", "año nuevo",
    "el niño está triste", "j’adore ça", "c’est déjà l’été", "où es-tu ?", "très déçu", "garçon",
    "français", "ça va très mal", "Noël à la maison", "não gosto", "coração partido", "as ações caíram",
    "São Paulo é lindo", "que decepção!", "EDUCAÇÃO", "informação útil", "schöner Tag",
    "Grüße aus München", "das ist nicht schön", "über alles", "Straße", "ÄRGER", "Übung macht müde",
    "perché no?", "così così", "città più bella", "è finita", "jag är så trött", "smörgåsbord",
    "på väg hem", "blåbærsyltetøy", "køb ikke", "hyvää päivää", "naïve", "résumé", "Zoë’s café",
    "45° today", "£5 only", "© Bob 2014", "half ½ price", "piñata", "crème brûlée", "jalapeño",
)  # fmt: skip
EMOJI = ("love this 😍", "so bad 😡", "开心😀", "今天😭😭", "👍", "❤️ you")


class Case(NamedTuple):
    """A text, the encoding that it is stored in, and its bytes."""

    encoding: str
    text: str
    raw: bytes


def cases() -> Iterator[Case]:
    """All of them, encoding by encoding."""
    chinese = (*SIMPLIFIED, *TRADITIONAL)
    western = (*ENGLISH_QUOTED, *ACCENTED)
    for encoding, texts in (
        ("utf-8", (*chinese, *western, *EMOJI)),
        ("utf-8-sig", (*chinese, *western, *EMOJI)),
        ("utf-16", (*chinese, *western, *EMOJI)),
        ("gbk", (*SIMPLIFIED, *TRADITIONAL, *ENGLISH_QUOTED)),
        ("gb18030", EMOJI),
        ("big5", TRADITIONAL),
        ("cp1252", western),
        ("latin-1", ACCENTED),
    ):
        for text in texts:
            try:
                raw = text.encode(encoding)
            except UnicodeEncodeError:  # it cannot write that text
                continue
            if encoding.startswith("utf") or not raw.isascii():
                yield Case(encoding, text, raw)
