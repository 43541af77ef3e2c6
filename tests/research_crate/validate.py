"""Validate RO-Crates against the Workflow Run Crate profile, and through it RO-Crate 1.1, without a network.

Run by the Python of build/crate_env (`make crate`). The validator downloads the JSON-LD context of RO-Crate 1.1; here,
its cache is filled beforehand with the same document from the package rocrate 0.14.0, so no check is skipped.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests_cache import CachedSession
from urllib3 import HTTPResponse

PROFILE = "workflow-run-crate"
CONTEXT = "https://w3id.org/ro/crate/1.1/context"


class _Document(HTTPAdapter):
    """Answers every request with the same document."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.content = content

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        headers = {"Content-Type": "application/ld+json"}
        body = HTTPResponse(body=io.BytesIO(self.content), headers=headers, status=200, preload_content=False)
        return self.build_response(request, body)


def fill_cache(cache: Path) -> None:
    """Put the context of RO-Crate 1.1 into the validator's cache, the file ``<cache>.sqlite``."""
    document = (files("rocrate") / "data" / "ro-crate.jsonld").read_bytes()
    if json.loads(document)["@id"] != CONTEXT:
        sys.exit(f"error: rocrate contains another context than {CONTEXT}; install rocrate==0.14.0")
    with CachedSession(str(cache), backend="sqlite", expire_after=-1) as session:
        session.mount(CONTEXT, _Document(document))
        session.get(CONTEXT)


def main(crates: list[str]) -> int:
    """Validate each crate, a folder or a .zip file, and print its issues; return 1 if there are any."""
    program = Path(sys.executable).with_name("rocrate-validator")
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        cache, report = Path(name) / "http", Path(name) / "report.json"
        fill_cache(cache)
        for crate in crates:
            # The JSON report of a .zip file fails in roc-validator 0.13.0, so it is unpacked.
            folder = Path(crate)
            if folder.suffix == ".zip":
                folder = Path(name) / folder.stem
                shutil.unpack_archive(crate, folder)
            command = [program, "--no-interactive", "validate", "--offline", "--cache-path", cache]
            command += ["--profile-identifier", PROFILE, "--output-format", "json", "--output-file", report, folder]
            report.unlink(missing_ok=True)
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
            if not report.is_file() or not report.stat().st_size:
                sys.exit(f"error: {crate}: the validator gave no report:\n{done.stdout}{done.stderr}")
            result = json.loads(report.read_text(encoding="utf-8"))
            for issue in result["issues"]:
                print(f"{crate}: {issue['check']['identifier']}: {issue['message']}")
            if result["passed"] and done.returncode == 0:
                counts = result["statistics"]
                profiles = ", ".join(counts["profiles"])
                print(
                    f"{crate}: valid by {profiles}: {counts['total_passed_checks']} checks passed, "
                    f"{counts['total_skipped_checks']} skipped"
                )
            else:
                failed += 1
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
