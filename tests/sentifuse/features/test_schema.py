"""Tests of the assembled features: `assemble.write` and `schema.read`."""

import io
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sentifuse.errors import UserError
from sentifuse.features import assemble, schema
from sentifuse.features.assemble import StoredRows
from sentifuse.features.schema import Array, Meta
from sentifuse.features.store.space import EncodedRow, Space

META = Meta(
    image_dim=4,
    text_dim=3,
    image_token_dim=6,
    text_token_dim=5,
    views=1,
    image_tail=None,
    text_tail=None,
    image_fingerprint="i",
    text_fingerprint="t",
)


def image_row(
    value: int, tokens: bool = True, hidden: bool = False, patches: int = 2
) -> EncodedRow:
    """A row of an image encoder; random views have no tokens."""
    row: EncodedRow = {"embedding": np.full((1, 4), value, dtype=np.float32)}
    if tokens:
        row["tokens"] = np.full((patches, 6), value + 0.25, dtype=np.float16)
    if hidden:
        row["hidden"] = np.full((2, 6), value + 0.5, dtype=np.float16)
    return row


def text_row(value: int, length: int, tokens: bool = True, hidden: bool = True) -> EncodedRow:
    """A row of a text encoder."""
    row: EncodedRow = {"embedding": np.full((1, 3), value, dtype=np.float32)}
    if tokens:
        row["tokens"] = value + 0.25 * np.arange(5 * length).reshape(length, 5).astype(np.float16)
    if hidden:
        row["hidden"] = value + 0.5 * np.arange(5 * length).reshape(length, 5).astype(np.float16)
    return row


@pytest.fixture
def images(tmp_path: Path) -> Space:
    return Space(tmp_path / "store", "image-1")


@pytest.fixture
def texts(tmp_path: Path) -> Space:
    return Space(tmp_path / "store", "text-1")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "data" / "features"


def kept(array: Array | None) -> Array:
    assert array is not None
    return array


def test_rows_are_in_the_order_of_the_guids_whatever_shard_they_are_in(
    images: Space, texts: Space, out: Path
) -> None:
    for value in (3, 1, 2):
        images.append({f"i{value}": image_row(value)})
        texts.append({f"t{value}": text_row(value, value)})
    assemble.write(
        out,
        META,
        ["c", "a", "b"],
        StoredRows(images, ["i3", "i1", "i2"]),
        StoredRows(texts, ["t3", "t1", "t2"]),
    )
    found = schema.read(out)
    assert found.guids == ["c", "a", "b"]
    assert found.meta == META
    assert found.image_embeddings.shape == (3, 1, 4)
    assert found.image_embeddings.dtype == np.float32
    assert found.image_embeddings[:, 0, 0].tolist() == [3, 1, 2]
    assert found.text_embeddings[:, 0].tolist() == [3, 1, 2]
    assert kept(found.image_tokens).shape == (3, 2, 6)
    assert kept(found.image_tokens)[:, 0, 0].tolist() == [3.25, 1.25, 2.25]
    assert found.rows(["b", "c"]).tolist() == [2, 0]


def test_texts_of_different_lengths_lie_one_behind_the_other(
    images: Space, texts: Space, out: Path
) -> None:
    lengths = {"t1": 3, "t2": 1, "t3": 4}
    images.append({"i": image_row(0)})
    texts.append({key: text_row(int(key[1]), length) for key, length in lengths.items()})
    order = ["t2", "t3", "t1"]
    assemble.write(
        out, META, ["a", "b", "c"], StoredRows(images, ["i"] * 3), StoredRows(texts, order)
    )
    found = schema.read(out)
    assert kept(found.text_offsets).tolist() == [0, 1, 5, 8]
    assert kept(found.text_offsets).dtype == np.int64
    for index, key in enumerate(order):
        own = slice(*kept(found.text_offsets)[index : index + 2])
        expected = text_row(int(key[1]), lengths[key])
        np.testing.assert_array_equal(kept(found.text_tokens)[own], expected["tokens"])
        np.testing.assert_array_equal(kept(found.text_hidden)[own], expected["hidden"])
    assert kept(found.text_tokens).dtype == np.float16


def test_a_sample_without_a_key_has_zeros_and_no_tokens(
    images: Space, texts: Space, out: Path
) -> None:
    images.append({key: image_row(3, hidden=True) for key in ("i1", "i1.1")})
    texts.append({"t": text_row(2, 4)})
    guids, keys = ["a", "b", "c"], ["i1", "i1.1", "", "", "i1", "i1.1"]
    assemble.write(
        out,
        replace(META, views=2),
        guids,
        StoredRows(images, keys),
        StoredRows(texts, ["", "t", "t"]),
    )
    found = schema.read(out)
    assert found.image_embeddings[:, :, 0].tolist() == [[3, 3], [0, 0], [3, 3]]
    assert kept(found.image_tokens)[:, 0, 0].tolist() == [3.25, 0, 3.25]
    assert kept(found.image_hidden)[:, 1, 0, 0].tolist() == [3.5, 0, 3.5]
    assert found.text_embeddings[:, 0].tolist() == [0, 2, 2]
    assert kept(found.text_offsets).tolist() == [0, 0, 4, 8]
    assert len(kept(found.text_tokens)) == len(kept(found.text_hidden)) == 8


def test_samples_that_share_a_file_share_its_row(images: Space, texts: Space, out: Path) -> None:
    images.append({"i1": image_row(1), "i2": image_row(2)})
    texts.append({"t1": text_row(1, 2), "t2": text_row(2, 3)})
    image_keys, text_keys = ["i1", "i2", "i1"], ["t2", "t2", "t1"]
    assemble.write(
        out, META, ["a", "b", "c"], StoredRows(images, image_keys), StoredRows(texts, text_keys)
    )
    found = schema.read(out)
    assert found.image_embeddings[:, 0, 0].tolist() == [1, 2, 1]
    assert kept(found.image_tokens)[:, 0, 0].tolist() == [1.25, 2.25, 1.25]
    assert found.text_embeddings[:, 0].tolist() == [2, 2, 1]
    assert kept(found.text_offsets).tolist() == [0, 3, 6, 8]
    np.testing.assert_array_equal(kept(found.text_tokens)[0:3], kept(found.text_tokens)[3:6])


def test_views_lie_beside_the_plain_one_and_have_no_tokens(
    images: Space, texts: Space, out: Path
) -> None:
    for value in (1, 2):
        plain = image_row(10 * value, hidden=True)
        views = {
            f"i{value}.{view}": image_row(10 * value + view, hidden=True, patches=0)
            for view in (1, 2)
        }
        images.append({f"i{value}": plain, **views})
    texts.append({"t": text_row(1, 1)})
    keys = ["i2", "i2.1", "i2.2", "i1", "i1.1", "i1.2"]
    assemble.write(
        out,
        replace(META, views=3),
        ["a", "b"],
        StoredRows(images, keys),
        StoredRows(texts, ["t", "t"]),
    )
    found = schema.read(out)
    assert found.image_embeddings[:, :, 0].tolist() == [[20, 21, 22], [10, 11, 12]]
    assert kept(found.image_hidden).shape == (2, 3, 2, 6)
    assert kept(found.image_hidden)[:, :, 0, 0].tolist() == [[20.5, 21.5, 22.5], [10.5, 11.5, 12.5]]
    assert kept(found.image_tokens).shape == (2, 2, 6)
    assert kept(found.image_tokens)[:, 0, 0].tolist() == [20.25, 10.25]


def assemble_one(images: Space, texts: Space, out: Path, tokens: bool, hidden: bool) -> None:
    name = f"{tokens}{hidden}"
    images.append({f"i{name}": image_row(1, tokens, hidden)})
    texts.append({f"t{name}": text_row(1, 2, tokens, hidden)})
    assemble.write(
        out, META, ["a"], StoredRows(images, [f"i{name}"]), StoredRows(texts, [f"t{name}"])
    )


@pytest.mark.parametrize("tokens", [True, False])
@pytest.mark.parametrize("hidden", [True, False])
def test_states_that_were_not_asked_for_have_no_file(
    images: Space, texts: Space, out: Path, tokens: bool, hidden: bool
) -> None:
    assemble_one(images, texts, out, tokens, hidden)
    found = schema.read(out)
    assert (found.image_tokens is not None) == (found.text_tokens is not None) == tokens
    assert (found.image_hidden is not None) == (found.text_hidden is not None) == hidden
    assert (found.text_offsets is not None) == (tokens or hidden)
    expected = {"meta.json", "guids.txt", "image_embeddings.npy", "text_embeddings.npy"}
    expected |= {"image_tokens.npy", "text_tokens.npy"} if tokens else set()
    expected |= {"image_hidden.npy", "text_hidden.npy"} if hidden else set()
    expected |= {"text_offsets.npy"} if tokens or hidden else set()
    assert {path.name for path in out.iterdir()} == expected


def test_states_of_an_earlier_run_do_not_stay(images: Space, texts: Space, out: Path) -> None:
    assemble_one(images, texts, out, tokens=True, hidden=True)
    assemble_one(images, texts, out, tokens=False, hidden=False)
    found = schema.read(out)
    assert found.text_offsets is None
    assert found.text_tokens is found.image_tokens is None
    assert found.text_hidden is found.image_hidden is None


def test_the_same_rows_give_the_same_bytes(images: Space, texts: Space, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        assemble_one(images, texts, tmp_path / folder, tokens=True, hidden=True)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(names) == 9
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_file_has_the_bytes_that_numpy_writes(images: Space, texts: Space, out: Path) -> None:
    assemble_one(images, texts, out, tokens=True, hidden=True)
    paths = list(out.glob("*.npy"))
    assert len(paths) == 7
    for path in paths:
        raw = io.BytesIO()
        np.save(raw, np.load(path))
        assert path.read_bytes() == raw.getvalue()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Files of this process cannot grow beyond `size` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_error_of_the_disk_is_told_with_the_name_of_the_file(
    images: Space, texts: Space, out: Path
) -> None:
    images.append({"i": image_row(1)})
    texts.append({"t": text_row(1, 1)})
    sources = StoredRows(images, ["i"] * 1000), StoredRows(texts, ["t"] * 1000)
    with largest_file(8000), pytest.raises(OSError, match="File too large") as caught:
        assemble.write(out, META, ["a"] * 1000, *sources)
    assert caught.value.filename == str(out / "image_embeddings.npy")


def test_rows_that_are_gone_from_the_store_are_counted(
    images: Space, texts: Space, out: Path
) -> None:
    path = images.append({"i1": image_row(1), "i2": image_row(2)})
    images.append({"i3": image_row(3)})
    texts.append({"t": text_row(1, 1)})
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(UserError, match=r"2 rows were damaged and are gone: run `dvc repro` again"):
        assemble.write(
            out,
            META,
            ["a", "b", "c"],
            StoredRows(images, ["i1", "i2", "i3"]),
            StoredRows(texts, ["t"] * 3),
        )


def test_a_guid_without_features_is_named(images: Space, texts: Space, out: Path) -> None:
    assemble_one(images, texts, out, tokens=False, hidden=False)
    with pytest.raises(UserError, match="guid zzz has no features: run `dvc repro preprocess`"):
        schema.read(out).rows(["a", "zzz"])


def test_no_guids_are_no_rows(images: Space, texts: Space, out: Path) -> None:
    assemble_one(images, texts, out, tokens=False, hidden=False)
    found = schema.read(out).rows([])
    assert (found.dtype, found.shape) == (np.int64, (0,))


def test_arrays_are_mapped_and_cannot_be_written(images: Space, texts: Space, out: Path) -> None:
    assemble_one(images, texts, out, tokens=False, hidden=False)
    found = schema.read(out)
    assert isinstance(found.image_embeddings, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found.image_embeddings[0] = 1


@pytest.mark.parametrize(
    "missing", ["meta.json", "image_embeddings.npy", "text_embeddings.npy", None]
)
def test_a_folder_without_features_says_what_to_run(
    images: Space, texts: Space, out: Path, missing: str | None
) -> None:
    if missing:
        assemble_one(images, texts, out, tokens=False, hidden=False)
        (out / missing).unlink()
    with pytest.raises(UserError, match=r"features: no features here: run `dvc repro preprocess`"):
        schema.read(out)


def test_tails_survive_the_round_trip(images: Space, texts: Space, out: Path) -> None:
    images.append({"i": image_row(1)})
    texts.append({"t": text_row(1, 1)})
    tail = {
        "kind": "transformer",
        "layers": 2,
        "eps": 1e-05,
        "pool": "last",
        "projection_dim": None,
    }
    meta = replace(META, text_tail=tail)
    assemble.write(out, meta, ["a"], StoredRows(images, ["i"]), StoredRows(texts, ["t"]))
    assert schema.read(out).meta == meta
    assert json.loads((out / "meta.json").read_text(encoding="utf-8"))["text_tail"] == tail


@pytest.mark.parametrize("name", ["meta.json", "image_embeddings.npy", "text_embeddings.npy"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_file_that_is_cut_off_is_named(
    images: Space, texts: Space, out: Path, name: str, kept: float
) -> None:
    assemble_one(images, texts, out, tokens=False, hidden=False)
    raw = (out / name).read_bytes()
    (out / name).write_bytes(raw[: int(len(raw) * kept)])
    with pytest.raises(UserError) as caught:
        schema.read(out)
    assert str(caught.value).startswith(f"{out / name}: damaged (")
    assert str(caught.value).endswith("if it comes back")
    assert "\n" not in str(caught.value)


def test_a_folder_whose_writing_was_cut_off_holds_no_features(
    images: Space, texts: Space, out: Path
) -> None:
    def interrupted() -> Iterator[str]:
        yield "t"
        raise KeyboardInterrupt

    images.append({"i": image_row(1)})
    with pytest.raises(KeyboardInterrupt):
        assemble.write(
            out, META, ["a"], StoredRows(images, ["i"]), StoredRows(texts, interrupted())
        )
    assert (out / "image_embeddings.npy").exists()
    with pytest.raises(UserError, match="no features here"):
        schema.read(out)
