import numpy as np
import pytest

from sentifuse.evaluation import oracle
from sentifuse.evaluation.answers import MODEL, Answers


def answers(targets: list[int], **given: list[int]) -> Answers:
    own = {name: np.array(each) for name, each in given.items()}
    guids = [str(place) for place in range(len(targets))]
    return Answers(("a", "b", "c"), guids, np.array(targets), own)


def test_the_oracle_is_right_where_one_of_its_models_is() -> None:
    made = answers(
        [0, 0, 1, 1, 2, 2],
        model=[1, 0, 0, 0, 2, 1],
        text_only=[0, 1, 1, 0, 0, 0],
        image_only=[0, 1, 0, 1, 0, 0],
    )
    found = oracle.scores(made, 0.95)
    assert found["text_or_image"]["accuracy"] == 3 / 6
    assert found["text_or_image_or_model"]["accuracy"] == 5 / 6
    for own in (found["text_or_image"], found["text_or_image_or_model"]):
        assert own["low"] < own["accuracy"] < own["high"]


def test_luck_is_what_shuffled_answers_would_give() -> None:
    rng = np.random.default_rng(0)
    targets = rng.choice(3, size=400, p=[0.2, 0.2, 0.6])
    text = np.where(rng.random(400) < 0.6, targets, rng.integers(3, size=400))
    image = rng.choice(3, size=400, p=[0.1, 0.1, 0.8])
    made = answers(list(targets), model=list(text), text_only=list(text), image_only=list(image))
    both = []
    for kept, dealt in ((text, image), (image, text)):
        shuffled = [rng.permutation(dealt) for _ in range(300)]
        both.append(np.mean([((kept == targets) | (own == targets)).mean() for own in shuffled]))
    assert oracle.scores(made, 0.95)["by_luck"] == pytest.approx(max(both), abs=0.005)


def test_a_class_that_is_never_answered_is_never_lucky() -> None:
    made = answers([2, 2], model=[0, 0], text_only=[0, 0], image_only=[0, 1])
    assert oracle.scores(made, 0.95)["by_luck"] == 0


@pytest.mark.parametrize("missing", ["text_only", "image_only"])
def test_without_one_of_the_modalities_there_is_no_oracle(missing: str) -> None:
    given = {name: [0, 1] for name in (MODEL, "text_only", "image_only") if name != missing}
    assert oracle.scores(answers([0, 1], **given), 0.95) == {}
