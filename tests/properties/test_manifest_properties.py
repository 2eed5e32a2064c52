"""Properties of the tables on disk: what is written is read back."""

from pathlib import Path

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from sentifuse.data import bad_samples, manifest, splits
from sentifuse.data.bad_samples import Problem
from sentifuse.data.splits import LabelRow
from sentifuse.runtime import files

# UTF-8 knows no lone surrogates; of the rest `label_files.read` lets nothing through that CSV cannot hold.
LETTERS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=8)
ODD = st.sampled_from(["007", "1e3", "NA", "nan", "null", "", " a ", 'a"b', "a,b", "a\nb", "\n"])
CELLS = LETTERS | ODD


@given(st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS, CELLS), max_size=8))
def test_a_manifest_reads_back_as_it_was(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    table = pd.DataFrame(rows, columns=manifest.COLUMNS, dtype=str)
    manifest.write(table, tmp_path / "manifest.csv")
    found = manifest.read(tmp_path / "manifest.csv")
    assert found.to_numpy().tolist() == table.to_numpy().tolist()
    assert manifest.missing(found) == manifest.missing(table)
    assert [
        tuple(sample) for sample in files.CsvRows(tmp_path / "manifest.csv", manifest.Sample._make)
    ] == rows


@given(st.lists(CELLS, unique=True, max_size=8), st.lists(CELLS, unique=True, max_size=8))
def test_a_split_table_reads_back_as_it_was(
    tmp_path: Path, labelled: list[str], predict: list[str]
) -> None:
    rows = [LabelRow(guid, guid) for guid in labelled]
    asked = [LabelRow(guid, "null") for guid in predict]
    table = splits.table(rows, ["train"] * len(rows), asked, {}, set(predict[::2]))
    files.write_csv(tmp_path / "splits.csv", table)
    found = splits.read(tmp_path / "splits.csv")
    assert found.to_numpy().tolist() == table.to_numpy().tolist()
    one_by_one = list(files.CsvRows(tmp_path / "splits.csv", splits.SplitRow._make))
    assert [list(row) for row in one_by_one] == found.to_numpy().tolist()
    kinds = list(found["split"][len(rows) :])
    assert kinds == ["predict" if number % 2 else "no_input" for number in range(len(asked))]


@given(st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS), max_size=8))
def test_a_problem_is_printable_and_its_table_complete(rows: list[tuple[str, ...]]) -> None:
    problems = [Problem(*row) for row in rows]
    for problem in problems:
        assert bad_samples.shown(problem.guid).isprintable()
    table = bad_samples.table(problems)
    assert sorted(table.to_numpy().tolist()) == sorted(map(list, rows))


@given(st.lists(st.sampled_from(["train", "val", "test", "predict", "no_input"]), max_size=20))
def test_counts_cover_every_row(parts: list[str]) -> None:
    table = pd.DataFrame(
        {
            "guid": [str(number) for number in range(len(parts))],
            "label": ["" if part in splits.UNLABELLED_PARTS else "x" for part in parts],
            "split": parts,
        }
    )
    counts = splits.counts(table)
    assert sum(sum(found.values()) for found in counts.values()) == len(parts)
