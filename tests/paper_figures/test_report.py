"""The report: well-formed, self-contained, honest about unhealthy runs."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import report
import style
from synthetic_study import COLLAPSED, MakeStudy, Study

from clever.errors import UserError

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Checks that tags close in order; keeps attributes, text and table rows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def _render(study: Study, *more: str) -> str:
    path = study.folder / "report.html"
    arguments = ["--records", study.records_path, "--runs", study.runs_path, "--curves", study.curves_path]
    report.main([*map(str, arguments), *more, "--output", str(path)])
    return path.read_text(encoding="utf-8")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "figure_robustness.png"
    style.save(style.new_figure(1, 1), path)
    return path


def test_it_needs_nothing_from_outside(make_study: MakeStudy, picture: Path) -> None:
    text = _render(make_study(), "--figures", str(picture))
    page = Page(text)
    for tag, name, value in page.attributes:
        if name in ("src", "href", "srcset", "data", "action", "poster"):
            assert value.startswith(("data:image/png;base64,", "#")), (tag, name, value[:80])
    assert not re.search(r"https?:|//[a-z]|url\(|@import", re.sub(r"base64,[A-Za-z0-9+/=]+", "", text))
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    (address,) = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    assert base64.b64decode(address.split(",", 1)[1]) == picture.read_bytes()
    targets = {value for _, name, value in page.attributes if name == "id"}
    links = {value[1:] for _, name, value in page.attributes if name == "href"}
    assert links <= targets


def test_it_is_a_page_for_every_reader(make_study: MakeStudy, picture: Path) -> None:
    page = Page(_render(make_study(), "--figures", str(picture)))
    assert ("html", "lang", "en") in page.attributes
    assert ("meta", "name", "viewport") in page.attributes
    assert page.tags.count("h1") == page.tags.count("main") == 1
    images, texts = (
        page.tags.count("img"),
        [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")],
    )
    assert images == len(texts) == len([text for text in texts if text])
    scopes = [value for tag, name, value in page.attributes if (tag, name) == ("th", "scope")]
    assert len(scopes) == page.tags.count("th")


def test_every_run_has_its_card(make_study: MakeStudy) -> None:
    study = make_study()
    text = Page(_render(study)).text
    for run in study.runs:
        assert run["run"] in text
    for fact in ("1 h 2 min", "812", "1.50 GiB", "512 = 409 IR + 103 EF", "512, not split", "c0ffee", "5eed", "d1935"):
        assert fact in text
    last = study.curves[(study.curves["metric"] == "loss_contrast") & (study.curves["epoch"] == 2)]
    for value in last["value"]:
        assert f"{value:.4g}" in text


def test_the_tables_hold_the_numbers_and_the_controls(make_study: MakeStudy) -> None:
    study = make_study(seeds=1)
    rows = Page(_render(study)).rows
    chosen = study.records[
        (study.records["part"] == "ALL")
        & (study.records["method"] == "dino")
        & (study.records["augmentation"] == "caug")
        & (study.records["selection"] == "last")
    ].set_index("perturbation")["value"]
    expected = ["resnet10t", "dino", "caug", "ours, 7 epochs, 1 seed"]
    expected += [f"{chosen[name]:.1f}" for name in ("orig", "cj", "cj_flip", "cj_rot", "cj_rot_et")]
    assert expected in [row[:9] for row in rows]
    # Of the tables of ALL, IR and EF only the first has controls: an untrained network and raw pixels are not split.
    for control in ("control: untrained", "control: raw pixels"):
        assert sum(control in row for row in rows) == 1


def test_an_unhealthy_run_is_warned_of_and_its_reason_escaped(make_study: MakeStudy) -> None:
    sick = "digits/resnet10t/dino/caug/seed1"
    text = _render(make_study(collapsed=[sick]))
    page = Page(text)
    assert ("div", "role", "alert") in page.attributes
    assert "1 of 8 runs not healthy" in page.text
    assert "<one>" not in text
    assert COLLAPSED in "".join(page.words)


def test_no_warning_where_all_is_well(make_study: MakeStudy) -> None:
    page = Page(_render(make_study()))
    assert ("div", "role", "alert") not in page.attributes
    assert page.text.count("Health: ok") == 8


def test_a_run_of_which_nothing_is_known_is_not_called_healthy(make_study: MakeStudy) -> None:
    study = make_study()
    path = study.folder / "report.html"
    report.main(["--records", str(study.records_path), "--output", str(path)])
    page = Page(path.read_text(encoding="utf-8"))
    assert "8 of 8 runs not healthy" in page.text
    assert page.text.count("no entry in runs.json") == 16  # in the warning, and on each card


def test_the_same_inputs_give_the_same_bytes(make_study: MakeStudy, picture: Path) -> None:
    study = make_study()
    assert _render(study, "--figures", str(picture)) == _render(study, "--figures", str(picture))


def test_a_figure_that_is_none_is_refused(make_study: MakeStudy, tmp_path: Path) -> None:
    wrong = tmp_path / "figure.png"
    wrong.write_text("no picture", encoding="utf-8")
    with pytest.raises(UserError, match=r"figure\.png: not a PNG file"):
        _render(make_study(), "--figures", str(wrong))


class Origins(HTMLParser):
    """The blocks that say where numbers come from: title of the table to name and value; open ones are noted."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, dict[str, str]] = {}
        self.unfolded = 0
        self._tag = self._title = self._name = ""
        self._inside = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        if tag == "h3":
            self._title = ""
        if tag == "details" and ("class", "origin") in attrs:
            self._inside = True
            self.unfolded += ("open", None) in attrs
            self._title = f"{self._title} #{sum(key.startswith(self._title) for key in self.found)}"
            self.found[self._title] = {}

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""
        if tag == "details":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._tag == "h3":
            self._title += data
        elif self._inside and self._tag == "dt":
            self._name = data
        elif self._inside and self._tag == "dd":
            self.found[self._title][self._name] = data


def test_each_table_of_ours_says_where_its_numbers_come_from(make_study: MakeStudy) -> None:
    study = make_study()
    clean, dirty = {"git_commit": "c0ffee", "git_dirty": False}, {"git_commit": "decaf", "git_dirty": True}
    for run in study.runs:
        run["trained_by"] = [clean, dirty] if run["run"] == "digits/resnet10t/dino/baug/seed1" else [clean]
        run["hardware"] = {"device": "cuda", "gpu": "<A>"} if run["run"].endswith("seed1") else {"device": "cpu"}
    study.runs_path.write_text(json.dumps(study.runs), encoding="utf-8")
    page = Origins(_render(study))
    assert page.unfolded == 0
    assert len(page.found) == 3  # ALL, IR, EF; none below the published values
    title = "Linear probe, top-1 accuracy under test-time perturbations: digits"
    whole, invariant = page.found[f"{title} #0"], page.found[f"{title} #1"]
    of_all = study.records[study.records["part"] == "ALL"]
    assert whole == {
        "numbers": str(len(of_all)),
        "runs": "8 trained, 2 controls",
        "seeds": "0, 1",
        "commit": (
            "c0ffee (7 runs); c0ffee then decaf, with uncommitted changes (1 run); c0ffee, changes not known (2 runs)"
        ),
        "data checksum": "5eed",
        "hardware": "device cpu (4 runs); device cuda, gpu <A> (4 runs); not recorded (2 runs)",
        "versions": "not recorded (2 runs); torch 2.14.1 (8 runs)",
        "training time": "8 h 16 min over 8 runs",  # 8 times 3725 s
    }
    assert invariant["runs"] == "4 trained, 0 controls"
    assert invariant["commit"] == "c0ffee"
    assert invariant["training time"] == "4 h 8 min over 4 runs"


def test_what_runs_do_not_say_is_not_made_up(make_study: MakeStudy) -> None:
    study = make_study(seeds=1)
    required = ("run", "recipe", "recipe_digest", "data_checksum", "git_commit", "health")
    silent = [{key: run[key] for key in required} for run in study.runs[1:]]
    silent[0]["wall_seconds"] = 30.0
    study.runs_path.write_text(json.dumps(silent), encoding="utf-8")
    facts = next(iter(Origins(_render(study)).found.values()))
    assert facts["training time"] == "30.0 s over 1 run; of 3 not recorded"
    assert facts["hardware"] == facts["versions"] == "not recorded"
    assert facts["commit"] == "c0ffee (3 runs); c0ffee, changes not known (3 runs)"
