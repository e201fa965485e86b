"""The documentation site as it was built: links, navigation, API reference and search."""

from __future__ import annotations

import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from google.protobuf import descriptor_pb2 as pb

pytestmark = pytest.mark.docs

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "build" / "site"
DESCRIPTORS = ROOT / "build" / "api-reference" / "descriptor.pb"


class Read(HTMLParser):
    """What a page links to, and what can be linked to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.navigation: list[str] = []
        self.anchors: set[str] = set()
        self._navs = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        self._navs += tag == "nav"
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
            if self._navs:
                self.navigation.append(found["href"])
        elif tag in {"img", "script"} and "src" in found:
            self.loaded.append(found["src"])
        elif tag == "link" and found.get("rel") in {"stylesheet", "icon", "preconnect", "preload"}:
            self.loaded.append(found["href"])

    def handle_endtag(self, tag: str) -> None:
        self._navs -= tag == "nav"


@cache
def read(page: Path) -> Read:
    return Read(page.read_text())


def pages() -> list[Path]:
    found = [page for page in SITE.rglob("*.html") if page.name != "404.html"]
    assert found, "There is no site: run make docs"
    return found


def target(page: Path, link: str) -> Path:
    parts = urlsplit(link)
    found = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    return found / "index.html" if found.is_dir() else found


def broken(page: Path, link: str) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return parts.scheme not in {"https", "mailto"} and parts.hostname != "127.0.0.1"
    found = target(page, link)
    if not found.is_file() or not found.is_relative_to(SITE):
        return True
    anchor = unquote(parts.fragment)
    return bool(anchor) and found.suffix == ".html" and anchor not in read(found).anchors


def test_no_link_and_no_anchor_is_broken() -> None:
    found = {(str(page.relative_to(SITE)), link) for page in pages() for link in read(page).links if broken(page, link)}
    assert found == set()


@pytest.mark.parametrize("link", ["nowhere.html", "index.html#nowhere", "../../../README.md", "http://example.com"])
def test_a_broken_link_is_found(link: str) -> None:
    assert broken(SITE / "index.html", link)


def test_nothing_is_loaded_from_elsewhere() -> None:
    found = {
        (str(page.relative_to(SITE)), each) for page in pages() for each in read(page).loaded if broken(page, each)
    }
    assert found == set()
    assert not [each for page in pages() for each in read(page).loaded if "//" in each]


def test_every_document_is_in_the_navigation() -> None:
    start = SITE / "index.html"
    listed = {target(start, link) for link in read(start).navigation}
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("clients/*/README.md")]
    assert documents
    for document in documents:
        page = document.with_name("index.html" if document.name == "README.md" else f"{document.stem}.html")
        assert SITE / page.relative_to(ROOT) in listed, document


def files() -> list[pb.FileDescriptorProto]:
    found = pb.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file
    return [file for file in found if file.package == "allocation.v1"]


def declared(message: pb.DescriptorProto, prefix: str = "") -> set[str]:
    name = f"{prefix}{message.name}"
    found = {name} | {f"{name}.{field.name}" for field in message.field}
    for enum in message.enum_type:
        found |= {f"{name}.{enum.name}"} | {value.name for value in enum.value}
    for inner in message.nested_type:
        found |= set() if inner.options.map_entry else declared(inner, f"{name}.")
    return found


def test_the_reference_has_every_rpc_message_field_and_value() -> None:
    assert files()
    for file in files():
        stem = Path(file.name).stem.replace("_", "-")
        names = {rpc.name for service in file.service for rpc in service.method}
        names |= set().union(*map(declared, file.message_type))
        for enum in file.enum_type:
            names |= {enum.name} | {value.name for value in enum.value}
        assert names
        assert names <= read(SITE / "reference" / f"{stem}.html").anchors, file.name


def test_each_description_is_in_the_reference() -> None:
    """A field whose comment is lost has its name alone."""
    for file in files():
        text = (SITE / "reference" / f"{Path(file.name).stem.replace('_', '-')}.html").read_text()
        plain = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", text))
        for part in file.source_code_info.location:
            words = re.match(r"[A-Za-z ]+", part.leading_comments.strip().replace("\n", " "))
            # The comment of the syntax line is about the file.
            if words and part.path[0] in {4, 5, 6}:
                assert re.sub(r"\s+", " ", words[0]).strip() in plain, part.leading_comments


def test_the_search_finds_every_rpc_in_the_page_of_its_service() -> None:
    index = json.loads((SITE / "search" / "search_index.json").read_text())["docs"]
    titles = {(entry["location"], entry["title"]) for entry in index}
    rpcs = {
        (f"reference/{Path(file.name).stem.replace('_', '-')}.html#{rpc.name}", rpc.name)
        for file in files()
        for service in file.service
        for rpc in service.method
    }
    assert rpcs
    assert rpcs <= titles
