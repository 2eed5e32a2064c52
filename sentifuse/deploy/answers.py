"""What a predictor says of a pair: a prediction, or an explanation of it."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Prediction:
    """What the model says of a pair; `base` and the two contributions sum to `confidence`.

    The descriptions stand in `/openapi.json`.
    """

    label: str = field(metadata={"description": "the class with the highest probability"})
    probabilities: dict[str, float] = field(
        metadata={"description": "label -> probability; they sum to 1"}
    )
    confidence: float = field(metadata={"description": "the probability of `label`"})
    text_contribution: float = field(
        metadata={"description": "what the text adds to `confidence`, -1..1; 0 without one"}
    )
    image_contribution: float = field(
        metadata={"description": "what the image adds to `confidence`, -1..1; 0 without one"}
    )
    base: float = field(
        metadata={"description": "the probability of `label` without seeing anything"}
    )
    used: tuple[str, ...] = field(
        metadata={"description": "the modalities that the model read, of `image` and `text`"}
    )


@dataclass(frozen=True)
class Word:
    """A word, its place in the text (as of a slice), and what it adds to the confidence, -1..1."""

    text: str
    start: int
    end: int
    contribution: float


@dataclass(frozen=True)
class Explanation:
    """Which words and which parts of the picture moved the confidence of a prediction.

    What a part adds is the confidence less what the class that was predicted still has once the part is
    hidden: it is positive where the part speaks for that class. The figures need not sum to anything.

    Attributes:
        prediction: of the whole pair.
        text: as it was given; empty if the model read none.
        words: of the text, in their order; links and mentions are among them.
        grid: what the cells of the picture add, -1..1: rows from the top, each from the left; empty if the
            model read no picture.
    """

    prediction: Prediction
    text: str
    words: tuple[Word, ...]
    grid: tuple[tuple[float, ...], ...]
