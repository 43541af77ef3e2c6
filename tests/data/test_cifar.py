from __future__ import annotations

import hashlib
import pickle
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from clever.data import DataOptions
from clever.data.cifar import read_cifar
from clever.data.source import ArraySplit
from clever.errors import UserError

from .conftest import ArraysMaker


def options(root: Path, download: bool = False) -> DataOptions:
    return DataOptions(source="cifar10", root=str(root), download=download)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A tiny archive in CIFAR-10's layout, served on this machine, that torchvision accepts as the real one."""
    folder = tmp_path / "made" / CIFAR10.base_folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)

    def save(name: str, content: object) -> list[str]:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return [name, hashlib.md5(data).hexdigest()]

    def batch() -> dict[str, object]:
        return {"data": rng.integers(0, 256, (10, 3072), dtype=np.uint8), "labels": list(range(10))}

    train = [save(f"data_batch_{number}", batch()) for number in range(1, 6)]
    test = [save("test_batch", batch())]
    names = [f"class{label}" for label in range(10)]
    meta = save("batches.meta", {"label_names": names})
    path = tmp_path / "made" / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, CIFAR10.base_folder)
    monkeypatch.setattr(CIFAR10, "train_list", train)
    monkeypatch.setattr(CIFAR10, "test_list", test)
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": meta[1]})
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(path.read_bytes()).hexdigest())
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(path.parent))) as server:
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/{path.name}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield path
        server.shutdown()
        thread.join()


def test_download_unpacks_and_reads_the_archive(archive: Path, tmp_path: Path) -> None:
    source = read_cifar(options(tmp_path / "root", download=True))
    assert isinstance(source.train, ArraySplit)
    assert source.classes == tuple(f"class{label}" for label in range(10))
    assert source.train.labels.tolist() == list(range(10)) * 5
    first = pickle.loads((archive.parent / CIFAR10.base_folder / "data_batch_1").read_bytes())["data"][3]  # noqa: S301 - written above
    # CIFAR stores 1024 red, then 1024 green, then 1024 blue values, row by row.
    np.testing.assert_array_equal(source.train.images[3, :, :, 1].ravel(), first[1024:2048])
    # Existing files are read without downloading.
    again = read_cifar(options(tmp_path / "root"))
    assert isinstance(again.test, ArraySplit)
    assert again.test.images.shape == (10, 32, 32, 3)


def test_damaged_download_is_refused(archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(UserError, match="torchvision could not download cifar10"):
        read_cifar(options(tmp_path / "root", download=True))


def test_an_archive_with_paths_outside_its_folder_is_rejected(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even an archive with the real one's checksum."""
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("../escaped")
        member.size = 4
        tar.addfile(member, BytesIO(b"evil"))
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    with pytest.raises(UserError, match=r"torchvision could not download cifar10 \('\.\./escaped' would be extracted"):
        read_cifar(options(tmp_path / "root", download=True))
    assert not (tmp_path / "escaped").exists()


def test_changed_batch_is_never_unpickled(archive: Path) -> None:
    path = archive.parent / CIFAR10.base_folder / "data_batch_2"
    path.write_bytes(path.read_bytes() + b"x")
    wanted = dict(CIFAR10.train_list)["data_batch_2"]
    with pytest.raises(UserError, match=rf"data_batch_2: md5 is [0-9a-f]{{32}}, not the published {wanted}: damaged"):
        read_cifar(options(archive.parent))


@pytest.mark.parametrize("name", ["test_batch", "batches.meta"])
def test_a_missing_or_changed_file_of_cifar_is_named(archive: Path, name: str) -> None:
    path = archive.parent / CIFAR10.base_folder / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"{name}: md5 is .*unpack .* again, or set `download: true`"):
        read_cifar(options(archive.parent))
    path.unlink()
    with pytest.raises(UserError, match=rf"{name}: cannot be read \(No such file"):
        read_cifar(options(archive.parent))


def test_without_data_the_message_names_download(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither train_images\.npy nor cifar-10-batches-py; set `download: true`"):
        read_cifar(options(tmp_path))


def test_arrays_are_preferred_and_checked(make_arrays: ArraysMaker) -> None:
    labels = np.arange(20) % 10
    source = read_cifar(options(make_arrays("good", side=32, train_labels=labels)))
    assert source.classes[:3] == ("airplane", "automobile", "bird")
    assert source.origin == "arrays"
    with pytest.raises(UserError, match="not 32 x 32 images"):
        read_cifar(options(make_arrays("small", side=8, train_labels=labels)))
    wrong = make_arrays("named", side=32)
    (wrong / "classes.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match="2 class names; cifar10 has 10 classes"):
        read_cifar(options(wrong))
