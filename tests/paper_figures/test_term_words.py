"""The words for an objective's terms come from a file, or from a convention without one, and never from training
code."""

from __future__ import annotations

from pathlib import Path

import pytest
import term_words
import yaml

from clever.equivariance import EQUIVARIANCES
from clever.errors import UserError
from clever.job_code import training_code

FILES = sorted(term_words.FOLDER.glob("*.yaml"))


def options(add_on: str, **changed: object) -> term_words.EquivarianceOptions:
    return EQUIVARIANCES[add_on].options.model_validate({"name": add_on, **changed})


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_rewording_changes_no_training_code(file: Path) -> None:
    assert file.stem in EQUIVARIANCES, "words for an add-on that does not exist"
    code = [path for name in ("simclr", "dino") for path in training_code(name, file.stem)]
    assert not [path for path in code if path.is_relative_to(term_words.FOLDER.parent)]
    text = "\n".join(path.read_text(encoding="utf-8") for path in set(code))
    entries = yaml.safe_load(file.read_text(encoding="utf-8"))
    words = [entry["words"] for entry in entries.values() if "words" in entry]
    assert words
    assert not [phrase for phrase in words if phrase in text]


@pytest.mark.parametrize("add_on", EQUIVARIANCES)
def test_an_add_on_without_words_is_described_by_its_weights(add_on: str, tmp_path: Path) -> None:
    found = term_words.wordings(options(add_on), tmp_path)
    weights = [name for name in EQUIVARIANCES[add_on].options.model_fields if name.endswith("_weight")]
    assert list(found) == ["contrast", *(name.removesuffix("_weight") for name in weights)]
    assert found["contrast"].words.format(baseline="dino") == "loss of dino between the views"
    assert [wording.weight for wording in found.values()] == [1.0, *weights]
    assert all(add_on in wording.words for name, wording in found.items() if name != "contrast")


@pytest.mark.parametrize("add_on", ["essl", "sie", "clever"])
def test_the_convention_gives_the_terms_of_a_training_step(add_on: str, tmp_path: Path) -> None:
    """``test_figure_overview`` compares the terms from files with a training step."""
    unworded, worded = (term_words.wordings(options(add_on), folder) for folder in (tmp_path, term_words.FOLDER))
    assert {name: term.weight for name, term in unworded.items()} == {n: term.weight for n, term in worded.items()}


def test_a_term_is_omitted_if_its_option_is_off() -> None:
    joint = term_words.wordings(options("ddcl"))["joint_entropy"]
    assert joint.weight_in(options("ddcl")) is None
    assert joint.weight_in(options("ddcl", joint_entropy_weight=10)) == 10
    # A weight that is nonzero by default is shown as 0, because the term is still computed and recorded.
    orthogonality = term_words.wordings(options("ddcl"))["orthogonality"]
    assert orthogonality.weight_in(options("ddcl", orthogonality_weight=0)) == 0


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("essl", r"must hold a mapping for each term"),
        ("essl: which", r"must hold a mapping for each term"),
        ("essl: {}", r"essl: words: this key is missing"),
        ("essl: {words: x, wieght: 1}", r"essl: wieght: unknown key; did you mean 'weight'\?"),
        ("angle: {words: x}", r"angle.weight: essl has no option angle_weight"),
        ("essl: {words: x", r"not valid YAML"),
    ],
)
def test_a_wrong_file_is_named_with_its_fault(text: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "essl.yaml").write_text(text)
    with pytest.raises(UserError, match=rf"essl\.yaml: .*{fault}|essl\.yaml: {fault}"):
        term_words.wordings(options("essl"), tmp_path)
