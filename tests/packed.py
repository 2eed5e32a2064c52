"""The same samples in every layout: packs a data set of the course's layout, in its order."""

import csv
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sentifuse.data import label_files, text


@dataclass(frozen=True)
class Sample:
    guid: str
    label: str  # empty: to be predicted
    image: Path
    text: str


def samples(root: Path) -> list[Sample]:
    """Labelled samples, then those to predict."""
    found = []
    for name in (label_files.TRAIN_FILE, label_files.PREDICT_FILE):
        for row in label_files.read_rows(root / name):
            [image] = [each for each in root.glob(f"data/{row.guid}.*") if each.suffix != ".txt"]
            words = text.decode((root / "data" / f"{row.guid}.txt").read_bytes())
            found.append(Sample(row.guid, "" if row.tag == "null" else row.tag, image, words))
    return found


def csv_table(root: Path, out: Path) -> None:
    """A CSV file beside the images."""
    _copy_images(root, out)
    with (out / "samples.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "text", "label"])
        writer.writerows(
            (each.guid, f"pictures/{each.image.name}", each.text, each.label)
            for each in samples(root)
        )


def jsonl_table(root: Path, out: Path) -> None:
    """Lines of JSON beside the images; what has no label has no key for one."""
    _copy_images(root, out)
    with (out / "samples.jsonl").open("w", encoding="utf-8") as file:
        for each in samples(root):
            row = {"id": each.guid, "image": f"pictures/{each.image.name}", "text": each.text}
            row |= {"label": each.label} if each.label else {}
            file.write(json.dumps(row) + "\n")


def parquet_bytes(root: Path, out: Path) -> None:
    """One Parquet file with the bytes of the images, in groups of a few rows."""
    table = _arrow(samples(root), lambda each: each.image.read_bytes(), pa.binary())
    pq.write_table(table, out / "samples.parquet", row_group_size=7)


def parquet_structs(root: Path, out: Path) -> None:
    """Two Parquet files as a Hugging Face data set is exported."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    every = samples(root)
    for number, some in enumerate((every[: len(every) // 2], every[len(every) // 2 :])):
        table = _arrow(
            some, lambda each: {"bytes": each.image.read_bytes(), "path": each.image.name}, kind
        )
        pq.write_table(table, out / f"train-{number:05}-of-00002.parquet")


def tar_shards(root: Path, out: Path) -> None:
    """Two shards of WebDataset."""
    every = samples(root)
    for number, some in enumerate((every[: len(every) // 3], every[len(every) // 3 :])):
        with tarfile.open(out / f"shard-{number:06}.tar", "w") as tar:
            for each in some:
                add(tar, f"{each.guid}{each.image.suffix}", each.image.read_bytes())
                add(tar, f"{each.guid}.txt", each.text.encode())
                values = {"label": each.label} if each.label else {}
                add(tar, f"{each.guid}.json", json.dumps(values).encode())


def add(tar: tarfile.TarFile, name: str, raw: bytes) -> None:
    """Adds a member."""
    member = tarfile.TarInfo(name)
    member.size = len(raw)
    tar.addfile(member, io.BytesIO(raw))


PACKERS: dict[str, Callable[[Path, Path], None]] = {
    "csv": csv_table,
    "jsonl": jsonl_table,
    "parquet_bytes": parquet_bytes,
    "parquet_structs": parquet_structs,
    "tar": tar_shards,
}


def pack(layout: str, root: Path, out: Path) -> Path:
    """Packs `root` into the new folder `out`."""
    out.mkdir()
    PACKERS[layout](root, out)
    return out


def _copy_images(root: Path, out: Path) -> None:
    (out / "pictures").mkdir()
    for each in samples(root):
        (out / "pictures" / each.image.name).write_bytes(each.image.read_bytes())


def _arrow(
    rows: Sequence[Sample], image: Callable[[Sample], object], kind: pa.DataType
) -> pa.Table:
    return pa.table(
        {
            "id": [each.guid for each in rows],
            "image": pa.array([image(each) for each in rows], kind),
            "text": [each.text for each in rows],
            "label": [each.label or None for each in rows],
        }
    )
