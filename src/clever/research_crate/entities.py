"""The description of a study in the terms of RO-Crate 1.1 and of the Workflow Run Crate profile 0.5.

The workflow is ``workflow/Snakefile``. One action, ``#study``, is its execution; each run (``#run/<id>``) and the
evaluation of each run (``#evaluation/<id>``) is an action with its commit, inputs and results. Backbones that are
not in the crate and data sets, which never are, appear as ``#backbone/<id>`` and ``#data/<name>`` with their checksums.

Sources: https://w3id.org/ro/crate/1.1, https://w3id.org/ro/wfrun/workflow/0.5.
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from rocrate.model.contextentity import ContextEntity
from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from clever.provenance import source_commit
from clever.research_crate.contents import (
    BACKBONE,
    CITATION,
    LICENCE,
    README,
    RESULTS,
    SHARED,
    STUDY,
    WORKFLOW,
    Contents,
)
from clever.results.records import evaluation_data
from clever.results.run_description import RunDescription, unhealthy_runs

VERSION = "1.1"
"""Version of RO-Crate."""
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
"""The profiles that a crate follows: address, mapped to name and version."""
TERMS = "https://w3id.org/ro/terms/workflow-run#"
_FORMATS = {
    ".smk": "text/plain",
    ".yml": "application/yaml",
    ".yaml": "application/yaml",
    ".cff": "application/yaml",
    ".rst": "text/x-rst",
    ".md": "text/markdown",
    ".lock": "text/plain",
    ".sh": "application/x-sh",
    ".safetensors": "application/octet-stream",
    ".tex": "application/x-tex",
}


def describe(contents: Contents, date: str) -> ROCrate:
    """Build the crate of a study in memory.

    Args:
        contents: the study's files, records and runs; ``README`` is among the files.
        date: the date of publication, ISO 8601.
    """
    crate = ROCrate(version=VERSION)
    crate.metadata.extra_terms.update({"sha256": f"{TERMS}sha256", "resourceUsage": f"{TERMS}resourceUsage"})
    _describe_root(crate, contents, date)
    files = _describe_files(crate, contents)
    data = _describe_data(crate, contents, files)
    software = _describe_software(crate, contents)
    runs = _describe_runs(crate, contents, files, data, software)
    evaluations = _describe_evaluations(crate, contents, files, data, software)
    study = _describe_execution(crate, contents, files, data)
    crate.root_dataset["mentions"] = [study, *runs, *evaluations]
    return crate


def _describe_root(crate: ROCrate, contents: Contents, date: str) -> None:
    citation = yaml.safe_load(_content(contents, CITATION))
    root, name = crate.root_dataset, contents.study.study
    root["name"] = f"{citation['title']}: study {name}"
    root["description"] = (
        f"Records, runs, tables and figures of the study {name}, with the study file and the workflow that define them."
    )
    root["datePublished"] = date
    root["license"] = _add(
        crate, f"https://spdx.org/licenses/{citation['license']}", "CreativeWork", name=citation["license"]
    )
    root["author"] = root["publisher"] = _several([_describe_author(crate, author) for author in citation["authors"]])
    root["citation"] = _several(
        [
            _add(
                crate,
                reference["url"],
                "ScholarlyArticle",
                name=reference["title"],
                datePublished=str(reference["year"]),
                author=[_describe_author(crate, author) for author in reference["authors"]],
            )
            for reference in citation.get("references", [])
        ]
    )
    root["conformsTo"] = [
        _add(crate, address, "CreativeWork", name=profile, version=version)
        for address, (profile, version) in PROFILES.items()
    ]


def _describe_author(crate: ROCrate, author: Mapping[str, str]) -> Entity:
    """A person or a group of CITATION.cff."""
    name = author.get("name") or f"{author['given-names']} {author['family-names']}"
    address = author.get("orcid") or author.get("website") or f"#author/{name.replace(' ', '-')}"
    kind = "Organization" if "name" in author else "Person"
    return crate.dereference(address) or _add(crate, address, kind, name=name)


def _describe_files(crate: ROCrate, contents: Contents) -> dict[str, Entity]:
    """Every file of the crate, by its path."""
    found: dict[str, Entity] = {}
    for path in sorted(contents.files):
        content = _content(contents, path)
        properties = {
            "name": _file_name(path),
            "encodingFormat": _format(path),
            "contentSize": str(len(content)),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        if path == WORKFLOW:
            found[path] = crate.add_workflow(None, path, properties=properties, main=True, lang="snakemake")
        else:
            found[path] = crate.add_file(None, path, properties=properties)
    commit, dirty = source_commit()
    workflow = found[WORKFLOW]
    workflow["name"] = "CLeVER: from raw images to the tables and figures of the paper"
    workflow["version"] = f"{commit} with uncommitted changes" if dirty else commit
    workflow["license"] = crate.root_dataset["license"]
    workflow["hasPart"] = [
        found[path] for path in found if path in SHARED[:1] or (path.startswith("workflow/") and path != WORKFLOW)
    ]
    workflow["conformsTo"] = _add(
        crate,
        "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE",
        "CreativeWork",
        name="Bioschemas ComputationalWorkflow",
        version="1.0-RELEASE",
    )
    found[README]["about"] = crate.root_dataset
    return found


def _file_name(path: str) -> str:
    if path == STUDY:
        return "the study: data, methods, runs, evaluations, tables and figures"
    if path == LICENCE:
        return "licence"
    return path.removeprefix(f"{RESULTS}/")


def _format(path: str) -> str:
    suffix = PurePosixPath(path).suffix
    return _FORMATS.get(suffix) or mimetypes.guess_type(path)[0] or "text/plain"


def _describe_data(crate: ROCrate, contents: Contents, files: Mapping[str, Entity]) -> dict[str, Entity]:
    """The data sets that runs and evaluations read, by name."""
    checksums = {run["recipe"]["data"]: run["data_checksum"] for run in contents.runs}
    pairs = contents.records[["protocol", "data_checksum"]].drop_duplicates().itertuples(index=False)
    checksums |= {other: checksum for protocol, checksum in pairs if (other := evaluation_data(protocol))}
    found = {}
    for name, checksum in sorted(checksums.items()):
        options = contents.study.data.get(name)
        found[name] = _add(
            crate,
            f"#data/{name}",
            "CreativeWork",
            name=f"data set {name}",
            description=f"Read by the source {options.source if options else name}; its images are not in this crate.",
            identifier=checksum,
            **({"subjectOf": files[contents.stores[name]]} if name in contents.stores else {}),
        )
    return found


def _describe_software(crate: ROCrate, contents: Contents) -> dict[tuple[str, tuple[tuple[str, str], ...]], Entity]:
    """The package at each commit that produced a result, with each set of package versions."""
    keys = sorted({(run["git_commit"], _versions(run)) for run in contents.runs})
    known = {commit for commit, _ in keys}
    keys += [(commit, ()) for commit in sorted(set(contents.records["commit"]) - known)]
    found: dict[tuple[str, tuple[tuple[str, str], ...]], Entity] = {}
    for commit, versions in keys:
        earlier = sum(other == commit for other, _ in found)
        packages = [
            crate.dereference(f"#package/{name}/{version}")
            or _add(crate, f"#package/{name}/{version}", "SoftwareApplication", name=name, softwareVersion=version)
            for name, version in versions
            if name != "clever-ssl"
        ]
        found[commit, versions] = _add(
            crate,
            f"#clever/{commit}" + (f"/{earlier + 1}" if earlier else ""),
            "SoftwareApplication",
            name="clever",
            softwareVersion=commit,
            **({"softwareRequirements": packages} if packages else {}),
        )
    return found


def _versions(run: RunDescription) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(run.get("versions", {}).items()))


def _describe_runs(
    crate: ROCrate,
    contents: Contents,
    files: Mapping[str, Entity],
    data: Mapping[str, Entity],
    software: Mapping[tuple[str, tuple[tuple[str, str], ...]], Entity],
) -> list[Entity]:
    found = []
    unhealthy = unhealthy_runs(contents.runs)
    for run in contents.runs:
        name = run["run"]
        here = f"{RESULTS}/runs/{name}"
        backbone = files.get(f"{here}/{BACKBONE}") or _add(
            crate,
            f"#backbone/{name}",
            "CreativeWork",
            name=f"backbone of {name}",
            description="Weights; they are not in this crate.",
            **({"sha256": run["backbone_sha256"]} if "backbone_sha256" in run else {}),
        )
        usage = [
            _add(crate, f"#run/{name}/{key}", "PropertyValue", name=text, value=str(run[key]), unitText=unit)  # type: ignore[literal-required]
            for key, text, unit in _USAGE
            if run.get(key) is not None
        ]
        hardware = ", ".join(f"{key} {value}" for key, value in sorted(run.get("hardware", {}).items()))
        trained = f"Trained for {run['epochs']} epochs" if run.get("epochs") else "Not trained: a control"
        dirty = ", with uncommitted changes" if run.get("git_dirty") else ""
        health = unhealthy.get(name, "")
        properties = {
            "@type": "CreateAction",
            "name": f"pre-training of {name}",
            "description": f"{trained}; recipe {run['recipe_digest']}; {hardware}{dirty}."
            + (f" {health}." if health else ""),
            "subjectOf": files.get(f"{here}/run.json") or files[f"{RESULTS}/runs.json"],
        }
        if usage:
            properties["resourceUsage"] = _several(usage)
        results = [backbone, *(files[path] for path in (f"{here}/metrics.csv",) if path in files)]
        inputs = [files[STUDY], data[run["recipe"]["data"]]]
        tool = software[run["git_commit"], _versions(run)]
        found.append(crate.add_action(tool, f"#run/{name}", inputs, _several(results), properties))
    return found


_USAGE = (("wall_seconds", "training time", "s"), ("peak_memory_bytes", "peak memory", "byte"))


def _describe_evaluations(
    crate: ROCrate,
    contents: Contents,
    files: Mapping[str, Entity],
    data: Mapping[str, Entity],
    software: Mapping[tuple[str, tuple[tuple[str, str], ...]], Entity],
) -> list[Entity]:
    found = []
    described = {run["run"]: run for run in contents.runs}
    for name, records in contents.records.groupby("run", sort=True):
        written = contents.under(f"{RESULTS}/evaluations/{name}")
        protocols = sorted(set(records["protocol"]))
        weights = crate.dereference(f"#backbone/{name}") or files.get(f"{RESULTS}/runs/{name}/{BACKBONE}")
        used = {str(records["data"].iloc[0]), *(other for text in protocols if (other := evaluation_data(text)))}
        inputs = [files[STUDY], *([weights] if weights else []), *(data[key] for key in sorted(used) if key in data)]
        results = [files[path] for path in written] or [files[f"{RESULTS}/records.csv"]]
        properties = {
            "@type": "CreateAction",
            "name": f"evaluation of {name}",
            "description": f"{len(records)} records of {', '.join(protocols)}.",
        }
        for place, commit in enumerate(sorted(set(records["commit"]))):
            run = described.get(str(name))
            tool = software.get((commit, _versions(run))) if run else None
            tool = tool or next(entity for (known, _), entity in software.items() if known == commit)
            address = f"#evaluation/{name}" + (f"/{place + 1}" if place else "")
            found.append(crate.add_action(tool, address, inputs, _several(results), dict(properties)))
    return found


def _describe_execution(
    crate: ROCrate, contents: Contents, files: Mapping[str, Entity], data: Mapping[str, Entity]
) -> Entity:
    """The execution of the workflow as a whole, and its parameters."""
    workflow = files[WORKFLOW]
    drawn = contents.under(f"{RESULTS}/paper")
    outputs = [
        path for path in (f"{RESULTS}/records.csv", f"{RESULTS}/runs.json", f"{RESULTS}/curves.csv") if path in files
    ]
    _describe_parameter(crate, workflow, "input", "study", [files[STUDY]], "what is trained, evaluated and drawn")
    for path in outputs:
        name = PurePosixPath(path).stem
        _describe_parameter(crate, workflow, "output", name, [files[path]], f"the study's {name}")
    if drawn:
        _describe_parameter(crate, workflow, "output", "paper", [files[path] for path in drawn], "tables and figures")
    commits = sorted({run["git_commit"] for run in contents.runs})
    properties = {
        "@type": "CreateAction",
        "name": f"study {contents.study.study}",
        "description": (
            f"{len(contents.runs)} runs and {len(contents.records)} records. The runs were made at commit "
            f"{', '.join(commits)}; the workflow in this crate is that of the commit given as its version."
        ),
    }
    inputs = [files[STUDY], *(data[name] for name in sorted(data))]
    return crate.add_action(workflow, "#study", inputs, [files[path] for path in (*outputs, *drawn)], properties)


def _describe_parameter(
    crate: ROCrate, workflow: Entity, direction: str, name: str, values: list[Entity], description: str
) -> None:
    parameter = crate.add_formal_parameter(
        name,
        "File",
        f"#parameter/{direction}/{name}",
        description,
        properties={"workExample": _several([{"@id": value.id} for value in values])},
    )
    workflow.append_to(direction, parameter, compact=True)
    for value in values:
        value["exampleOfWork"] = parameter


def _several(values: list[Any]) -> Any:
    """A list, or its only element: RO-Crate 1.1 advises against lists of one."""
    return values[0] if len(values) == 1 else values


def _add(crate: ROCrate, address: str, kind: str, **properties: Any) -> Entity:
    entity = crate.add(ContextEntity(crate, address, properties={"@type": kind}))
    for key, value in properties.items():
        entity[key] = value
    return entity


def _content(contents: Contents, path: str) -> bytes:
    held = contents.files[path]
    return held if isinstance(held, bytes) else Path(held).read_bytes()
