"""Tests of the assembled features: `assemble.write` and `schema.read`."""

import io
import json
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from sentifuse.errors import UserError
from sentifuse.features import assemble, schema
from sentifuse.features.assemble import StoredRows
from sentifuse.features.schema import Array, EncoderMeta, Meta
from sentifuse.features.store.space import EncodedRow, Space

IMAGE, TEXT = "image_net", "text_net"
META = Meta(
    views=1,
    encoders=(
        EncoderMeta(IMAGE, "image", dim=4, token_dim=6, tail=None, fingerprint="i"),
        EncoderMeta(TEXT, "text", dim=3, token_dim=5, tail=None, fingerprint="t"),
    ),
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


def write(
    out: Path,
    guids: list[str],
    images: StoredRows,
    texts: StoredRows,
    meta: Meta = META,
) -> None:
    """Assembles what both encoders of `META` gave."""
    assemble.write(out, meta, guids, {IMAGE: images, TEXT: texts})


def test_rows_are_in_the_order_of_the_guids_whatever_shard_they_are_in(
    images: Space, texts: Space, out: Path
) -> None:
    for value in (3, 1, 2):
        images.append({f"i{value}": image_row(value)})
        texts.append({f"t{value}": text_row(value, value)})
    write(
        out,
        ["c", "a", "b"],
        StoredRows(images, ["i3", "i1", "i2"]),
        StoredRows(texts, ["t3", "t1", "t2"]),
    )
    found = schema.read(out)
    assert found.guids == ["c", "a", "b"]
    assert found.meta == META
    image, text = found.arrays[IMAGE], found.arrays[TEXT]
    assert image.embeddings.shape == (3, 1, 4)
    assert image.embeddings.dtype == np.float32
    assert image.embeddings[:, 0, 0].tolist() == [3, 1, 2]
    assert text.embeddings.shape == (3, 1, 3)
    assert text.embeddings[:, 0, 0].tolist() == [3, 1, 2]
    assert kept(image.tokens).shape == (3, 2, 6)
    assert kept(image.tokens)[:, 0, 0].tolist() == [3.25, 1.25, 2.25]
    assert image.offsets is None
    assert found.rows(["b", "c"]).tolist() == [2, 0]


def test_texts_of_different_lengths_lie_one_behind_the_other(
    images: Space, texts: Space, out: Path
) -> None:
    lengths = {"t1": 3, "t2": 1, "t3": 4}
    images.append({"i": image_row(0)})
    texts.append({key: text_row(int(key[1]), length) for key, length in lengths.items()})
    order = ["t2", "t3", "t1"]
    write(out, ["a", "b", "c"], StoredRows(images, ["i"] * 3), StoredRows(texts, order))
    found = schema.read(out).arrays[TEXT]
    assert kept(found.offsets).tolist() == [0, 1, 5, 8]
    assert kept(found.offsets).dtype == np.int64
    for index, key in enumerate(order):
        own = slice(*kept(found.offsets)[index : index + 2])
        expected = text_row(int(key[1]), lengths[key])
        np.testing.assert_array_equal(kept(found.tokens)[own], expected["tokens"])
        np.testing.assert_array_equal(kept(found.hidden)[own], expected["hidden"])
    assert kept(found.tokens).dtype == np.float16


def test_a_sample_without_a_key_has_zeros_and_no_tokens(
    images: Space, texts: Space, out: Path
) -> None:
    images.append({key: image_row(3, hidden=True) for key in ("i1", "i1.1")})
    texts.append({"t": text_row(2, 4)})
    guids, keys = ["a", "b", "c"], ["i1", "i1.1", "", "", "i1", "i1.1"]
    write(
        out,
        guids,
        StoredRows(images, keys),
        StoredRows(texts, ["", "t", "t"]),
        replace(META, views=2),
    )
    found = schema.read(out).arrays
    assert found[IMAGE].embeddings[:, :, 0].tolist() == [[3, 3], [0, 0], [3, 3]]
    assert kept(found[IMAGE].tokens)[:, 0, 0].tolist() == [3.25, 0, 3.25]
    assert kept(found[IMAGE].hidden)[:, 1, 0, 0].tolist() == [3.5, 0, 3.5]
    assert found[TEXT].embeddings[:, 0, 0].tolist() == [0, 2, 2]
    assert kept(found[TEXT].offsets).tolist() == [0, 0, 4, 8]
    assert len(kept(found[TEXT].tokens)) == len(kept(found[TEXT].hidden)) == 8


def test_samples_that_share_a_file_share_its_row(images: Space, texts: Space, out: Path) -> None:
    images.append({"i1": image_row(1), "i2": image_row(2)})
    texts.append({"t1": text_row(1, 2), "t2": text_row(2, 3)})
    image_keys, text_keys = ["i1", "i2", "i1"], ["t2", "t2", "t1"]
    write(out, ["a", "b", "c"], StoredRows(images, image_keys), StoredRows(texts, text_keys))
    found = schema.read(out).arrays
    assert found[IMAGE].embeddings[:, 0, 0].tolist() == [1, 2, 1]
    assert kept(found[IMAGE].tokens)[:, 0, 0].tolist() == [1.25, 2.25, 1.25]
    assert found[TEXT].embeddings[:, 0, 0].tolist() == [2, 2, 1]
    assert kept(found[TEXT].offsets).tolist() == [0, 3, 6, 8]
    np.testing.assert_array_equal(kept(found[TEXT].tokens)[0:3], kept(found[TEXT].tokens)[3:6])


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
    write(
        out,
        ["a", "b"],
        StoredRows(images, keys),
        StoredRows(texts, ["t", "t"]),
        replace(META, views=3),
    )
    found = schema.read(out).arrays
    assert found[IMAGE].embeddings[:, :, 0].tolist() == [[20, 21, 22], [10, 11, 12]]
    assert kept(found[IMAGE].hidden).shape == (2, 3, 2, 6)
    assert kept(found[IMAGE].hidden)[:, :, 0, 0].tolist() == [
        [20.5, 21.5, 22.5],
        [10.5, 11.5, 12.5],
    ]
    assert kept(found[IMAGE].tokens).shape == (2, 2, 6)
    assert kept(found[IMAGE].tokens)[:, 0, 0].tolist() == [20.25, 10.25]


def assemble_one(images: Space, texts: Space, out: Path, tokens: bool, hidden: bool) -> None:
    name = f"{tokens}{hidden}"
    images.append({f"i{name}": image_row(1, tokens, hidden)})
    texts.append({f"t{name}": text_row(1, 2, tokens, hidden)})
    write(out, ["a"], StoredRows(images, [f"i{name}"]), StoredRows(texts, [f"t{name}"]))


@pytest.mark.parametrize("tokens", [True, False])
@pytest.mark.parametrize("hidden", [True, False])
def test_states_that_were_not_asked_for_have_no_file(
    images: Space, texts: Space, out: Path, tokens: bool, hidden: bool
) -> None:
    assemble_one(images, texts, out, tokens, hidden)
    for key, found in schema.read(out).arrays.items():
        expected = {"embeddings.npy"}
        expected |= {"tokens.npy"} if tokens else set()
        expected |= {"hidden.npy"} if hidden else set()
        expected |= {"offsets.npy"} if key == TEXT and (tokens or hidden) else set()
        assert {path.name for path in (out / key).iterdir()} == expected
        assert (found.tokens is not None) == tokens
        assert (found.hidden is not None) == hidden
        assert (found.offsets is not None) == ("offsets.npy" in expected)
    assert {path.name for path in out.iterdir()} == {"meta.json", "guids.txt", IMAGE, TEXT}


def test_the_digest_of_each_array_is_noted(images: Space, texts: Space, out: Path) -> None:
    assemble_one(images, texts, out, tokens=True, hidden=False)
    noted = schema.read(out).digests
    assert {key: set(own) for key, own in noted.items()} == {
        IMAGE: {"embeddings", "tokens"},
        TEXT: {"embeddings", "offsets", "tokens"},
    }
    for key, own in noted.items():
        for name, digest in own.items():
            assert sha256((out / key / f"{name}.npy").read_bytes()).hexdigest() == digest


def test_states_of_an_earlier_run_do_not_stay(images: Space, texts: Space, out: Path) -> None:
    assemble_one(images, texts, out, tokens=True, hidden=True)
    assemble_one(images, texts, out, tokens=False, hidden=False)
    for found in schema.read(out).arrays.values():
        assert found.tokens is found.hidden is found.offsets is None


def test_an_encoder_of_an_earlier_run_does_not_stay(images: Space, texts: Space, out: Path) -> None:
    assemble_one(images, texts, out, tokens=True, hidden=True)
    meta = replace(META, encoders=META.encoders[:1])
    assemble.write(out, meta, ["a"], {IMAGE: StoredRows(images, ["iTrueTrue"])})
    assert not (out / TEXT).exists()
    assert list(schema.read(out).arrays) == [IMAGE]


def test_encoders_of_one_modality_have_a_folder_each(
    images: Space, texts: Space, tmp_path: Path, out: Path
) -> None:
    other = Space(tmp_path / "store", "text-2")
    images.append({"i": image_row(1)})
    texts.append({"t": text_row(2, 3, tokens=True, hidden=False)})
    other.append({"t": text_row(5, 2, tokens=False, hidden=True)})
    second = replace(META.encoders[1], key="text_net-2", fingerprint="t2")
    meta = replace(META, encoders=(*META.encoders, second))
    keys = {IMAGE: StoredRows(images, ["i"]), TEXT: StoredRows(texts, ["t"])}
    assemble.write(out, meta, ["a"], keys | {"text_net-2": StoredRows(other, ["t"])})
    found = schema.read(out)
    assert found.meta == meta
    assert list(found.arrays) == [IMAGE, TEXT, "text_net-2"]
    one, two = found.arrays[TEXT], found.arrays["text_net-2"]
    assert (one.embeddings[0, 0, 0], two.embeddings[0, 0, 0]) == (2, 5)
    assert (kept(one.offsets).tolist(), kept(two.offsets).tolist()) == ([0, 3], [0, 2])
    assert one.hidden is two.tokens is None


def test_the_same_rows_give_the_same_bytes(images: Space, texts: Space, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        assemble_one(images, texts, tmp_path / folder, tokens=True, hidden=True)
    one = tmp_path / "one"
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert len(names) == 9
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_file_has_the_bytes_that_numpy_writes(images: Space, texts: Space, out: Path) -> None:
    assemble_one(images, texts, out, tokens=True, hidden=True)
    paths = list(out.rglob("*.npy"))
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
        write(out, ["a"] * 1000, *sources)
    assert caught.value.filename == str(out / IMAGE / "embeddings.npy")


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
        write(
            out,
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
    assert found.dtype == np.int64
    assert found.shape == (0,)


def test_arrays_are_mapped_and_cannot_be_written(images: Space, texts: Space, out: Path) -> None:
    assemble_one(images, texts, out, tokens=False, hidden=False)
    for found in schema.read(out).arrays.values():
        assert isinstance(found.embeddings, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            found.embeddings[0] = 1


@pytest.mark.parametrize("missing", ["meta.json", None])
def test_a_folder_without_features_says_what_to_run(
    images: Space, texts: Space, out: Path, missing: str | None
) -> None:
    if missing:
        assemble_one(images, texts, out, tokens=False, hidden=False)
        (out / missing).unlink()
    with pytest.raises(UserError, match=r"features: no features here: run `dvc repro preprocess`"):
        schema.read(out)


@pytest.mark.parametrize("key", [IMAGE, TEXT])
@pytest.mark.parametrize("whole", [True, False])
def test_an_encoder_without_features_is_named(
    images: Space, texts: Space, out: Path, key: str, whole: bool
) -> None:
    assemble_one(images, texts, out, tokens=True, hidden=True)
    if whole:
        shutil.rmtree(out / key)
    else:
        (out / key / "embeddings.npy").unlink()
    with pytest.raises(UserError, match=rf"features/{key}: no features here: run `dvc repro"):
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
    meta = replace(META, encoders=(META.encoders[0], replace(META.encoders[1], tail=tail)))
    write(out, ["a"], StoredRows(images, ["i"]), StoredRows(texts, ["t"]), meta)
    assert schema.read(out).meta == meta
    document = json.loads((out / "meta.json").read_text(encoding="utf-8"))
    assert [each["tail"] for each in document["encoders"]] == [None, tail]


@pytest.mark.parametrize(
    "name",
    [
        "meta.json",
        f"{IMAGE}/embeddings.npy",
        f"{IMAGE}/hidden.npy",
        f"{TEXT}/embeddings.npy",
        f"{TEXT}/tokens.npy",
        f"{TEXT}/offsets.npy",
    ],
)
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_file_that_is_cut_off_is_named(
    images: Space, texts: Space, out: Path, name: str, kept: float
) -> None:
    assemble_one(images, texts, out, tokens=True, hidden=True)
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
        write(out, ["a"], StoredRows(images, ["i"]), StoredRows(texts, interrupted()))
    assert (out / IMAGE / "embeddings.npy").exists()
    with pytest.raises(UserError, match="no features here"):
        schema.read(out)


@pytest.mark.parametrize(
    "document",
    [
        {"views": 1},
        {"encoders": []},
        {"views": 1, "encoders": [{"key": IMAGE}]},
        {"views": 1, "encoders": [{"new": 1}]},
        {"views": 1, "encoders": None},
        {"views": 1, "encoders": []},
        {"image_dim": 4, "text_dim": 3, "views": 1},
        [],
    ],
)
def test_a_meta_file_of_another_version_is_named(
    images: Space, texts: Space, out: Path, document: object
) -> None:
    assemble_one(images, texts, out, tokens=False, hidden=False)
    (out / "meta.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        schema.read(out)
    assert str(caught.value).startswith(f"{out / 'meta.json'}: damaged (")
    assert "\n" not in str(caught.value)
