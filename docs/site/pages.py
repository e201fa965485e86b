"""Lays out build/site-source, from which mkdocs builds the documentation site.

The pages stay where they are in the repository, so that the relative links by which they work on a forge work in the
site too. What they link to that is no page gets one: a file is shown, a folder lists its files, and the contract is the
API reference.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))

import reference  # noqa: E402 -- it lies beside this file, which is no package

TARGET = ROOT / "build" / "site-source"
PAGES = TARGET / "pages"
FENCES = {".go": "go", ".java": "java", ".json": "json", ".lua": "lua", ".proto": "protobuf", ".py": "python"}
FENCES |= {".toml": "toml", ".ts": "typescript", ".yaml": "yaml", ".yml": "yaml"}
LINK = re.compile(r"(?<!!)\]\(([^)\s#]+)(#[^)\s]*)?\)")
CONTRACT = Path("protos/allocation/v1")
REFERENCE = Path("reference")


def documents() -> list[Path]:
    """Returns the pages that people have written, relative to the repository."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("clients/*/README.md")]
    found.append(ROOT / "helm" / "allocation-gateway" / "README.md")
    return sorted(path.relative_to(ROOT) for path in found)


def shown(path: Path) -> Path:
    """Returns the page that stands for a file or folder of the repository, and writes it if there is none yet."""
    if CONTRACT in (path, path.parent):
        return REFERENCE / ("README.md" if path == CONTRACT else f"{reference.slug(path.name)}.md")
    if (ROOT / path / "README.md").is_file():
        return path / "README.md"
    page = path / "files.md" if (ROOT / path).is_dir() else path.with_name(f"{path.name}.md")
    target = PAGES / page
    if target.exists():
        return page
    target.parent.mkdir(parents=True, exist_ok=True)
    lines = ["---", "search:", "  exclude: true", "---", "", f"# `{path}`", ""]
    if (ROOT / path).is_dir():
        target.touch()
        for file in sorted(each for each in (ROOT / path).rglob("*") if each.is_file()):
            link = os.path.relpath(PAGES / shown(file.relative_to(ROOT)), target.parent)
            lines.append(f"- [{file.relative_to(ROOT / path)}]({link})")
    else:
        lines += [f"````{FENCES.get(path.suffix, 'text')}", (ROOT / path).read_text().rstrip(), "````"]
    target.write_text("\n".join(lines) + "\n")
    return page


def with_links(page: Path, text: str) -> str:
    """Returns the text of a page with links to what is no page led to the page that stands for it."""

    def led(match: re.Match[str]) -> str:
        link, anchor = match[1], match[2] or ""
        if "://" in link or link.endswith((".md", ".svg")):
            return match[0]
        path = Path(os.path.normpath(ROOT / page.parent / link)).relative_to(ROOT)
        if not (ROOT / path).exists():
            return match[0]  # mkdocs says that it is broken
        return f"]({os.path.relpath(shown(path), page.parent)}{anchor})"

    # A block of code has no links.
    parts = re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if part.startswith("```") else LINK.sub(led, part) for part in parts)


def main() -> None:
    """Writes the pages and the configuration."""
    shutil.rmtree(TARGET, ignore_errors=True)
    for page in documents():
        target = PAGES / page
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(with_links(page, (ROOT / page).read_text()))
    for picture in ROOT.glob("docs/*.svg"):
        shutil.copyfile(picture, PAGES / "docs" / picture.name)
    (PAGES / "assets").mkdir()
    shutil.copyfile(ROOT / "docs" / "site" / "site.css", PAGES / "assets" / "site.css")
    pages = reference.write(ROOT / "build" / "api-reference" / "descriptor.pb", PAGES / REFERENCE)
    configuration = yaml.safe_load((ROOT / "docs" / "site" / "mkdocs.yml").read_text())
    for section in configuration["nav"]:
        if "API reference" in section:
            section["API reference"] += [{title: str(REFERENCE / name)} for title, name in pages]
    (TARGET / "mkdocs.yml").write_text(yaml.safe_dump(configuration, sort_keys=False))


if __name__ == "__main__":
    main()
