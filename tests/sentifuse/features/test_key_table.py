import random
import tracemalloc

import numpy as np

from sentifuse.features.key_table import KeyTable


def found(table: KeyTable, *keys: str) -> list[list[int]]:
    return [places.tolist() for places in table.find(keys)]


def test_a_key_is_found_at_each_of_its_positions() -> None:
    table = KeyTable(["b", "a", "b", "c", "b"])
    assert found(table, "a", "b", "c") == [[1], [0, 2, 4], [3]]
    assert table.length == 5


def test_a_key_that_is_not_there_has_no_position() -> None:
    assert found(KeyTable(["a"]), "b", "a", "aa") == [[], [0], []]
    assert found(KeyTable([]), "b") == [[]]
    assert found(KeyTable(["a"])) == []
    assert KeyTable(["a"]).first(["b", "a", "aa"]).tolist() == [-1, 0, -1]
    assert KeyTable([]).first(["b"]).tolist() == [-1]
    assert KeyTable(["a"]).first([]).tolist() == []


def test_an_empty_key_takes_a_position_and_is_not_found() -> None:
    table = KeyTable(["", "a", ""])
    assert found(table, "", "a") == [[], [1]]
    assert table.firsts().tolist() == [1]
    assert table.length == 3


def test_the_first_position_of_each_key_is_told() -> None:
    assert sorted(KeyTable(["b", "a", "b", "c", "a"]).firsts().tolist()) == [0, 1, 3]
    assert KeyTable([]).firsts().tolist() == []


def test_it_finds_what_a_dict_finds() -> None:
    rng = random.Random(1)
    keys = [f"{rng.randrange(3000)}" for _ in range(5000)]
    table = KeyTable(keys)
    expected = [[place for place, each in enumerate(keys) if each == key] for key in keys[:300]]
    assert found(table, *keys[:300]) == expected
    assert table.first(keys[:300]).tolist() == [places[0] for places in expected]
    assert sorted(table.firsts().tolist()) == sorted(keys.index(key) for key in set(keys))


def test_a_key_takes_24_bytes() -> None:
    tracemalloc.start()
    table = KeyTable(f"{number:064x}" for number in range(20_000))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 25 * table.length
    assert np.concatenate(table.find([f"{7:064x}"])).tolist() == [7]
