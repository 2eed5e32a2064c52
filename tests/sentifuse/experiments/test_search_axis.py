import pytest

from sentifuse.experiments.search_axis import label, place


def test_few_numbers_stand_by_size_with_a_tick_each() -> None:
    axis = place([6, 0, 3, 3])
    assert axis.places == (1.0, 0.0, 0.5, 0.5)
    assert axis.ticks == ((0.0, "0"), (0.5, "3"), (1.0, "6"))
    assert axis.is_few
    assert not axis.is_log


def test_rates_stand_by_decade() -> None:
    axis = place([1e-5, 1e-4, 1e-3])
    assert axis.places == pytest.approx((0.0, 0.5, 1.0))
    assert [text for _, text in axis.ticks] == ["1e-5", "1e-4", "1e-3"]
    assert axis.is_log


def test_shares_stand_by_size_though_they_span_a_decade() -> None:
    assert not place([0.01, 0.1, 0.2, 0.3, 0.4, 0.5]).is_log


def test_many_numbers_have_round_ticks_within_the_axis() -> None:
    for numbers in (
        [0.013 * step for step in range(40)],
        [10.0 ** (-5 + step / 9) for step in range(30)],
    ):
        axis = place(numbers)
        assert not axis.is_few
        assert 2 <= len(axis.ticks) <= 8
        heights = [height for height, _ in axis.ticks]
        assert heights == sorted(heights)
        assert min(heights) >= 0
        assert max(heights) <= 1
        assert all(-1e-9 <= at <= 1 + 1e-9 for at in axis.places)
        assert list(axis.places) == sorted(axis.places)


def test_other_values_stand_evenly_in_order() -> None:
    axis = place(["gated", [256, 64], "concat", "gated", None])
    texts = [text for _, text in axis.ticks]
    assert sorted(texts) == sorted(["concat", "gated", "256, 64", "null"])
    assert [height for height, _ in axis.ticks] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert axis.places[0] == axis.places[3]
    assert len(set(axis.places)) == 4


def test_true_and_false_are_no_numbers() -> None:
    assert place([True, False, True]).ticks == ((0.0, "false"), (1.0, "true"))


def test_one_kind_of_other_value_stands_below_the_numbers() -> None:
    axis = place([0.1, None, 0.3])
    assert axis.places[1] == 0.0
    assert 0.1 < axis.places[0] < axis.places[2] == 1.0
    assert axis.ticks[0] == (0.0, "null")


def test_labels_that_would_touch_are_left_out() -> None:
    assert [text for _, text in place([0.0, 0.001, 1.0]).ticks] == ["0", "1"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-4, "1e-4"),
        (0.00025, "2.5e-4"),
        (0.05, "0.05"),
        (64, "64"),
        (1_000_000, "1e6"),
        (0, "0"),
        ([], "[]"),
        ([0.5, "a"], "0.5, a"),
        ("a" * 30, "a" * 17 + "…"),
    ],
)
def test_labels_are_short(value: object, text: str) -> None:
    assert label(value) == text
