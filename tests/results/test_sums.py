"""SHA256SUMS of the collected files."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from clever.cli import main
from clever.errors import UserError
from clever.results.curves import CURVE_COLUMNS, read_curves
from clever.results.records import COLUMNS, read_records
from clever.results.run_description import read_runs
from clever.results.sums import COLLECTED, check_sums, write_sums

from .test_records import described, record

NAMES = ["records.csv", "curves.csv", "runs.json"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pd.DataFrame([record()])[list(COLUMNS)].to_csv(tmp_path / "records.csv", index=False)
    curve = "digits/r/dino/caug/seed0,digits,r,dino,caug,0,0,loss,1.5"
    (tmp_path / "curves.csv").write_text(f"{','.join(CURVE_COLUMNS)}\n{curve}\n")
    (tmp_path / "runs.json").write_text(json.dumps([described("digits/r/dino/caug/seed0")]))
    write_sums(tmp_path, NAMES)
    return tmp_path


def test_sha256sum_agrees(folder: Path) -> None:
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK") == 3


@pytest.mark.parametrize(("name", "read"), [(NAMES[0], read_records), (NAMES[1], read_curves), (NAMES[2], read_runs)])
def test_reading_a_changed_file_is_an_error(folder: Path, name: str, read: object) -> None:
    assert callable(read)
    assert len(read(folder / name)) == 1
    content = bytearray((folder / name).read_bytes())
    content[-10] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name}: was changed or damaged: its SHA-256 is .*, SHA256SUMS says"):
        read(folder / name)


def test_a_file_without_a_line_is_read(folder: Path) -> None:
    (folder / "records.csv").write_text((folder / "records.csv").read_text().replace("62.5", "63.5"))
    write_sums(folder, NAMES[1:])
    assert len(read_records(folder / "records.csv")) == 1
    (folder / "SHA256SUMS").unlink()
    check_sums(folder / "curves.csv")


def test_the_command_writes_the_same_file_as_collect(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = (folder / "SHA256SUMS").read_bytes()
    (folder / "SHA256SUMS").unlink()
    curves = folder / "curves.csv"
    (folder / "curves.csv.gz").write_bytes(gzip.compress(curves.read_bytes()))
    curves.unlink()
    assert main(["checksums", str(folder)]) == 0
    assert (folder / "SHA256SUMS").read_bytes() == written
    (folder / "curves.csv.gz").unlink()
    assert main(["checksums", str(folder)]) == 0
    assert (folder / "SHA256SUMS").read_text() == "".join(
        line for line in written.decode().splitlines(keepends=True) if "curves" not in line
    )
    assert main(["checksums", str(folder / "absent")]) == 2
    assert "has none of curves.csv, records.csv, runs.json" in capsys.readouterr().err


MEASURED = Path(__file__).parents[2] / "paper_figures" / "measured"


@pytest.mark.parametrize("study", sorted(path.name for path in MEASURED.iterdir() if (path / "records.csv").exists()))
def test_committed_studies_agree_with_their_checksums(study: str, tmp_path: Path) -> None:
    committed = {line.split()[1] for line in (MEASURED / study / "SHA256SUMS").read_text().splitlines()}
    present = {path.name.removesuffix(".gz") for path in (MEASURED / study).iterdir()}
    assert committed == present & set(COLLECTED)
    (tmp_path / "SHA256SUMS").write_bytes((MEASURED / study / "SHA256SUMS").read_bytes())
    for path in (MEASURED / study).iterdir():
        content = path.read_bytes()
        name = path.name.removesuffix(".gz")
        (tmp_path / name).write_bytes(gzip.decompress(content) if path.suffix == ".gz" else content)
        check_sums(tmp_path / name)
