"""A guess at the language of a text, by py3langid.

It is a naive Bayes classifier on byte n-grams of 139 languages (Lui and Baldwin 2012, "langid.py: An
Off-the-shelf Language Identification Tool"). The package holds the model: nothing is fetched.
"""

from collections.abc import Iterable

# The most probable language has to be more probable than all others together.
_LEAST = 0.5
# Nigerian Pidgin. Of the tweets of MVSA, those that are taken for it are headlines in English.
_LEFT_OUT = {"pcm"}
# What is no language, and what is none for sure.
_UNKNOWN = ("zxx", "und")


def guesses(texts: Iterable[str]) -> list[str]:
    """The code of ISO 639 of each text, such as `en`; empty where it cannot tell.

    It cannot tell if a text is very short, mixes languages, or has names, numbers and signs only. On tweets
    it is wrong now and then: use it for shares and groups, not for single texts.
    """
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # its model takes 0.4 s to load

    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True, min_confidence=_LEAST)
    model.set_languages(set(model.labels) - _LEFT_OUT)
    found = (model.classify(text)[0] for text in texts)
    return ["" if code in _UNKNOWN else code for code in found]
