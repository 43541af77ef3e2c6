from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from clever.data import SOURCES, DataOptions


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"source": "arrays"}, "needs `root`"),
        ({"source": "digits", "root": "x"}, "leave `root` out"),
        ({"source": "cifar10", "root": "x", "format": "encoded"}, "encoded needs source image_folder"),
        ({"source": "arrays", "root": "x", "classes": ["a"]}, "`classes` chooses folders"),
        ({"source": "image_folder", "root": "x"}, "needs `image_size`"),
        (
            {"source": "image_folder", "root": "x", "image_size": 8, "classes": ["a", "b", "a"]},
            "names a more than once",
        ),
        ({"source": "image_folder", "root": "x", "image_size": 8, "classes": []}, "`classes` is empty"),
        ({"source": "arrays", "root": "x", "download": True}, "never downloaded"),
        ({"source": "digits", "train_limit": 0}, "greater than 0"),
        ({"source": "spirograph", "root": "x"}, "source spirograph is drawn by formula: leave `root` out"),
        ({"source": "spirograph", "image_size": 64}, "draws images of 32 pixels, not image_size 64"),
        ({"source": "spirograph", "format": "encoded"}, "spirograph holds decoded pixels"),
        ({"source": "spirograph", "classes": ["a"]}, "not of spirograph"),
        ({"source": "threediebench", "image_size": 8}, "source threediebench needs `root`"),
        ({"source": "threediebench", "root": "x"}, "source threediebench with format pixels needs `image_size`"),
        ({"source": "digits", "colour": 1}, "colour"),
    ],
)
def test_contradictions_are_refused_when_the_study_is_read(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataOptions(**keys)


@pytest.mark.parametrize("source", ["image_folder", "threediebench"])
def test_encoded_folders_need_no_image_size(source: Any) -> None:
    assert DataOptions(source=source, root="x", format="encoded").image_size is None


def test_every_source_of_the_options_is_registered() -> None:
    named = DataOptions.model_json_schema()["properties"]["source"]["enum"]
    assert sorted(named) == sorted(SOURCES)


def test_every_option_is_explained() -> None:
    for name, prop in DataOptions.model_json_schema()["properties"].items():
        assert len(prop.get("description", "")) > 20, name
