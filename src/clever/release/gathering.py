"""Gather the trained backbones of a study into a folder of release assets: ``clever release``."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from clever.data.verification import file_sha256
from clever.errors import UserError
from clever.export import export_run
from clever.files import expanded, write_json
from clever.new_folder import new_folder, require_new_folder
from clever.options import WHOLE_LIMIT, nearest
from clever.release.manifest import FORMAT, MANIFEST, Asset, Manifest
from clever.results.run_description import read_run
from clever.sealed import sealed

_DATE = (1980, 1, 1, 0, 0, 0)
"""Date of every file in an archive, fixed so that equal backbones give equal bytes."""


def gather(
    results: str | Path, to: str | Path, *, runs: Sequence[str] | None = None, licence: str | None = None
) -> Manifest:
    """Export backbones of a study, pack each as ``<name>.zip``, and write the manifest.

    The folder appears complete or not at all.

    Args:
        results: folder of the study's results, which holds ``runs``.
        to: the folder to write; it must not exist, or be empty.
        runs: ids of the runs; None takes every trained run, without the controls.
        licence: identifier of the weights' licence, for the model cards.

    Raises:
        UserError: there is no such run or no run at all, a run is damaged or unfinished, two runs have the same name,
            an archive is larger than 2 GB, or the folder cannot be written.
    """
    folder, target = expanded(results), expanded(to)
    require_new_folder(target)
    chosen = _chosen(folder, runs)
    with new_folder(target) as partial:
        assets = [_pack(chosen[run], partial, licence) for run in sorted(chosen)]
        manifest = Manifest(
            format=FORMAT,
            study=folder.absolute().name,
            assets=sorted(assets, key=lambda asset: asset.name),
        )
        write_json(partial / MANIFEST, sealed(manifest.model_dump(mode="json")))
    return manifest


def _chosen(folder: Path, wanted: Sequence[str] | None) -> dict[str, Path]:
    """Folders of the runs to release, by id."""
    if not (folder / "runs").is_dir():
        raise UserError(f"{folder}: has no folder runs; give the results of a study, as in results/demo")
    found = {file.parent.relative_to(folder / "runs").as_posix(): file.parent for file in _descriptions(folder)}
    if wanted is None:
        found = {run: place for run, place in found.items() if read_run(place / "run.json")["recipe"].get("method")}
    else:
        for run in wanted:
            if run not in found:
                raise UserError(f"{folder}: has no finished run {run}{nearest(run, found) if found else ''}")
        found = {run: found[run] for run in wanted}
    if not found:
        raise UserError(f"{folder}: has no finished run that was trained; run the study first")
    names: dict[str, str] = {}
    for run in sorted(found):
        other = names.setdefault(asset_name(run), run)
        if other != run:
            raise UserError(f"{folder}: the runs {other} and {run} would both be called {asset_name(run)}; name one")
    return found


def _descriptions(folder: Path) -> list[Path]:
    # A state folder holds the files of an unfinished run.
    return [file for file in sorted((folder / "runs").rglob("run.json")) if file.parent.name != "state"]


def asset_name(run: str) -> str:
    """Name of a run's backbone: the run's id with '-' for '/' and '_' for characters that release pages would
    change."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", run.replace("/", "-"))


def _pack(run: Path, folder: Path, licence: str | None) -> Asset:
    """Export one run, and pack the export."""
    described = read_run(run / "run.json")
    name = asset_name(str(described["run"]))
    exported = export_run(run, folder / name, licence=licence).folder
    archive = folder / f"{name}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for file in sorted(exported.iterdir()):
            packed.writestr(zipfile.ZipInfo(file.name, _DATE), file.read_bytes())
    shutil.rmtree(exported)
    size = archive.stat().st_size
    if size > WHOLE_LIMIT:
        raise UserError(f"{described['run']}: its archive of {size / 1e9:.1f} GB is larger than release pages take")
    return Asset(
        name=name,
        file=archive.name,
        bytes=size,
        sha256=file_sha256(archive),
        run=str(described["run"]),
        git_commit=described.get("git_commit"),
        recipe_digest=str(described["recipe_digest"]),
    )
