"""Puts the study's other items into the report: figures as inline vector graphics, tables and pages from Markdown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from compact_images import compact
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

from clever.errors import UserError
from clever.parsing import foreign, read_text

CAPTIONS = Path(__file__).resolve().parents[1] / "workflow" / "report"
SVG = "http://www.w3.org/2000/svg"
_SHAPES = ("path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text", "tspan", "image", "style")
_GROUPS = ("g", "defs", "symbol", "use", "clipPath", "mask", "pattern", "marker")
_SHADES = ("linearGradient", "radialGradient", "stop")
_TAGS = frozenset(f"{{{SVG}}}{name}" for name in (*_SHAPES, *_GROUPS, *_SHADES))
"""SVG elements that are kept; all of them only draw."""
LARGEST_SCALE = 1.3
"""A figure is enlarged to at most this multiple of the width at which it was drawn."""
_REFERENCE = re.compile(r"^#(.+)$|url\(#([^()]+)\)")
_PLAIN = re.compile(r"\d+(\.\d+)?")
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_SAFE_STYLE = re.compile(r"[\w\s:;.,#%-]+")
_ALONG = re.compile(r"translate\((-?\d+(?:\.\d+)?)(?: 0)?\)")
_DETAILS = re.compile(r"<details><summary>([^<>]*)</summary>\s*")


@dataclass(frozen=True)
class Item:
    """One item of the page; ``body`` is HTML. ``is_figure`` says whether it is a graphic."""

    name: str
    title: str
    caption: str
    body: Markup
    is_figure: bool


def read_item(path: Path, present: Collection[str] = (), place: int = 0) -> Item:
    """An item from its .svg or .md; its name is the file's.

    Args:
        path: the file.
        present: names of the items on the page, to which images in Markdown become links.
        place: its place on the page, which keeps the ids of graphics distinct.

    Raises:
        UserError: the file is missing, is neither kind, or is a damaged SVG.
    """
    name = path.stem
    caption_file = CAPTIONS / f"{name}.rst"
    caption = " ".join(caption_file.read_text(encoding="utf-8").split()) if caption_file.is_file() else ""
    title = title_of(name)
    if path.suffix == ".svg":
        return Item(name, title, caption, inline_svg(path, title, caption, f"g{place}"), True)
    if path.suffix == ".md":
        if not path.is_file():
            raise UserError(f"--drawn {path}: no such file")
        return Item(name, title, caption, markdown_to_html(read_text(path), name, present), False)
    raise UserError(f"--drawn {path}: the suffix must be .svg (a figure) or .md (a table or a page)")


def title_of(name: str) -> str:
    """``Loss terms`` of ``figure_loss_terms``; ``Table of loss terms`` of ``table_loss_terms``; ``Table 1``."""
    kind, _, rest = name.partition("_")
    words = rest if kind == "figure" else f"table of {rest}" if kind == "table" and not rest.isdigit() else name
    words = words.replace("_", " ")
    return words[:1].upper() + words[1:]


def inline_svg(path: Path, title: str, caption: str, prefix: str) -> Markup:
    """The graphic as an element of the page, with a name and a description for those who cannot see it.

    Only ids that the graphic refers to are kept, as ``prefix`` and a number: a page may hold each id once. Style sheets
    are confined to the graphic. Coordinates are rounded to hundredths of a point, and images are reduced. Elements that
    do not draw, handlers and references to anything outside the file are removed.

    Raises:
        UserError: the file is missing or is not an SVG.
    """
    if not path.is_file():
        raise UserError(f"--drawn {path}: no such file")
    with foreign(f"--drawn {path}", "not an SVG file"):
        root = ElementTree.fromstring(read_text(path))
    if root.tag != f"{{{SVG}}}svg":
        raise UserError(f"--drawn {path}: not an SVG file: its first element is {root.tag}")
    _clean(root)
    used = {found for element in root.iter() for value in element.attrib.values() for found in _references(value)}
    ids = {element.get("id", "") for element in root.iter()} & used
    short = {old: f"{prefix}-{place}" for place, old in enumerate(sorted(ids))}
    for element in root.iter():
        _rewrite(element, short, f"{prefix}-graphic")
    _share_styles(root, f"{prefix}-graphic")
    width = _points(root)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    root.attrib |= {"id": f"{prefix}-graphic", "role": "img", "aria-labelledby": f"{prefix}-title {prefix}-description"}
    if width:
        # Lines and letters of a small figure should not become larger than those of the page.
        root.attrib["style"] = f"max-width: {width * LARGEST_SCALE:.0f}pt"
    for place, (tag, which, text) in enumerate((("title", "title", title), ("desc", "description", caption or title))):
        label = ElementTree.Element(f"{{{SVG}}}{tag}", {"id": f"{prefix}-{which}"})
        label.text = text
        root.insert(place, label)
    ElementTree.register_namespace("", SVG)
    text = re.sub(r"\s*\n\s*", "\n", ElementTree.tostring(root, encoding="unicode")).replace(" />", "/>")
    # An element of HTML needs no namespace.
    return Markup(text.replace(f' xmlns="{SVG}"', "", 1))


def _references(value: str) -> list[str]:
    """The ids of the same file that an attribute refers to."""
    return [whole or inside for whole, inside in _REFERENCE.findall(value)]


def _points(root: ElementTree.Element) -> float:
    """Width of the graphic in points; 0 if it states none."""
    box = root.get("viewBox", "").split()
    return float(box[2]) if len(box) == 4 and _PLAIN.fullmatch(box[2]) else 0.0


def _clean(element: ElementTree.Element) -> None:
    """Remove what does not draw, at any depth."""
    for child in list(element):
        if child.tag not in _TAGS:
            element.remove(child)
        else:
            _clean(child)


def _rewrite(element: ElementTree.Element, ids: Mapping[str, str], scope: str) -> None:
    kept: dict[str, str] = {}
    for key, value in element.attrib.items():
        name = key.rpartition("}")[2]
        if name == "href":
            if value[1:] in ids:
                kept["href"] = f"#{ids[value[1:]]}"
            elif value.startswith("data:image/png;base64,"):
                kept["href"] = compact(value)
                # A smaller image still fills its place.
                kept["preserveAspectRatio"] = "none"
        elif key.startswith("{") or name.lower().startswith("on") or name == "version":
            continue
        elif name == "id":
            if value in ids:
                kept["id"] = ids[value]
        elif "url(" in value:
            references = _references(value)
            # A reference to anything but an element of the same file is dropped with its attribute.
            if len(references) == value.count("url(") and set(references) <= set(ids):
                kept[name] = _REFERENCE.sub(lambda match: f"url(#{ids[match[1] or match[2]]})", value)
        elif name == "transform" and element.tag == f"{{{SVG}}}use" and (moved := _ALONG.fullmatch(value)):
            # A letter in a line of text. One unit is a hundredth of the font size.
            kept["x"] = f"{float(moved[1]):.1f}".removesuffix(".0")
        elif name in ("d", "x", "y", "points"):
            kept[name] = " ".join(_NUMBER.sub(_round, value).split())
        else:
            kept[name] = value
    if element.tag == f"{{{SVG}}}style":
        rules = element.text or ""
        foreign_rules = "url(" in rules or "@" in rules or rules.count("{") != rules.count("}")
        element.text = None if foreign_rules else f"#{scope} {{{rules}}}"
    element.attrib.clear()
    element.attrib.update(kept)


def _share_styles(root: ElementTree.Element, scope: str) -> None:
    """Turn every style that several elements have into a class: styles are a quarter of a figure's text."""
    counts = Counter(
        style for element in root.iter() if (style := element.get("style")) and _SAFE_STYLE.fullmatch(style)
    )
    names = {style: f"s{place}" for place, (style, count) in enumerate(counts.most_common()) if count > 1}
    for element in root.iter():
        if (name := names.get(element.get("style", ""))) is not None:
            del element.attrib["style"]
            element.set("class", name)
    if names:
        sheet = ElementTree.Element(f"{{{SVG}}}style")
        sheet.text = "".join(f"#{scope} .{name} {{{style}}}" for style, name in names.items())
        root.insert(0, sheet)


def _round(match: re.Match[str]) -> str:
    return f"{float(match[0]):.2f}".rstrip("0").rstrip(".")


def markdown_to_html(text: str, name: str, present: Collection[str] = ()) -> Markup:
    """Markdown as HTML for inside an item: headings below the item's own, tables that scroll and can be sorted.

    Raw HTML becomes text, except for ``<details>`` and ``<summary>``. An image of another item becomes a link to it.
    """
    parser = MarkdownIt("commonmark").enable("table")
    tokens = parser.parse(text)
    _defuse(tokens)
    _adapt(tokens, name, present)
    return Markup(parser.renderer.render(tokens, parser.options, {}))


def _defuse(tokens: list[Token]) -> None:
    """Turn raw HTML into text, except for ``<details>`` elements that are opened and closed in turn."""
    blocks = [token for token in tokens if token.type == "html_block"]
    folds = [token for token in blocks if _DETAILS.fullmatch(token.content) or token.content.strip() == "</details>"]
    opening = [token.content.strip() != "</details>" for token in folds]
    in_turn = opening == [True, False] * (len(folds) // 2)
    for token in blocks:
        if not in_turn or token not in folds:
            token.content = f"<p>{escape(token.content)}</p>\n"
    for token in tokens:
        for child in token.children or []:
            if child.type == "html_inline":
                child.type = "text"


def _adapt(tokens: list[Token], name: str, present: Collection[str]) -> None:
    heading, tables = title_of(name), 0
    shift = 3 - min((int(token.tag[1]) for token in tokens if token.type == "heading_open"), default=3)
    added: list[tuple[int, Token]] = []
    for place, token in enumerate(tokens):
        if token.type in ("heading_open", "heading_close"):
            if token.type == "heading_open":
                heading = tokens[place + 1].content
            token.tag = f"h{min(6, int(token.tag[1]) + shift + 1)}"
        elif token.type == "table_open":
            tables += 1
            label = _plain(heading)
            attributes = f'class="scroll" tabindex="0" role="region" aria-label="{escape(label)}, table {tables}"'
            added.append((place, _html(f"<div {attributes}>")))
            added.append((place + 1, _html(f'<caption class="hidden">{escape(label)}</caption>')))
            token.attrSet("class", "sortable")
        elif token.type == "table_close":
            added.append((place + 1, _html("</div>")))
        elif token.type in ("th_open", "td_open"):
            if token.type == "th_open":
                token.attrSet("scope", "col")
            if token.attrs.pop("style", None) == "text-align:right":
                token.attrSet("class", "number")
        elif token.type == "inline":
            token.children = list(_without_images(token.children or [], present))
    for place, token in reversed(added):
        tokens.insert(place, token)


def _without_images(children: Sequence[Token], present: Collection[str]) -> Iterator[Token]:
    for child in children:
        if child.type != "image":
            yield child
            continue
        target = Path(str(child.attrs.get("src", ""))).stem
        text = Token("text", "", 0, content=child.content)
        if target in present:
            yield Token("link_open", "a", 1, attrs={"href": f"#{target}"})
            yield text
            yield Token("link_close", "a", -1)
        else:
            yield text


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _html(text: str) -> Token:
    return Token("html_block", "", 0, content=text + "\n")
