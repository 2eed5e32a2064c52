"""A simulated cluster: two nodes of one core each, all on this machine."""

import contextlib
import os
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sentifuse.config.backbone import Modality
from sentifuse.data import locations
from sentifuse.data.images import ViewSpec
from sentifuse.encoders import registry
from sentifuse.errors import UserError
from sentifuse.features import encoding_record
from sentifuse.features.contents import item_key
from sentifuse.features.encoding import EncoderRecord, Item, Setting
from sentifuse.features.encoding_record import EncodingRecord
from sentifuse.features.engines import cluster as engine_cluster
from sentifuse.features.engines import local
from sentifuse.features.engines.cluster import Cluster
from sentifuse.features.store.space import Space
from sentifuse.runtime.files import sha256
from sentifuse.runtime.numerics import Numerics
from tests import packed
from tests.bundles import make_bundle
from tests.places import ROOT
from tests.raw_files import encoded
from tests.sentifuse.features.test_encoding import record_of
from tests.serial_pool import SerialPool
from tests.toy_work import Toy
from tools.clip_folder import make_clip_folder

pytest.importorskip("ray", reason="Ray is not installed (requirements-ray.txt)")

import ray as ray_itself
from ray.cluster_utils import Cluster as Nodes

from sentifuse.features.engines import ray

pytestmark = pytest.mark.cluster

VIEWS = ViewSpec(scale_min=0.5, flip=True, jitter=0.1)
SETTING = Setting("float16", 4, 4, VIEWS, "cpu", "native")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    found = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    found.add_node(num_cpus=1)
    yield found
    ray_itself.shutdown()
    found.shutdown()


@pytest.fixture(scope="module")
def cluster(nodes: Nodes) -> Iterator[Cluster]:
    """One connection for all tests: Ray starts processes anew for each."""
    with Cluster(nodes.address) as found:
        yield found


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[Modality, EncoderRecord]:
    """Both encoders of a tiny CLIP, with tokens and hidden states."""
    name = str(make_clip_folder(tmp_path_factory.mktemp("clip")))
    modalities: tuple[Modality, Modality] = ("image", "text")
    return {
        modality: record_of(registry.load(name, modality), modality, name=name, split=1)
        for modality in modalities
    }


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> dict[Modality, list[Item]]:
    """Two views of each of 100 images, and 40 texts: from files, a tar file, a Parquet file and a table."""
    folder = tmp_path_factory.mktemp("raw")
    rng = np.random.default_rng(0)
    pictures = [
        encoded(Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8))) for _ in range(100)
    ]
    places = [*_files(folder, pictures[:40]), *_tar(folder / "a.tar", pictures[40:70])]
    places += _parquet(folder / "a.parquet", pictures[70:])
    images = [
        Item(item_key(sha256(raw), view), place, view)
        for raw, place in zip(pictures, places, strict=True)
        for view in range(2)
    ]
    words = [f"{'good day the bad ' * (number % 7)}{number}".encode() for number in range(40)]
    said = [*_files(folder, words[:20]), *map(locations.inline, words[20:])]
    texts = [Item(sha256(raw), place, 0) for raw, place in zip(words, said, strict=True)]
    return {"image": images, "text": texts}


def _files(folder: Path, contents: Sequence[bytes]) -> list[str]:
    paths = [folder / sha256(raw) for raw in contents]
    for path, raw in zip(paths, contents, strict=True):
        path.write_bytes(raw)
    return [str(path) for path in paths]


def _tar(path: Path, contents: Sequence[bytes]) -> list[str]:
    with tarfile.open(path, "w") as tar:
        for number, raw in enumerate(contents):
            packed.add(tar, f"{number}.png", raw)
    with tarfile.open(path) as tar:
        return [locations.in_tar(path, own.offset_data, own.size) for own in tar.getmembers()]


def _parquet(path: Path, contents: Sequence[bytes]) -> list[str]:
    pq.write_table(pa.table({"image": contents}), path, row_group_size=7)
    return [locations.in_parquet(path, "image", row) for row in range(len(contents))]


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(local.SHARD_SIZE, "image", 6)
    monkeypatch.setitem(local.SHARD_SIZE, "text", 16)


@pytest.fixture(scope="module")
def expected(
    records: dict[Modality, EncoderRecord],
    items: dict[Modality, list[Item]],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[Modality, dict[str, bytes]]:
    """What the local engine writes, in this process and with the same size of shards."""
    store = tmp_path_factory.mktemp("expected")
    out: dict[Modality, dict[str, bytes]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(local.SHARD_SIZE, "image", 6)
        patch.setitem(local.SHARD_SIZE, "text", 16)
        patch.setattr(local, "ProcessPoolExecutor", SerialPool)
        for modality in items:
            space = space_of(store, records[modality])
            local.encode(records[modality], SETTING, items[modality], space)
            out[modality] = files(space)
    return out


def space_of(store: Path, record: EncoderRecord) -> Space:
    described = EncodingRecord((record,), 2, SETTING, encoding_record.versions())
    return Space(store, described.space(record).name)


def files(space: Space) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in space.folder.iterdir()}


def workers() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "MapWorker" in "".join(process.cmdline()):
                found.append(process)
    return found


def test_the_shards_are_those_of_the_local_engine_and_a_second_run_encodes_nothing(
    cluster: Cluster,
    records: dict[Modality, EncoderRecord],
    items: dict[Modality, list[Item]],
    expected: dict[Modality, dict[str, bytes]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of texts; the shards of images are compared below, where a worker is killed."""
    record = records["text"]
    space = space_of(tmp_path, record)
    ray.encode(cluster, record, SETTING, items["text"], space)
    assert files(space) == expected["text"]
    # A bar is drawn over itself, and its line ends when the work does.
    [line] = [line for line in capsys.readouterr().err.split("\n") if line]
    shown, _, bar = line.split("\r")[-1].partition("|")
    assert shown == f"encode texts: {record.name}: 100%"
    assert "40/40" in bar
    # Nothing to do needs no cluster.
    with Cluster("127.0.0.1:1") as nobody:
        ray.encode(nobody, record, SETTING, items["text"], space)
    assert capsys.readouterr().err == ""


def test_a_worker_that_is_killed_in_the_middle_changes_no_byte(
    cluster: Cluster,
    records: dict[Modality, EncoderRecord],
    items: dict[Modality, list[Item]],
    expected: dict[Modality, dict[str, bytes]],
    tmp_path: Path,
) -> None:
    space = space_of(tmp_path, records["image"])
    done_by_then: list[int] = []

    def kill() -> None:
        while not done_by_then:
            done = len(list(space.folder.glob("*.safetensors")))
            if done >= 2 and (found := workers()):
                found[0].kill()
                done_by_then.append(done)
            time.sleep(0.002)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    ray.encode(cluster, records["image"], SETTING, items["image"], space)
    killer.join(timeout=5)
    assert done_by_then[0] < len(expected["image"])
    left = {name: raw for name, raw in files(space).items() if not name.endswith(".part")}
    assert left == expected["image"]


def test_a_file_that_a_node_does_not_see_and_a_node_that_encodes_otherwise_are_named(
    cluster: Cluster,
    records: dict[Modality, EncoderRecord],
    items: dict[Modality, list[Item]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record = records["text"]
    lost = Item("0" * 64, str(tmp_path / "lost.txt"), 0)
    with pytest.raises(UserError, match=r"node [\d.]+: .*lost\.txt: No such file .* must mount"):
        ray.encode(cluster, record, SETTING, [lost], space_of(tmp_path, record))
    other = Space(tmp_path, "text-of-others")

    def refused(record: EncoderRecord) -> None:
        with pytest.raises(UserError) as caught:
            ray.encode(cluster, record, SETTING, items["text"][:1], other)
        message = str(caught.value)
        assert "would encode otherwise than this machine: {'torch': " in message
        assert message.endswith(f"let all read {record.name!r} from one place")
        assert not other.folder.exists()

    refused(replace(record, fingerprint="0" * 64))
    refused(replace(record, version=99))
    here = encoding_record.versions() | {"torch": "0.0"}
    monkeypatch.setattr(encoding_record, "versions", lambda *_: here)
    refused(record)


def test_a_shard_that_is_not_here_is_named(
    records: dict[Modality, EncoderRecord], items: dict[Modality, list[Item]], tmp_path: Path
) -> None:
    class Elsewhere(Cluster):
        def cores(self) -> int:
            return 1

        def run(self, *arguments: object) -> Iterator[tuple[int, str]]:
            yield 0, '["a.safetensors", 1]'

    space = space_of(tmp_path, records["text"])
    with pytest.raises(UserError, match="the store must be on a file system that all nodes mount"):
        ray.encode(Elsewhere(None), records["text"], SETTING, items["text"], space)


def test_a_task_is_done_again_when_it_loses_its_process_and_given_up_when_it_kills_them_all(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_cluster, "_TRIES", 1)  # a process takes seconds to start
    tasks = ["", "die once", "", ""]
    found = dict(cluster.run(Toy, {"marker": tmp_path / "once"}, tasks))
    assert sorted(found) == [0, 1, 2, 3]
    results = cluster.run(Toy, {"marker": tmp_path / "always"}, ["", "die", "", ""])
    assert sorted(number for number, _ in islice(results, 3)) == [0, 2, 3]
    with pytest.raises(UserError, match="1 tasks ended every process that took them"):
        next(results)


def test_an_error_of_the_code_comes_with_its_traceback(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)toy_work\.py.*ZeroDivisionError: no such thing"):
        dict(cluster.run(Toy, {"marker": tmp_path}, ["raise"]))


def test_a_node_without_the_project_folder_is_named(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(dict(cluster.run(Toy, {"marker": tmp_path}, [""]))) == 1
    monkeypatch.setattr(os, "getcwd", lambda: "/not/mounted")
    with pytest.raises(UserError, match=r"node [\d.]+: /not/mounted: .* must mount the project's"):
        dict(cluster.run(Toy, {"marker": tmp_path}, [""]))


def test_a_node_that_is_lost_in_the_middle_loses_no_task(
    nodes: Nodes, cluster: Cluster, tmp_path: Path
) -> None:
    node = nodes.add_node(num_cpus=1)
    found: dict[int, str] = {}
    for number, where in cluster.run(Toy, {"marker": tmp_path}, ["sleep"] * 40):
        found[number] = where
        if node is not None and where == node.node_id:
            nodes.remove_node(node, allow_graceful=False)
            node = None
    assert node is None
    assert sorted(found) == list(range(40))
    assert len(set(found.values())) > 1


def test_only_nodes_with_a_gpu_work_where_there_are_some(
    nodes: Nodes, cluster: Cluster, tmp_path: Path
) -> None:
    node = nodes.add_node(num_cpus=2, num_gpus=1)
    found = dict(cluster.run(Toy, {"marker": tmp_path}, [""] * 6))
    assert set(found.values()) == {node.node_id}
    nodes.remove_node(node)


@pytest.mark.parametrize(
    ("there", "size", "share"),
    [
        ({"CPU": 8.0}, 8, {"num_cpus": 1}),
        ({"CPU": 200.0}, 100, {"num_cpus": 1}),
        ({"CPU": 2.0, "GPU": 4.0}, 4, {"num_gpus": 1.0}),
        ({"CPU": 12.0, "GPU": 4.0}, 12, {"num_gpus": 0.3333}),
        ({"CPU": 64.0, "GPU": 4.0}, 32, {"num_gpus": 0.125}),
    ],
)
def test_a_process_takes_a_core_or_a_part_of_a_gpu(
    there: dict[str, float], size: int, share: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_itself, "cluster_resources", lambda: there)
    assert engine_cluster.pool(100) == (size, share)


@pytest.mark.parametrize("numerics", ["portable", "native"])
def test_the_nodes_choose_device_and_precision(numerics: Numerics, cluster: Cluster) -> None:
    here = local.place("auto", numerics, "auto")
    assert ray.place(cluster, "auto", numerics, "auto") == here
    assert ray.place(Cluster(None), "auto", numerics, "auto") == here


def test_no_cluster_at_the_address_is_told_in_seconds(tmp_path: Path) -> None:
    start = time.monotonic()
    with (
        Cluster("127.0.0.1:1") as cluster,
        pytest.raises(UserError, match=r"^ray\.address: 127\.0\.0\.1:1: no cluster answers there"),
    ):
        dict(cluster.run(Toy, {"marker": tmp_path}, [""]))
    assert time.monotonic() - start < 20


def test_a_csv_is_predicted_as_by_this_process_bad_rows_included(
    nodes: Nodes, tmp_path: Path
) -> None:
    make_bundle(tmp_path)
    rng = np.random.default_rng(0)
    lines = ["guid,image,text"]
    for number in range(150):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(tmp_path / "a.png")
        picture = "" if number % 3 else f"{number}.png"
        if picture:
            (tmp_path / "a.png").rename(tmp_path / picture)
        lines.append(f'{number},{picture},"good day, {number}"')
    (tmp_path / "cut.png").write_bytes((tmp_path / "0.png").read_bytes()[:900])
    lines[50:50] = ["x,cut.png,bad", "y,nowhere.png,bad", "z,,"]
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    # In a process of its own, as users have it: Ray may end a process that connects again and again.
    def run(out: str, *options: str) -> str:
        command = [sys.executable, "-m", "sentifuse", "predict", "--model", "bundle"]
        done = subprocess.run(
            [*command, "--csv", "pairs.csv", "--out", out, *options],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            encoding="utf-8",
        )
        # Ray tells late, and in several lines, of the node that an earlier test has killed.
        told = (done.stderr if done.returncode else done.stdout).splitlines(keepends=True)
        return "".join(line for line in told if line.startswith((out, "error: ")))

    on_cluster = ("--engine", "ray", "--ray-address", nodes.address)
    assert run("here.csv", "--on-bad-row", "skip") == "here.csv: 150 rows, 3 passed over\n"
    assert run("there.csv", "--on-bad-row", "skip", *on_cluster) == (
        "there.csv: 150 rows, 3 passed over\n"
    )
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    told = run("no.csv")
    assert told.startswith("error: ")
    assert "bad rows" in told
    assert run("no.csv", *on_cluster) == told
