"""Write the crate of a study as a folder or as one .zip file."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from clever.errors import UserError
from clever.files import describe_failure, replacing, sync_folder
from clever.research_crate.checking import METADATA, check_crate
from clever.research_crate.contents import README, Contents, checkout

_FIRST_DATE = (1980, 1, 1, 0, 0, 0)
"""The date of every entry of a .zip, fixed so that equal contents give equal bytes."""


def write_crate(contents: Contents, to: Path) -> list[str]:
    """Write a crate and check it: every file has the size and SHA-256 that its description states.

    Args:
        contents: from :func:`clever.research_crate.contents.gather`.
        to: a folder that is new or empty, or a file whose name ends in .zip, which is replaced.

    Returns:
        The paths of the crate's files, sorted.

    Raises:
        UserError: rocrate is not installed, the folder is not empty, or the crate cannot be written; nothing is left
            half-written.
    """
    if importlib.util.find_spec("rocrate") is None:
        raise UserError("--crate needs rocrate: pip install '.[crate]'")
    packed = to.suffix == ".zip"
    if to.is_dir() and (packed or any(to.iterdir())):
        raise UserError(f"{to}: " + ("is a folder; name a file" if packed else "is not empty; name a new folder"))
    if to.exists() and not to.is_dir() and not packed:
        raise UserError(f"{to}: is a file; name a folder, or a file that ends in .zip")
    from clever.research_crate.entities import describe

    contents.files[README] = _readme(contents).encode()
    crate = describe(contents, _date())
    metadata = json.dumps(crate.metadata.generate(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{to.name}.", dir=to.parent) as name:
            folder = Path(name) / "crate"
            for path, held in contents.files.items():
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(held, bytes):
                    target.write_bytes(held)
                else:
                    shutil.copyfile(held, target)
            (folder / METADATA).write_text(metadata, encoding="utf-8", newline="\n")
            paths = check_crate(folder)
            if packed:
                _pack(folder, paths, to)
            else:
                if to.is_dir():
                    to.rmdir()
                folder.rename(to)
                sync_folder(to.parent)
    except OSError as error:
        raise UserError(f"{to}: could not be written ({describe_failure(error)})") from error
    return paths


def _pack(folder: Path, paths: list[str], to: Path) -> None:
    with replacing(to) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in [METADATA, *paths]:
            entry = zipfile.ZipInfo(path, _FIRST_DATE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            with (folder / path).open("rb") as source, archive.open(entry, "w") as target:
                shutil.copyfileobj(source, target)


def _date() -> str:
    """The date of publication: SOURCE_DATE_EPOCH, else that of the checkout's commit, else now."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch.isdigit():
        return datetime.fromtimestamp(int(epoch), UTC).isoformat()
    done = subprocess.run(
        ["git", "show", "--no-patch", "--format=%cI", "HEAD"], cwd=checkout(), capture_output=True, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else datetime.now(UTC).isoformat(timespec="seconds")


def _readme(contents: Contents) -> str:
    name = contents.study.study
    lines = [
        f"# Study {name}",
        "",
        f"An RO-Crate of the study `{name}` of CLeVER: {len(contents.runs)} runs, {len(contents.records)} records. "
        f"`{METADATA}` describes each file with its size and SHA-256, each run with its commit, inputs and results.",
        "",
        "* `study.yaml`: the study; `workflow/Snakefile`: the workflow that runs it",
        "* `results/records.csv`: every measured number; `results/runs.json`: every run",
        "* `results/paper`: tables and figures, if they were drawn",
        "",
        "`clever provenance CRATE` compares all files with their descriptions.",
    ]
    if contents.left_out:
        lines += ["", f"Left out, because they show images of a data set: {', '.join(contents.left_out)}."]
    return "\n".join(lines) + "\n"
