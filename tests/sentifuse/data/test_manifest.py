from pathlib import Path

import pandas as pd

from sentifuse.data import course_layout, inspection, manifest
from sentifuse.runtime.files import CsvRows
from tests.raw_files import sample_files


def test_the_manifest_reads_back_as_strings(tmp_path: Path) -> None:
    guids = ["007", "1e3", "nan", "null"]
    root = sample_files(tmp_path, dict.fromkeys(guids, ".png"))
    samples = inspection.inspect(root, guids, course_layout.finder(root)).samples
    manifest.write(samples, tmp_path / "out" / "manifest.csv")
    table = manifest.read(tmp_path / "out" / "manifest.csv")
    assert list(table.columns) == ["guid", "image", "text", "image_sha256", "text_sha256"]
    assert table.equals(samples[manifest.COLUMNS])
    assert list(table["guid"]) == guids
    assert b"\r" not in (tmp_path / "out" / "manifest.csv").read_bytes()


def test_what_a_sample_lacks_is_what_has_no_path(tmp_path: Path) -> None:
    rows = [("a", "a.png", "a.txt"), ("b", "", "b.txt"), ("c", "c.png", ""), ("d", "", "")]
    table = pd.DataFrame(rows, columns=["guid", "image", "text"]).assign(
        image_sha256="", text_sha256=""
    )
    expected = {"a": "", "b": "image", "c": "text", "d": "image+text"}
    assert manifest.missing(table) == expected
    manifest.write(table, tmp_path / "manifest.csv")
    assert manifest.missing(manifest.read(tmp_path / "manifest.csv")) == expected
    samples = CsvRows(tmp_path / "manifest.csv", manifest.Sample._make)
    assert manifest.incomplete(samples) == {k: v for k, v in expected.items() if v}


def test_samples_are_read_from_the_file_each_time_anew(tmp_path: Path) -> None:
    table = pd.DataFrame([["a", "a.png", "a, b.txt", "1", "2"]], columns=manifest.COLUMNS)
    samples = CsvRows(tmp_path / "manifest.csv", manifest.Sample._make)
    for guids in (["a"], ["a", "c"]):
        manifest.write(pd.concat([table] * len(guids)).assign(guid=guids), samples.path)
        assert [sample.guid for sample in samples] == guids
        assert next(iter(samples)) == ("a", "a.png", "a, b.txt", "1", "2")
