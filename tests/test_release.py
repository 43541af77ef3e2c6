"""Backbones gathered for a release, and fetched from a folder and from a server on this machine."""

from __future__ import annotations

import json
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

import clever
from clever.cli import main
from clever.data import Store
from clever.data.verification import file_sha256
from clever.pretraining.engine import pretrain
from clever.pretraining.options import ExecutionOptions
from clever.pretraining.recipe import RunRecipe
from clever.release.download import Place
from clever.release.fetching import RELEASE
from clever.release.gathering import asset_name, gather
from clever.release.manifest import MANIFEST
from clever.sealed import KEY, sealed
from tests.conftest import RecipeMaker

Serve = Callable[[type[BaseHTTPRequestHandler] | Callable[..., BaseHTTPRequestHandler]], str]


@pytest.fixture(scope="module")
def results(digits_store: Store, make_recipe: RecipeMaker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study's results with one control run, whose files have the same form as a trained run's."""
    content = make_recipe(backbone={"name": "resnet10t_half", "image_size": 16}).model_dump(mode="json")
    content |= {"method": None, "augmentation": None, "optimisation": None}
    recipe = RunRecipe.model_validate(content)
    folder = tmp_path_factory.mktemp("results") / "tiny"
    pretrain(recipe, digits_store, folder / "runs" / recipe.run, ExecutionOptions(device="cpu"))
    return folder


@pytest.fixture(scope="module")
def run(results: Path) -> str:
    (file,) = (results / "runs").rglob("run.json")
    return file.parent.relative_to(results / "runs").as_posix()


@pytest.fixture(scope="module")
def gathered(results: Path, run: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release") / "assets"
    gather(results, folder, runs=[run], licence="mit")
    return folder


@pytest.fixture
def release(gathered: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(gathered, tmp_path / "release"))


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server on this machine; returns its address."""
    servers = []

    def start(handler: Any) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def fault(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one-line error of a failing command."""
    assert main([*map(str, arguments)]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


def rewrite(release: Path, **changes: object) -> None:
    """Change the manifest's only asset, and update the manifest's checksum."""
    content = json.loads((release / MANIFEST).read_text(encoding="utf-8"))
    content["assets"][0] |= changes
    content.pop(KEY)
    (release / MANIFEST).write_text(json.dumps(sealed(content)), encoding="utf-8")


def test_a_release_describes_its_content(gathered: Path, results: Path, run: str, tmp_path: Path) -> None:
    described = json.loads((results / "runs" / run / "run.json").read_text(encoding="utf-8"))
    manifest = json.loads((gathered / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["study"] == "tiny"
    (asset,) = manifest["assets"]
    archive = gathered / asset["file"]
    assert sorted(path.name for path in gathered.iterdir()) == sorted([MANIFEST, archive.name])
    assert (asset["run"], asset["git_commit"]) == (run, described["git_commit"])
    assert asset["recipe_digest"] == described["recipe_digest"]
    assert (asset["bytes"], asset["sha256"]) == (archive.stat().st_size, file_sha256(archive))
    gather(results, tmp_path / "again", runs=[run], licence="mit")
    assert (tmp_path / "again" / archive.name).read_bytes() == archive.read_bytes()
    assert asset_name("cifar10/vit/dino+clever@separation_ratio=0.5/caug/seed0") == (
        "cifar10-vit-dino_clever_separation_ratio_0.5-caug-seed0"
    )


def test_a_fetched_backbone_equals_the_run_s(
    gathered: Path, results: Path, run: str, serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = serve(partial(_Quiet, directory=str(gathered.parent))) + "/assets"
    assert main(["fetch", "--from", address]) == 0
    name = asset_name(run)
    assert capsys.readouterr().out.startswith(f"{name}  {run}  ")
    first = clever.load(results / "runs" / run)
    images = torch.randn(2, 3, 16, 16)
    for place, asked in (
        (address, name),
        (f"{address}/{MANIFEST}", run),
        (str(gathered), name),
        (gathered.as_uri(), name),
    ):
        target = tmp_path / "fetched"
        assert main(["fetch", asked, "--from", place, "--to", str(target)]) == 0
        again = clever.load(target)
        assert torch.equal(first.backbone(images), again.backbone(images))
        assert first.split == again.split
        shutil.rmtree(target)


def test_the_address_may_come_from_the_environment(
    gathered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(RELEASE, raising=False)
    assert "needs --from PLACE or the environment variable CLEVER_RELEASE" in fault(capsys, "fetch", "x")
    monkeypatch.setenv(RELEASE, str(gathered))
    assert f"has no backbone x; there are: {next(gathered.glob('*.zip')).stem}" in fault(capsys, "fetch", "x")


@pytest.mark.parametrize("damage", ["changed", "cut", "longer", "absent", "manifest", "no archive", "elsewhere"])
def test_a_damaged_release_is_rejected_and_no_file_remains(
    damage: str, release: Path, run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = release / f"{asset_name(run)}.zip"
    content = archive.read_bytes()
    match damage:
        case "changed":
            archive.write_bytes(content[:-1000] + bytes([content[-1000] ^ 1]) + content[-999:])
            expected = f"{archive}: its SHA-256 is "
        case "cut":
            archive.write_bytes(content[:-1])
            expected = f"has {len(content) - 1:,} bytes, but the manifest says {len(content):,}"
        case "longer":
            archive.write_bytes(content + b" ")
            expected = f"is larger than the {len(content):,} bytes that it may have"
        case "absent":
            archive.unlink()
            expected = f"{archive}: cannot be read (No such file or directory)"
        case "manifest":
            text = (release / MANIFEST).read_text(encoding="utf-8")
            (release / MANIFEST).write_text(text.replace('"tiny"', '"tinx"'), encoding="utf-8")
            expected = f"{release / MANIFEST}: was changed or damaged"
        case "no archive":
            archive.write_bytes(b"no archive")
            rewrite(release, bytes=10, sha256=file_sha256(archive))
            expected = "is not an archive of a backbone"
        case _:
            with zipfile.ZipFile(archive, "w") as packed:
                packed.writestr("../clever.json", "outside")
            rewrite(release, bytes=archive.stat().st_size, sha256=file_sha256(archive))
            expected = "holds '../clever.json', which is no file of an exported backbone"
    target = tmp_path / "here" / "fetched"
    assert expected in fault(capsys, "fetch", run, "--from", release, "--to", target)
    assert list(target.parent.glob("*")) == []


def test_a_file_outside_the_release_is_not_read(
    release: Path, run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(release, file="../secret.zip")
    line = fault(capsys, "fetch", run, "--from", release, "--to", tmp_path / "x")
    assert f"{release / MANIFEST}: assets.0.file: " in line


def test_a_nonempty_target_is_kept(
    gathered: Path, run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("mine", encoding="utf-8")
    for arguments in (["fetch", run, "--from", gathered], ["release", "--results", tmp_path / "none"]):
        line = fault(capsys, *arguments, "--to", tmp_path)
        assert "exists and is not an empty folder" in line
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_redirect_keeps_its_scheme(
    serve: Serve, gathered: Path, run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = serve(partial(_Quiet, directory=str(gathered)))

    class Redirect(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            target = real + self.path[3:] if self.path.startswith("/ok/") else f"ftp://127.0.0.1{self.path}"
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    address = serve(Redirect)

    assert main(["fetch", run, "--from", f"{address}/ok", "--to", str(tmp_path / "fetched")]) == 0
    capsys.readouterr()
    assert "redirects from http:// to ftp://, which is not followed" in fault(capsys, "fetch", "--from", address)


def test_a_server_that_fails_gives_one_line(serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Cut(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"{")

        def log_message(self, *_: object) -> None:
            pass

    address = serve(partial(_Quiet, directory=str(tmp_path)))
    assert f"{address}/{MANIFEST}: the server answers 404" in fault(capsys, "fetch", "--from", address)
    assert f"/{MANIFEST}: the transfer broke off" in fault(capsys, "fetch", "--from", serve(Cut))
    assert "cannot be reached (Connection refused)" in fault(capsys, "fetch", "--from", "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("ftp://host/x", "a release is read from a folder, file:// or https://, not ftp://"),
        ("http://example.org/x", "http:// can be changed on its way; use https://"),
        ("https:///x", "has no host"),
        ("https://host:port/x", "is not an address"),
        ("/srv/none", "/srv/none/manifest.json: cannot be read (No such file or directory)"),
    ],
)
def test_an_unusable_address_is_rejected(place: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in fault(capsys, "fetch", "--from", place)


def test_addresses_keep_their_host_and_folder() -> None:
    assert Place("https://host:8443/a/b/", MANIFEST).where("x.zip") == "https://host:8443/a/b/x.zip"
    assert Place("https://host/a/manifest.json", MANIFEST).where("x.zip") == "https://host/a/x.zip"


def test_only_trained_runs_are_released(
    results: Path, run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "assets"
    line = fault(capsys, "release", "--results", results, "--to", target)
    assert "has no finished run that was trained" in line
    line = fault(capsys, "release", "--results", results, "--to", target, "--run", f"{run}0")
    assert f"has no finished run {run}0; did you mean {run!r}?" in line
    assert "has no folder runs" in fault(capsys, "release", "--results", tmp_path, "--to", target)
    assert not target.exists()
