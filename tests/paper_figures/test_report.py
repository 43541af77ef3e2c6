"""The report is valid and self-contained, contains every item once, and states its answer and its runs' health
correctly."""

from __future__ import annotations

import gzip
import importlib
import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import report
import style
from synthetic_study import COLLAPSED, SCRIPTS, MakeStudy, Study

from clever.config import load_study
from clever.drawings import DRAWINGS, FILES, contained_items
from clever.errors import UserError

VOID = {"meta", "img", "br", "link", "input", "hr", "wbr"}
LARGEST = 1_500_000
"""Maximum size in bytes of the page of a study with 89 runs."""
HOSTILE = "<script>alert('x')</script> & \"quoted\""


class Page(HTMLParser):
    """Checks that tags are closed in order; collects attributes, text and table rows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self.inside: list[tuple[str, str]] = []
        """(parent, tag) of every element."""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> has an attribute twice"
        self.inside.append((self.open[-1] if self.open else "", tag))
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
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    @property
    def ids(self) -> list[str]:
        return [value for _, name, value in self.attributes if name == "id"]

    def values(self, tag: str, name: str) -> list[str]:
        return [value for found, attribute, value in self.attributes if (found, attribute) == (tag, name)]


def _render(study: Study, *more: str) -> str:
    path = study.folder / "report.html"
    arguments = ["--records", study.records_path, "--runs", study.runs_path, "--curves", study.curves_path]
    report.main([*map(str, arguments), *more, "--output", str(path)])
    return path.read_text(encoding="utf-8")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    figure = style.new_figure(1, 1)
    axes = figure.subplots()
    axes.imshow([[0, 1], [1, 0]])
    axes.set_title("a title")
    path = tmp_path / "figure_robustness.svg"
    style.save(figure, path)
    return path


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The page of a committed study with 89 runs and all its drawings, and the names of its items."""
    folder, name = tmp_path_factory.mktemp("photographs"), "photographs_cpu"
    for path in (SCRIPTS / "measured" / name).iterdir():
        if path.suffix == ".gz":
            (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        else:
            shutil.copy(path, folder)
    study = load_study(SCRIPTS.parent / "workflow" / "studies" / f"{name}.yaml")
    files = {key: str(folder / file) for key, file in FILES.items()}
    items = contained_items(study)
    drawn = [str(folder / f"{item}{DRAWINGS[item].embedded}") for item in items]
    for item, path in zip(items, drawn, strict=True):
        arguments = DRAWINGS[item].arguments(study, SimpleNamespace(**files))
        importlib.import_module(item).main([*arguments, "--output", path])
    page = folder / "report.html"
    arguments = DRAWINGS["report"].arguments(study, SimpleNamespace(**files, drawn=drawn))
    report.main([*arguments, "--output", str(page)])
    return page, items


def test_a_page_of_many_runs_is_small(photographs: tuple[Path, list[str]]) -> None:
    assert photographs[0].stat().st_size < LARGEST


def test_every_item_of_the_study_is_on_the_page_once(photographs: tuple[Path, list[str]]) -> None:
    page, items = photographs
    text = page.read_text(encoding="utf-8")
    ids = Counter(Page(text).ids)
    assert {item: ids[item] for item in items} == dict.fromkeys(items, 1)
    assert {name for name, count in ids.items() if count > 1} == set()
    assert text.count("<svg") == sum(item.startswith("figure") for item in items)
    # The findings refer to the claims figure, which is elsewhere on the page.
    assert '<a href="#figure_claims">' in text


def test_the_verdict_equals_the_findings(photographs: tuple[Path, list[str]]) -> None:
    page = photographs[0]
    found = (page.parent / "findings.md").read_text(encoding="utf-8")
    [verdict] = re.findall(r"### a: .*\n\n\*\*Verdict: (.*?)\.\*\*", found)
    row = next(line for line in found.splitlines() if line.startswith("| a "))
    mean, low, high = re.findall(r"[+-]\d+\.\d+", row)
    parsed = Page(page.read_text(encoding="utf-8"))
    first = parsed.text[: parsed.text.index("The paper's claims")]
    assert "Does CLeVER help dino and simsiam on cifar10?" in first
    assert f"{verdict[0].upper()}{verdict[1:]} {mean} points [{low}, {high}]" in first
    # The other verdicts agree too.
    for key, verdict in re.findall(r"### (\w+): .*\n\n\*\*Verdict: (.*?)\.\*\*", found):
        rows = [cells[1] for cells in parsed.rows if cells[0].startswith(f"{key}: ")]
        assert rows == ([] if verdict == "not measured" else [verdict])
        assert f" {key}: " in parsed.text


def test_the_page_is_self_contained(make_study: MakeStudy, picture: Path) -> None:
    text = _render(make_study(), "--drawn", str(picture))
    page = Page(text)
    for tag, name, value in page.attributes:
        if name in ("src", "href", "srcset", "data", "action", "poster"):
            assert value.startswith(("data:image/png;base64,", "data:image/jpeg;base64,", "#")), (tag, name, value[:80])
    assert not re.search(r"https?:|//[a-z]|@import", re.sub(r"base64,[A-Za-z0-9+/=\s]+", "", text))
    assert all(address.startswith("#") for address in re.findall(r"url\(([^)]*)\)", text))
    assert page.tags.count("script") == 1
    assert not {"link", "iframe", "object", "base", "embed"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    # The drawing's embedded image is included, and references between its parts resolve.
    assert any(value.startswith("data:image/") for value in page.values("image", "href"))
    links = [value[1:] for _, name, value in page.attributes if name == "href" and value.startswith("#")]
    links += re.findall(r"url\(#([^)]*)\)", text)
    assert set(links) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_the_page_is_accessible(photographs: tuple[Path, list[str]]) -> None:
    text = photographs[0].read_text(encoding="utf-8")
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert ("html", "lang", "en") in page.attributes
    assert ("meta", "name", "viewport") in page.attributes
    assert page.tags.count("h1") == page.tags.count("main") == page.tags.count("title") - page.tags.count("svg") == 1
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels)), "a level is skipped"
    assert page.inside.count(("table", "caption")) == page.tags.count("table")
    assert len(page.values("th", "scope")) == page.tags.count("th")
    labels = page.values("svg", "aria-labelledby")
    assert len(labels) == page.values("svg", "role").count("img") == page.tags.count("svg")
    assert {word for label in labels for word in label.split()} <= set(page.ids)
    # Paragraphs and lists contain only elements that HTML allows in them.
    blocks = {"p", "div", "table", "ul", "dl", "section", "figure", "details", "pre", "h2", "h3"}
    assert not [pair for pair in page.inside if pair[0] == "p" and pair[1] in blocks]
    assert {parent for parent, tag in page.inside if tag == "li"} <= {"ul", "ol"}
    for media in ("prefers-color-scheme: dark", "@media print", "max-width"):
        assert media in text


def test_malicious_text_stays_text(make_study: MakeStudy, tmp_path: Path) -> None:
    sick = "digits/resnet10t/dino/caug/seed1"
    svg = tmp_path / "figure_bad.svg"
    svg.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:x="http://www.w3.org/1999/xlink" viewBox="0 0 9 9" '
        'onload="go()">'
        '<script>go()</script><a x:href="javascript:go()"><path d="M 0 0"/></a><foreignObject><b/></foreignObject>'
        '<style>@import "http://example.org/a.css"; path {fill: url(http://example.org/b)}</style>'
        '<image x:href="http://example.org/c.png"/><use href="file:///etc/passwd"/>'
        '<path id="p" onclick="go()" style="fill: url(http://example.org/d)" d="M 0.123456 1"/>'
        '<use x:href="#p"/></svg>',
        encoding="utf-8",
    )
    markdown = tmp_path / "table_bad.md"
    markdown.write_text(
        f"## {HOSTILE}\n\n{HOSTILE}\n\n</details>\n\n| a |\n|--|\n"
        "| <img src=x onerror=go()> |\n\n[x](javascript:go())\n"
    )
    study = make_study(collapsed=[sick])
    study.runs[0]["versions"] = {HOSTILE: HOSTILE}
    study.runs[0]["recipe"] = {"optimisation": {HOSTILE: HOSTILE}}
    study.runs_path.write_text(json.dumps(study.runs), encoding="utf-8")
    text = _render(study, "--drawn", str(svg), str(markdown), "--study", HOSTILE, "--command", HOSTILE)
    page = Page(text)
    assert page.tags.count("script") == 1
    assert not {"foreignobject", "img", "b", "one"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "example.org" not in text
    assert "passwd" not in text
    assert not [value for value in page.values("a", "href") if not value.startswith("#")]
    assert COLLAPSED in "".join(page.words)
    assert "".join(page.words).count("alert('x')") > 5
    assert page.values("use", "href") == ["#g0-0"]
    assert "M 0.12 1" in page.values("path", "d")


def test_every_run_is_a_row_and_shared_facts_are_stated_once(make_study: MakeStudy) -> None:
    study = make_study()
    page = Page(_render(study))
    rows = {cells[0]: cells for cells in page.rows}
    last = study.curves[(study.curves["metric"] == "loss_contrast") & (study.curves["epoch"] == 2)]
    for run, value in last[["run", "value"]].itertuples(index=False, name=None):
        cells = rows[run.removeprefix("digits/resnet10t/")]
        assert cells[1] == "ok"
        assert f"{value:.4g}" in cells
    assert "512 = 409 IR + 103 EF" in rows["dino+clever/caug/seed1"]
    runs = page.text[page.text.index("Facts shared by the runs") :]
    shared = runs[: runs.index("All runs")]
    for fact in ("epochs 7", "iterations 1,234", "time 1 h 2 min", "images/s 812", "1.50 GiB", "c0ffee", "5eed"):
        assert shared.count(fact) == 1
    assert "1 h 2 min" not in " ".join(cell for cells in page.rows for cell in cells)
    assert "Health: " not in page.text


def test_the_main_table_counts_the_test_images_of_its_own_columns(make_study: MakeStudy) -> None:
    study = make_study()
    (own,) = set(study.records[study.records["protocol"] == "linear"]["n"])
    other = study.records.assign(protocol="equivariance", metric="probe_top1", n=17)
    pd.concat([study.records, other]).to_csv(study.records_path, index=False)
    text = Page(_render(study)).text
    assert f"tested on n = {own:,};" in text[text.index("Main table Linear") :][:400]


def test_the_main_table_contains_means_differences_and_marks(make_study: MakeStudy) -> None:
    study = make_study(seeds=3)
    text = _render(study)
    page = Page(text)
    chosen = study.records[
        (study.records["part"] == "ALL")
        & (study.records["selection"] == "last")
        & (study.records["perturbation"] == "cj")
    ]
    values = {key: group.set_index("seed")["value"] for key, group in chosen.groupby(["method", "augmentation"])}
    baseline, method = values["dino", "caug"], values["dino+clever", "caug"]
    difference = method - baseline
    reach = 4.302653 * difference.std(ddof=1) / 3**0.5  # Student's t, two degrees of freedom
    expected = f"{method.mean():.1f} ± {method.std(ddof=1):.1f}{difference.mean():+.1f}"
    interval = f"[{difference.mean() - reach:+.1f}, {difference.mean() + reach:+.1f}]"
    # The first column also contains the other axes, for narrow screens.
    [row] = [cells for cells in page.rows if cells[:2] == ["dino+clevercaug", "caug"]][:1]
    assert row[3].startswith(expected)
    assert row[3].endswith(interval)
    trained = [value.mean() for key, value in values.items() if key[0] != "untrained"]
    best = re.findall(r'<td class="number best">([\d.]+) ', text)
    assert f"{max(trained):.1f}" in best
    facts = page.text[page.text.index("Main table Linear") :]
    assert "backbone: resnet10t; the whole representation (ALL); 7 epochs of pre-training; 3 seeds." in facts
    assert [cells[0] for cells in page.rows if cells[0].startswith("control: ")][:2] == [
        "control: untrained",
        "control: raw pixels",
    ]


def test_each_protocol_has_one_table_with_every_part(make_study: MakeStudy) -> None:
    study = make_study()
    records = study.records
    pd.concat([records, records.assign(protocol="knn20"), records.assign(protocol="semi+tenth")]).to_csv(
        study.records_path, index=False
    )
    text = _render(study)
    start, end = text.index('<section id="protocols">'), text.index('<section id="runs">')
    part = Page(text[start:end].removesuffix("\n"))
    assert part.tags.count("table") == part.tags.count("details") == 3
    for name in ("Linear probe", "Weighted kNN, 20", "tenth"):
        assert name in part.text
    assert sum(cells[:2] == ["dino+clevercaug, EF", "caug"] and cells[2] == "EF" for cells in part.rows) == 3


def test_an_unhealthy_run_has_a_warning_and_a_card(make_study: MakeStudy) -> None:
    sick = "digits/resnet10t/dino/caug/seed1"
    text = _render(make_study(collapsed=[sick]))
    page = Page(text)
    assert ("section", "role", "alert") in page.attributes
    assert "1 of 8 runs not healthy" in page.text
    assert "7 of 8 runs healthy" in page.text
    assert "<one>" not in text
    assert page.tags.count("article") == 1
    assert "dino ‡caug" in [cells[0] for cells in page.rows]
    # The unhealthy run comes first in the table of runs.
    rows = [cells[0] for cells in page.rows]
    assert rows.index("dino/caug/seed1") < rows.index("dino+clever/baug/seed0")


def test_healthy_runs_give_no_warning(make_study: MakeStudy) -> None:
    page = Page(_render(make_study()))
    assert ("section", "role", "alert") not in page.attributes
    assert "article" not in page.tags
    assert "8 of 8 runs healthy" in page.text


def test_trouble_on_the_curves_counts(make_study: MakeStudy) -> None:
    study = make_study()
    trouble = {**study.curves.iloc[0], "epoch": 1, "metric": "health", "value": "teacher uniform"}
    pd.concat([study.curves, pd.DataFrame([trouble])]).to_csv(study.curves_path, index=False)
    page = Page(_render(study))
    assert "7 of 8 runs healthy" in page.text
    assert "ok at the end, but at epoch 1: teacher uniform" in page.text


def test_a_run_of_unknown_health_is_not_called_healthy(make_study: MakeStudy) -> None:
    study = make_study()
    path = study.folder / "report.html"
    report.main(["--records", str(study.records_path), "--output", str(path)])
    page = Page(path.read_text(encoding="utf-8"))
    assert "8 of 8 runs not healthy" in page.text
    assert "0 of 8 runs healthy, 8 of unknown health" in page.text
    assert page.text.count("no entry in runs.json") == 16  # in the table, and on each card


def test_the_same_inputs_give_the_same_bytes(make_study: MakeStudy, picture: Path) -> None:
    study = make_study()
    assert _render(study, "--drawn", str(picture)) == _render(study, "--drawn", str(picture))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("figure.svg", "no picture", r"--drawn .*figure\.svg: not an SVG file"),
        ("figure.svg", "<html/>", r"--drawn .*figure\.svg: not an SVG file: its first element is html"),
        ("figure.png", "x", r"--drawn .*figure\.png: the suffix must be \.svg \(a figure\) or \.md"),
        ("figure.svg", None, r"--drawn .*figure\.svg: no such file"),
        ("table.md", None, r"--drawn .*table\.md: no such file"),
    ],
)
def test_an_unknown_item_is_rejected(
    make_study: MakeStudy, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    wrong = tmp_path / name
    if content is not None:
        wrong.write_text(content, encoding="utf-8")
    study = make_study()
    with pytest.raises(UserError, match=message):
        _render(study, "--drawn", str(wrong))
    assert not (study.folder / "report.html").exists()


def test_published_values_are_folded(photographs: tuple[Path, list[str]]) -> None:
    text = photographs[0].read_text(encoding="utf-8")
    main = text[text.index('<section id="main">') : text.index('<section id="figures">')]
    shown, folded = main.split("<summary>Published values</summary>")
    assert "published" not in Page(shown[: shown.rindex("<details>")] + "</section>").text
    assert "Published values on a different data set: imagenet100" in folded


def test_origins_differ_where_runs_differ(make_study: MakeStudy) -> None:
    study = make_study()
    clean, dirty = {"git_commit": "c0ffee", "git_dirty": False}, {"git_commit": "decaf", "git_dirty": True}
    for run in study.runs:
        run["trained_by"] = [clean, dirty] if run["run"] == "digits/resnet10t/dino/baug/seed1" else [clean]
        run["hardware"] = {"device": "cuda", "gpu": "<A>"} if run["run"].endswith("seed1") else {"device": "cpu"}
    study.runs_path.write_text(json.dumps(study.runs), encoding="utf-8")
    text = Page(_render(study)).text
    origin = text[text.index("numbers ") :]
    assert "c0ffee (7 runs); c0ffee then decaf, with uncommitted changes (1 run)" in origin
    assert "device cpu (4 runs); device cuda, gpu <A> (4 runs)" in origin
    assert "8 h 16 min over 8 runs" in origin  # 8 times 3725 s


def test_long_names_break_after_separators_and_stay_escaped() -> None:
    found = report._breakable("dino+clever@head_norm_weight=0")
    assert found == "dino+<wbr>clever@<wbr>head_<wbr>norm_<wbr>weight=<wbr>0"
    assert "<script>" not in report._breakable(HOSTILE)
