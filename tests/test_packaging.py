"""Duplicated facts agree: dependencies, lock, conda environment, schema, citation."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from clever import __version__
from clever.catalogue import catalogue_text
from clever.cli import main
from clever.config import Study
from clever.methods_page import methods_page

ROOT = Path(__file__).resolve().parents[1]


def _lock() -> dict[str, Requirement]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def _pinned_version(requirement: Requirement) -> str:
    match = re.fullmatch(r"==([^,*]+)", str(requirement.specifier))
    assert match, f"{requirement} is not an exact version"
    return match[1]


def test_the_lock_is_exact_and_names_no_index() -> None:
    for requirement in _lock().values():
        assert _pinned_version(requirement)
        assert requirement.url is None
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"https?:|--(extra-)?index|--find-links|(^|\s)-e\s|file:", text)


def test_the_hashes_match_the_lock() -> None:
    """Names, versions and markers are the same, and each entry has SHA-256 sums."""
    text = (ROOT / "requirements.hashes").read_text(encoding="utf-8")
    assert not re.search(r"https?:|--(extra-)?index|--find-links|(^|\s)-e\s|file:", text)
    found: dict[str, Requirement] = {}
    for entry in re.sub(r"#.*", "", text).replace("\\\n", " ").splitlines():
        if entry.strip():
            requirement, *hashes = entry.split(" --hash=sha256:")
            parsed = Requirement(requirement.strip())
            assert hashes, f"{parsed} has no hash"
            assert all(re.fullmatch(r"[0-9a-f]{64}", digest.strip()) for digest in hashes)
            found[canonicalize_name(parsed.name)] = parsed
    advice = "requirements.hashes is out of step with requirements.lock; renew it: make hashes"
    lock = _lock()
    assert set(found) == set(lock), f"{advice} ({', '.join(sorted(set(found) ^ set(lock)))})"
    for name, requirement in lock.items():
        assert found[name].specifier == requirement.specifier, f"{advice} ({name})"
        assert str(found[name].marker) == str(requirement.marker), f"{advice} ({name})"


def test_the_lock_satisfies_all_requirements_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    wanted = [text for group in [*groups, project["build-system"]["requires"]] for text in group]
    lock = _lock()
    for requirement in map(Requirement, wanted):
        pinned = lock[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(_pinned_version(pinned)), f"{requirement} against {pinned}"


def test_the_lock_is_closed() -> None:
    """Every dependency of a locked package on this system is in the lock, in a compatible version."""
    lock = _lock()
    if importlib.metadata.version("torch") != _pinned_version(lock["torch"]):
        pytest.skip("this environment was not made from requirements.lock")
    for name in lock:
        try:
            needed = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, needed):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                pinned = lock[canonicalize_name(requirement.name)]
                version = _pinned_version(pinned)
                assert requirement.specifier.contains(version, prereleases=True), f"{name}: {requirement}"


def test_conda_gets_the_versions_of_the_lock() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    (from_pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    pinned = {canonicalize_name(Requirement(text).name): Requirement(text) for text in from_pip}
    lock = _lock()
    for name, requirement in pinned.items():
        assert _pinned_version(requirement) == _pinned_version(lock[name])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    wanted = project["project"]["dependencies"] + extras["evaluation"] + extras["paper"]
    # The package itself is built in this environment, without isolation.
    assert _needed(wanted + project["build-system"]["requires"]) == set(pinned)


def _needed(wanted: list[str]) -> set[str]:
    """The names of these requirements and of all their direct and indirect dependencies on this system."""
    if importlib.metadata.version("torch") != _pinned_version(_lock()["torch"]) or sys.platform != "linux":
        pytest.skip("this environment was not made from requirements.lock on Linux")
    found: set[tuple[str, frozenset[str]]] = set()
    ahead = [Requirement(text) for text in wanted]
    while ahead:
        requirement = ahead.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in found:
            continue
        found.add((name, extras))
        for needed in map(Requirement, importlib.metadata.requires(name) or []):
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                ahead.append(needed)
    return {name for name, _ in found}


def test_the_locked_torch_is_the_cuda_build_with_or_without_a_driver() -> None:
    """Tests the statement about login nodes at the top of environment.yml."""
    if importlib.metadata.version("torch") != _pinned_version(_lock()["torch"]) or sys.platform != "linux":
        pytest.skip("this environment was not made from requirements.lock on Linux")
    import torch

    toolkit = _pinned_version(_lock()["cuda-toolkit"])
    assert torch.version.cuda is not None
    assert toolkit.startswith(torch.version.cuda)


def test_the_schema_is_in_step() -> None:
    written = json.loads((ROOT / "workflow" / "schemas" / "study.schema.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(Study.model_json_schema())), (
        "renew it: clever schema > workflow/schemas/study.schema.json"
    )


def test_the_page_of_methods_is_in_step() -> None:
    written = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert written == methods_page(ROOT), "renew it: python -m clever.methods_page > docs/methods.md"


def test_the_catalogue_is_in_step() -> None:
    written = (ROOT / "src" / "clever" / "catalogue.json").read_text(encoding="utf-8")
    assert written == catalogue_text(), "renew it: python -m clever.catalogue"


@pytest.mark.parametrize("command", [["--help"], ["methods"], ["methods", "--json"], ["completion", "bash"]], ids=str)
def test_a_command_that_computes_nothing_does_not_import_torch(command: list[str]) -> None:
    program = "import sys\nfrom clever.cli import main\n"
    program += f"try:\n    main({command!r})\nexcept SystemExit:\n    pass\n"
    program += "print([name for name in ('torch', 'pandas', 'timm') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_schema_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == (ROOT / "workflow" / "schemas" / "study.schema.json").read_text(encoding="utf-8")


def test_reading_a_study_loads_no_network_library() -> None:
    """Snakemake reads the study in every process; timm and torchvision would double its start."""
    program = "import sys, clever.config; print([m for m in ('timm', 'torchvision', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_citation_names_this_version_and_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert citation["license"] == "MIT"
    (paper,) = citation["references"]
    assert paper["title"] == "Contrastive Learning Via Equivariant Representation"
    assert paper["identifiers"][0]["value"] == "arXiv:2406.00262"


def test_the_archive_gets_the_same_metadata() -> None:
    archive = json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (archive["title"], archive["version"]) == (citation["title"], __version__)
    assert archive["license"] == citation["license"] == project["license"]
    names = [author["name"] for author in citation["authors"]]
    assert [creator["name"] for creator in archive["creators"]] == names
    assert [author["name"] for author in project["authors"]] == names
    (related,) = archive["related_identifiers"]
    assert related["identifier"] == citation["references"][0]["identifiers"][0]["value"]
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_continuous_integration_runs_the_one_script() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_hooks_run_commands_of_this_environment() -> None:
    """Local hooks download nothing, and the files that they check exist."""
    content = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repository["repo"] for repository in content["repos"]] == ["local"]
    dev = {Requirement(text).name for text in _extras()["dev"]}
    for hook in content["repos"][0]["hooks"]:
        folder, _, command = hook["entry"].split()[0].rpartition("/")
        assert folder == ".venv/bin"
        assert command in dev
        assert hook["language"] == "system"


def test_the_workflow_catalog_finds_the_required_files() -> None:
    catalog = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))
    assert set(catalog["usage"]) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert set(catalog["usage"]["software-stack-deployment"]) == {"conda", "apptainer", "apptainer+conda"}
    for name in ("workflow/Snakefile", "config/README.md", "README.md"):
        assert (ROOT / name).is_file()
    text = (ROOT / "README.md").read_text(encoding="utf-8").lower()
    assert "snakemake" in text
    assert "workflow" in text


def _extras() -> dict[str, list[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    return extras


def test_every_link_of_a_page_leads_somewhere() -> None:
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "config/README.md")]
    for page in [*pages, *sorted((ROOT / "docs").glob("*.md"))]:
        name, text = page.relative_to(ROOT), page.read_text(encoding="utf-8")
        text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)  # code: losses[name](z) is not a link
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", text):
            assert (page.parent / target).exists(), f"{name}: {target}"
        for target in re.findall(r"`((?:workflow|src|tests|paper_figures)/[\w./]+\.(?:yaml|json|py))`", text):
            if "simsiam" not in target:  # the example of a future method
                assert (ROOT / target).exists(), f"{name}: {target}"


def test_every_package_that_the_scripts_import_is_required() -> None:
    """Imports must be named in the folder's group: a package that is only an indirect dependency may disappear."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = {
        "paper_figures": [*project["dependencies"], *extras["paper"]],
    }
    imports = {"sklearn": "scikit-learn", "yaml": "pyyaml", "PIL": "pillow", "markdown_it": "markdown-it-py"}
    for folder, requirements in asked.items():
        files = list((ROOT / folder).rglob("*.py"))
        own = {"clever", "snakemake", *(file.stem for file in files), *sys.stdlib_module_names}
        found = {
            name.partition(".")[0]
            for file in files
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        named = {canonicalize_name(Requirement(text).name) for text in requirements}
        assert {canonicalize_name(imports.get(name, name)) for name in found - own} <= named, folder
    module = {package: name for name, package in imports.items()}
    text = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "paper_figures").rglob("*.py"))
    for requirement in extras["paper"]:
        name = module.get(Requirement(requirement).name, Requirement(requirement).name)
        assert f"import {name}" in text or f"from {name}" in text
