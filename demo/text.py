"""Short tweet-like English texts with a chosen sentiment, filled from templates.

The topics, names, places, links and most hashtags are drawn alike for every sentiment, so what
tells a text's sentiment is what it says about its topic: outright, by a hint, or disguised.
"""

from random import Random
from typing import Literal

from demo.words import HANDLES, SLOTS, fill

Sentiment = Literal["negative", "neutral", "positive"]
Encoding = Literal["utf-8", "gbk", "latin-1"]

WORDS = (3, 30)
"""The fewest and the most words of a text, counted between white space."""

IMPLIED = 0.1
"""Share of texts that imply their sentiment without a word of mood."""

MISLEADING = 0.04
"""Share of texts whose single words point to another sentiment than the text."""

OUTRIGHT: dict[Sentiment, tuple[str, ...]] = {
    "positive": (
        "{thing} {when} was {good}", "{thing} was {good}, {joy}", "{joy}! {thing} {when}",
        "I love {thing}, simply {good}", "{good}! {who} and {thing} {where}", "{thing} is {good}",
        "{who} made {thing} {good} {when}", "happy faces {where}, {thing} was {good}",
        "{joy} and {thing} was {good} too", "enjoying {thing} {where}, {joy}",
        "congrats to {who}, {thing} was {good}", "finally {thing}! {joy}",
        "couldn't be happier with {thing}", "{thing} {when}, {good} from start to end",
        "cheers to {who} for {thing}, {good}", "best news {when}: {thing} was {good}",
    ),
    "negative": (
        "{thing} {when} was {bad}", "{thing} was {bad}, {gripe}", "{gripe}. {thing} {when}",
        "I hate {thing}, simply {bad}", "{bad}! {who} and {thing} {where}", "{thing} is {bad}",
        "{who} made {thing} {bad} {when}", "sad faces {where}, {thing} was {bad}",
        "{gripe} and {thing} was {bad} too", "stuck with {thing} {where}, {gripe}",
        "sorry {who}, {thing} was {bad}", "{thing} once more... {gripe}",
        "couldn't be sadder about {thing}", "{thing} {when}, {bad} from start to end",
        "complaint to {who} about {thing}, {bad}", "bad news {when}: {thing} was {bad}",
    ),
    "neutral": (
        "{thing} {when} {where}", "on the way to {thing}, {fact}", "{thing}: {fact}",
        "{who} and {thing} {when}", "this is {thing} {where}", "{fact}, {thing} {when}",
        "does anyone know when {thing} starts {when}?", "{who} talks about {thing} {when}",
        "waiting for {thing} {where}", "photo of {thing} by {who}", "{thing} begins at {n} {when}",
        "picture {n} from {thing}", "notes on {thing} {where}, {fact}", "{who} {where} {when}",
        "schedule for {thing}: {n} to {n} {when}", "reminder, {thing} is {when}, {fact}",
    ),
}  # fmt: skip

HINTED: dict[Sentiment, tuple[str, ...]] = {
    "positive": (
        "{who} said yes {when} after {thing}", "we won {n} to 1 {where}, {thing}",
        "got the job {when}, {thing} did it", "front row for {thing} {when}",
        "{who} saved me the last slice after {thing}", "standing ovation for {thing} {where}",
        "free upgrade for {thing} {when}", "{who} came home {when}, {thing} can wait",
        "passed! {thing} is behind me", "everyone sang along at {thing} {where}",
        "all clear from the clinic, then {thing} with {who}", "dancing through {thing} {where}",
        "my little one took {n} steps at {thing}", "going back to {thing} {when}, count me in",
    ),
    "negative": (
        "{who} walked out {when} after {thing}", "we lost {n} to nil {where}, {thing}",
        "lost the job {when}, {thing} did it", "waited {n} hours for {thing} {when}",
        "{who} dropped the last slice after {thing}", "empty seats and booing at {thing} {where}",
        "double charged for {thing} {when}", "{who} ended up in hospital {when}, {thing} is off",
        "failed! {thing} has to be done over", "half of us left {thing} early {where}",
        "bad results from the clinic, then {thing}", "crying through {thing} {where}",
        "somebody stole my bag at {thing}", "asked for my money back after {thing} {when}",
    ),
    "neutral": (
        "{who} moved {thing} to {n} o'clock {when}", "{n} people signed up for {thing} {when}",
        "changed seats {when} before {thing}", "row {n} for {thing} {when}",
        "{who} ordered a slice before {thing}", "they are setting up {thing} {where}",
        "paid by card for {thing} {when}", "{who} called {when}, {thing} is at {n}",
        "done, {thing} is next", "about half of us went to {thing} {where}",
        "form from the clinic, then {thing}", "walking past {thing} {where}",
        "left my bag at the desk for {thing}", "asked about the price of {thing} {when}",
    ),
}  # fmt: skip

DISGUISED: dict[Sentiment, tuple[str, ...]] = {
    "positive": (
        "{thing} was not {bad} at all", "I was afraid {thing} would be {bad}, no way it was",
        "who said {thing} is {bad}? you missed out", "crying tears of laughter at {thing}",
        "nothing to complain about {thing} {where}", "{thing} was sick, killed it {when}",
        "no more {bad} days, {thing} cured me", "zero regrets about {thing} {when}",
    ),
    "negative": (
        "oh {good}, {thing} is cancelled {when}", "thanks {who}, just what I needed at {thing}",
        "{thing} was {good}... said nobody {when}", "{good}, another {n} hours of {thing}",
        "{thing} was supposed to be {good}, it never was", "not {good}. not {thing}. not {when}",
        "I wish {thing} had been {good}", "yeah right {who}, it will be {good}, {thing} in the dark",
    ),
    "neutral": (
        "{thing}, {good} or {bad}? poll ends at {n}", "{who} plays the sad clown in {thing}",
        "'Happy Street' and {thing} {where} {when}", "{n} reviews of {thing}, {bad} to {good}",
        "chapter {n} is called The Love Letter, {thing}", "the Death Valley bus, {thing} {when}",
        "some say {good}, some say {bad}: {thing}", "Hope Road is closed for {thing} {when}",
    ),
}  # fmt: skip
"""Praise in the words of blame (negation), blame in the words of praise (sarcasm), and plain
information that happens to hold a word of mood."""

MOOD_TAGS: dict[Sentiment, tuple[str, ...]] = {
    "positive": ("GoodTimes", "Blessed", "Happy", "LoveIt", "Winning", "Smile", "BestDayEver"),
    "negative": ("Fail", "NotOk", "Sad", "SoAngry", "WorstDay", "Heartbroken", "Ugh"),
    "neutral": ("FYI", "Info", "Photo", "Question", "Update", "News", "Schedule"),
}  # fmt: skip

EMOJI: dict[Sentiment, str] = {
    "positive": "😀😍🎉😊🥳💖👍🙌😂",
    "negative": "😢😡💔😞😭👎😠🤢😂",
    "neutral": "📷🚌📅👀🤔📍📚☕🎬",
}  # fmt: skip

FOREIGN: dict[Encoding, tuple[str, ...]] = {
    "utf-8": (
        "at the café", "in São Paulo", "周末", "for £5", "— part two —", "in Zürich", "‘live’",
    ),
    # No phrase's GBK bytes may read as UTF-8, or the reader would take them for it.
    "gbk": (
        "北京", "上海", "周末", "今天", "照片", "朋友圈", "广州站", "（图）", "【转】", "“直播”",
        "学校门口", "下午三点", "第２天", "在路上", "～现场～", "微博",
    ),
    # Each phrase ends in, or holds before a blank or a digit, an accented letter or a pound sign:
    # that is not allowed in GB18030 either, so that only Latin-1 is left to the reader.
    "latin-1": (
        "at the café", "for £5", "in São Tomé", "with rosé", "£12 at the door", "in Malmö",
        "for 3 £", "with the fiancé", "à la carte", "at Café Peña £8", "on the Plaza José",
        "menu olé £20", "from Santa Fé", "in Åre, café 2",
    ),
}  # fmt: skip


def _statement(sentiment: Sentiment, rng: Random) -> str:
    """Returns what the text says about its topic: outright, by a hint, or disguised."""
    kind = rng.random()
    if kind < MISLEADING:
        templates = DISGUISED[sentiment]
    elif kind < MISLEADING + IMPLIED:
        templates = HINTED[sentiment]
    else:
        templates = OUTRIGHT[sentiment]
    return fill(rng.choice(templates), rng)


def _remark(sentiment: Sentiment, rng: Random) -> str:
    """Returns the slot of a second clause, which gives the mood again or only some fact."""
    moods: dict[Sentiment, str] = {"negative": "{gripe}", "neutral": "{fact}", "positive": "{joy}"}
    return moods[sentiment] if rng.random() < 0.85 else "{fact}"


def _handle(rng: Random) -> str:
    """Returns a made-up user name behind an @."""
    return f"@{rng.choice(HANDLES)}{rng.choice(('', '_', rng.choice(HANDLES)))}{rng.randrange(100)}"


def _url(rng: Random) -> str:
    """Returns a made-up shortened link."""
    letters = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
    return "http://t.co/" + "".join(rng.choices(letters, k=10))


def _hashtags(sentiment: Sentiment, rng: Random) -> list[str]:
    """Returns up to three hashtags, at times one of mood, in camel case or lower case."""
    names = rng.sample(SLOTS["tag"], rng.choice((0, 0, 0, 1, 1, 2)))
    if rng.random() < 0.35:
        names.append(rng.choice(MOOD_TAGS[sentiment]))
    lower = rng.random() < 0.4
    return ["#" + (name.lower() if lower else name) for name in names]


def _emoji(sentiment: Sentiment, rng: Random) -> list[str]:
    """Returns no emoji, or one repeated up to three times; one in seven is of no mood."""
    if rng.random() > 0.5:
        return []
    mood = sentiment if rng.random() < 0.85 else "neutral"
    return [rng.choice(EMOJI[mood]) * rng.choice((1, 1, 1, 2, 3))]


def _misspell(text: str, rng: Random) -> str:
    """Returns the text with two neighbouring letters of one longer word swapped."""
    words = text.split(" ")
    # Words with other letters are left alone: the encodings depend on their neighbours.
    long = [
        i for i, word in enumerate(words) if len(word) > 5 and word.isalpha() and word.isascii()
    ]
    if long:
        i = rng.choice(long)
        word, at = words[i], rng.randrange(1, len(words[i]) - 2)
        words[i] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)


def _style(text: str, rng: Random) -> str:
    """Returns the text in one of the ways people type: capitals, marks, dots, a typo."""
    text += rng.choice(("", "", "", ".", "!", "!!", "...", " :)" if rng.random() < 0.15 else ""))
    if rng.random() < 0.1:
        text = _misspell(text, rng)
    if rng.random() < 0.06:
        return text.upper()
    return text[0].upper() + text[1:] if rng.random() < 0.6 else text


def _draft(sentiment: Sentiment, encoding: Encoding, rng: Random) -> str:
    """Returns one text, of any length."""
    said = _statement(sentiment, rng)
    if rng.random() < 0.25:
        said = fill("{opener} ", rng) + said
    if rng.random() < 0.5:
        said += rng.choice((". ", ", ", " - ", "... ")) + fill(_remark(sentiment, rng), rng)
    parts = [_style(said, rng)]
    if encoding != "utf-8" or rng.random() < 0.08:
        parts.append(rng.choice(FOREIGN[encoding]))
    if encoding == "utf-8":
        parts += _emoji(sentiment, rng)
    parts += _hashtags(sentiment, rng)
    if rng.random() < 0.25:
        parts.insert(rng.randrange(len(parts) + 1), _handle(rng))
    if rng.random() < 0.3:
        parts.append(_url(rng))
    if rng.random() < 0.15:
        parts.insert(0, f"RT {_handle(rng)}:")
    text = " ".join(parts)
    # Chinese keyboards give a round apostrophe and wide marks.
    return text.replace("'", "’").replace("!", "！") if encoding == "gbk" else text


def compose(sentiment: Sentiment, encoding: Encoding, rng: Random) -> str:
    """Writes one text.

    Args:
        sentiment: What the text expresses.
        encoding: How the text is to be stored. A GBK or Latin-1 text holds something that makes
            its bytes invalid in the encodings a reader would try before (UTF-8, then GB18030).
        rng: Where all choices come from.

    Returns:
        A line of 3 to 30 words without line ends, which the encoding can hold.
    """
    fewest, most = WORDS
    while True:
        text = _draft(sentiment, encoding, rng)
        if fewest <= len(text.split()) <= most:
            return text
