"""The study: a mistake gives one line that names the key and the remedy; recipes contain only relevant settings."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from clever.config import Study, load_study, parse_study
from clever.errors import UserError
from clever.options import parse_json
from clever.pretraining.recipe import RunRecipe

# The correct study and the table of mistakes are shared with `make faults`.
TABLE = yaml.safe_load((Path(__file__).parents[1] / "faults" / "wrong_studies.yaml").read_text(encoding="utf-8"))
STUDY = TABLE["right"]
Path_ = Sequence[str | int]
REMOVED = object()


def content() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(STUDY)
    return copy.deepcopy(loaded)


def changed(path: Path_, value: object) -> dict[str, Any]:
    whole: Any = content()
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    if value is REMOVED:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return dict(whole)


def study(path: Path_ = (), value: object = None) -> Study:
    return parse_study(changed(path, value) if path else content(), "study.yaml")


CLEVER = ("methods", "dino+clever", "equivariance")

WRONG: list[tuple[Path_, object, str]] = [
    (row["key"], REMOVED if row.get("removed") else row["value"], row["message"]) for row in TABLE["wrong"]
]


@pytest.mark.parametrize(
    ("path", "value", "message"), WRONG, ids=[f"{n}-{case[0][-1]}" for n, case in enumerate(WRONG)]
)
def test_a_mistake_gives_one_line_that_names_the_key(path: Path_, value: object, message: str) -> None:
    with pytest.raises(UserError) as raised:
        study(path, value)
    text = str(raised.value)
    assert text.startswith("study.yaml: ")
    assert message in text
    assert "\n" not in text
    assert "pydantic" not in text.lower()


def test_the_study_of_these_tests_is_valid() -> None:
    assert study().study == "trial"


def test_several_mistakes_are_counted_and_the_misspelt_key_comes_first() -> None:
    wrong = changed(("studi",), "trial")
    del wrong["study"]
    wrong["controls"] = ["raw"]
    with pytest.raises(UserError, match=r"studi: unknown key; did you mean 'study'\? \(and 2 more\)$"):
        parse_study(wrong, "study.yaml")


@pytest.mark.parametrize("nothing", [None, [1], "text", 3])
def test_a_study_that_is_not_a_mapping(nothing: object) -> None:
    with pytest.raises(UserError, match=r"^study.yaml: a study must be a mapping of keys, but this is a "):
        parse_study(nothing, "study.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("study: [", "not valid YAML"),
        ("study: a\nstudy: b\n", r"the key 'study' appears twice \(line 2\)"),
        (
            "data:\n  digits: {source: digits}\n  digits: {source: digits}\n",
            r"the key 'digits' appears twice \(line 3\)",
        ),
        ("a: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("", "a study must be a mapping of keys"),
    ],
)
def test_a_file_that_is_not_a_study(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as raised:
        load_study(path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml: cannot be read"):
        load_study(tmp_path / "nowhere.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"binary\.yaml: cannot be read"):
        load_study(tmp_path / "binary.yaml")


def test_numbers_that_yaml_reads_as_text_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.replace("warmup_epochs: 2", "warmup_epochs: 2, learning_rate: 1e-3"))
    optimisation = load_study(path).pretrainings[0].optimisation
    assert optimisation.learning_rate == 0.001


def test_merge_keys_and_anchors_work(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        STUDY.replace("  baug: {name", "  baug: &baug {name").replace(
            "  caug: {name: caug, global_size: 32, local_size: 16}",
            "  caug: {<<: *baug, name: caug, flip_probability: 0}",
        )
    )
    caug = load_study(path).augmentations["caug"]
    assert (caug.name, caug.global_size, caug.local_size, caug.flip_probability) == ("caug", 32, 16, 0)


def test_runs_are_all_combinations_and_the_controls() -> None:
    recipes = study().recipes()
    trained = [
        f"digits/small/{m}/{a}/seed{s}" for m in ("dino", "dino+clever") for a in ("baug", "caug") for s in (0, 1)
    ]
    trained += ["photos/small/dino/baug/seed0", "photos/other/dino/baug/seed0"]
    controls = {
        "digits/small/untrained/none/seed0",
        "digits/small/untrained/none/seed1",
        "digits/pixels/untrained/none/seed0",
        "photos/small/untrained/none/seed0",
        "photos/other/untrained/none/seed0",
        "photos/pixels/untrained/none/seed0",
    }
    assert list(recipes)[: len(trained)] == trained
    assert set(recipes) == {*trained, *controls}
    assert all(run == recipe.run for run, recipe in recipes.items())


def test_a_control_s_recipe_contains_the_backbone_and_no_training_settings() -> None:
    recipe = study().recipe("digits/small/untrained/none/seed1")
    assert recipe.backbone == study().backbones["small"]
    assert (recipe.method, recipe.augmentation, recipe.optimisation, recipe.seed) == (None, None, None, 1)
    pixels = study().recipe("digits/pixels/untrained/none/seed0")
    assert (pixels.backbone.name, pixels.backbone.image_size) == ("pixels", 32)


def test_controls_can_be_left_out() -> None:
    assert len(study(("controls",), []).recipes()) == 10
    assert not any("pixels" in run for run in study(("controls",), ["untrained"]).recipes())


def test_a_run_that_the_study_does_not_have() -> None:
    with pytest.raises(UserError, match=r"has no run .*seed7; did you mean 'digits/small/dino/baug/seed\d'"):
        study().recipe("digits/small/dino/baug/seed7")


def test_data_roots_start_from_the_data_root() -> None:
    assert study().data_options("photos").root == str(Path("data", "photos"))
    assert study().data_options("photos", "pictures").root == str(Path("pictures", "photos"))
    assert study().data_options("digits").root is None
    absolute = study(("data", "photos", "root"), "/somewhere/photos")
    assert absolute.data_options("photos", "pictures").root == "/somewhere/photos"
    with pytest.raises(UserError, match=r"has no data set photo; did you mean 'photos'"):
        study().data_options("photo")


def test_evaluation_options_are_the_ones_that_the_study_sets() -> None:
    assert list(study().evaluation_options()) == ["linear"]


RUN = "digits/small/dino+clever/baug/seed0"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("study",), "another"),
        (("data", "digits", "image_size"), 28),
        (("backbones", "other", "drop_path"), 0.1),
        (("augmentations", "caug", "rotation_degrees"), 45),
        (("methods", "third"), {"baseline": {"name": "dino"}}),
        (("pretrainings", 0, "seeds"), [0, 1, 2]),
        (("pretrainings", 0, "methods"), ["dino+clever"]),
        (
            ("pretrainings", 1),
            {"data": "photos", "backbones": ["other"], "methods": ["dino"], "augmentations": ["caug"]},
        ),
        (("evaluations",), {"linear": {}, "knn": {}}),
        (("paper",), ["report"]),
        (("controls",), []),
    ],
)
def test_an_unrelated_edit_does_not_change_a_run_s_recipe(path: Path_, value: object) -> None:
    assert study(path, value).recipe(RUN).canonical() == study().recipe(RUN).canonical()
    assert study(path, value).recipe(RUN).digest == study().recipe(RUN).digest


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("backbones", "small", "drop_path"), 0.1),
        (("augmentations", "baug", "flip_probability"), 0.4),
        (("methods", "dino+clever", "baseline"), {"name": "dino", "out_dim": 65}),
        ((*CLEVER, "separation_ratio"), 0.7),
        ((*CLEVER, "ef_baseline"), {"out_dim": 65}),
        (("pretrainings", 0, "optimisation", "weight_decay"), 0.05),
        (("pretrainings", 0, "optimisation", "teacher_drop_path"), 0.2),
    ],
)
def test_a_related_edit_changes_the_digest(path: Path_, value: object) -> None:
    assert study(path, value).recipe(RUN).digest != study().recipe(RUN).digest


def test_each_run_has_a_different_digest() -> None:
    digests = [recipe.digest for recipe in study().recipes().values()]
    assert len(set(digests)) == len(digests)


def test_a_default_written_out_is_the_same_recipe() -> None:
    assert study((*CLEVER, "separation_ratio"), 0.8).recipe(RUN).digest == study().recipe(RUN).digest


def test_canonical_json_is_sorted_and_compact_and_restores_the_recipe() -> None:
    for recipe in study().recipes().values():
        text = recipe.canonical()
        parsed = json.loads(text)
        assert text == json.dumps(parsed, sort_keys=True, separators=(",", ":"))
        assert parse_json(RunRecipe, text, "--recipe") == recipe


def test_a_study_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        study().study = "other"


def test_schema_names_and_describes_every_key() -> None:
    schema = Study.model_json_schema()
    assert set(schema["properties"]) == set(Study.model_fields)
    assert {"CleverOptions", "DdclOptions", "DinoOptions", "OptimisationOptions"} <= set(schema["$defs"])
    for name, block in schema["$defs"].items():
        assert block.get("additionalProperties", False) is False, name
        for key, described in block.get("properties", {}).items():
            if name in ("CleverOptions", "DdclOptions", "DinoOptions", "OptimisationOptions", "PretrainingOptions"):
                assert key == "name" or described.get("description"), f"{name}.{key}"


def test_the_default_study_is_valid() -> None:
    path = Path(__file__).parents[1] / "config.yaml"
    assert any(recipe.method is not None for recipe in load_study(path).recipes().values())


def test_a_variant_is_the_protocol_with_some_settings_replaced() -> None:
    averaged = {"averaging": {"count": 3, "augmentation": {"name": "baug"}}}
    whole = study(("evaluations", "linear"), {"perturbations": ["orig"], "epochs": 7, "variants": {"mean": averaged}})
    options = whole.evaluation_options()
    assert list(options) == ["linear", "linear+mean"]
    plain, mean = (option.model_dump() for option in options.values())
    assert (plain["epochs"], mean["epochs"]) == (7, 7)
    assert (plain["averaging"], mean["averaging"]["count"]) == (None, 3)
    assert plain["variants"] == mean["variants"] == {}
    assert {key for key in plain if plain[key] != mean[key]} == {"averaging"}


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ({"mean": {"averagin": {"count": 3}}}, "variants.mean: averagin: unknown key; did you mean 'averaging'?"),
        ({"mean": {"epochs": 0}}, "variants.mean: epochs: input should be greater than"),
        ({"mean": {"variants": {}}}, "variants.mean: a variant cannot have variants"),
        ({"a b": {}}, "variants.a b"),
    ],
)
def test_a_wrong_variant_is_named(variants: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as raised:
        study(("evaluations", "linear"), {"variants": variants})
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
