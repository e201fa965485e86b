"""An empty project outside the repository that has the Java client as its README says."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Final

import pytest
from clients.project import ROOT, Project, text_of

README: Final = ROOT / "clients" / "java" / "README.md"
SECONDS: Final = 600
# Programs that last for seconds are not worth more compiling.
JAVA: Final = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
# The programs of these tests read and write JSON, which a caller need not.
_MORE: Final = """
    <dependency>
      <groupId>com.google.protobuf</groupId>
      <artifactId>protobuf-java-util</artifactId>
      <version>3.25.8</version>
    </dependency>
  </dependencies>"""
# Beside the pom: the same with the newest of what the client is built on.
_NEWEST: Final = """
  <dependencyManagement>
    <dependencies>
      <dependency>
        <groupId>com.google.protobuf</groupId>
        <artifactId>protobuf-bom</artifactId>
        <version>4.36.2</version>
        <type>pom</type>
        <scope>import</scope>
      </dependency>
      <dependency>
        <groupId>io.grpc</groupId>
        <artifactId>grpc-bom</artifactId>
        <version>1.85.1</version>
        <type>pom</type>
        <scope>import</scope>
      </dependency>
    </dependencies>
  </dependencyManagement>
  <dependencies>"""
# What Maven has fetched before is a repository too, so that nothing is fetched twice although the project's own is new.
_SETTINGS: Final = """<settings>
  <profiles>
    <profile>
      <id>fetched</id>
      <repositories>
        <repository><id>fetched</id><url>file://{fetched}</url></repository>
      </repositories>
      <pluginRepositories>
        <pluginRepository><id>fetched</id><url>file://{fetched}</url></pluginRepository>
      </pluginRepositories>
    </profile>
  </profiles>
  <activeProfiles><activeProfile>fetched</activeProfile></activeProfiles>
</settings>
"""


class JavaProject(Project):
    """The project."""

    seconds = SECONDS

    def compile(self, *sources: Path) -> None:
        """Compiles programs with what Maven has put together; warnings are errors."""
        listed = " ".join(f"'{source}'" for source in sources)
        self.run(f"javac -Xlint:all -Werror --release 11 -cp 'target/dependency/*' -d target/classes {listed}")

    def command(self, program: str, *flags: str) -> tuple[str, ...]:
        """Returns the command that runs a program."""
        folder = self.folder / "target"
        return (*JAVA, *flags, "-cp", f"{folder / 'classes'}{os.pathsep}{folder / 'dependency'}/*", program)


def blocks(language: str) -> list[str]:
    """Returns the blocks of the README in a language."""
    return re.findall(rf"```{language}\n(.*?)```", text_of(README), re.DOTALL)


def _fetched(folder: Path) -> Path:
    """Lays out what Maven has fetched before, but not this client: an earlier one may be there."""
    package = folder / "com"
    package.mkdir(parents=True)
    repository = Path.home() / ".m2" / "repository"
    for path in (*repository.glob("*"), *repository.glob("com/*")):
        if path.name not in {"com", "allocationgateway"}:
            (package if path.parent.name == "com" else folder).joinpath(path.name).symlink_to(path)
    return folder


def java_project(folder: Path) -> JavaProject:
    """Makes it in an empty folder. Without Maven this fails: skipping would hide that nothing was proved."""
    for tool in ("mvn", "javac"):
        if shutil.which(tool) is None:
            pytest.fail(f"{tool} is missing: install Maven and a JDK of 11 or newer", pytrace=False)
    made = JavaProject(folder)
    build, call = blocks("sh")
    made.run(build)
    (pom,) = blocks("xml")
    pom = pom.replace("<checkout>", str(ROOT)).replace("\n  </dependencies>", _MORE)
    (folder / "pom.xml").write_text(pom)
    newest = re.sub("<version>3.*</version>", "", pom).replace("\n  <dependencies>", _NEWEST)
    (folder / "newest.xml").write_text(newest)
    (folder / ".mvn").mkdir()
    (folder / "settings.xml").write_text(_SETTINGS.format(fetched=_fetched(folder / "fetched")))
    (folder / ".mvn" / "maven.config").write_text(
        f"--batch-mode\n--global-settings={folder / 'settings.xml'}\n-Dmaven.repo.local={folder / 'repository'}\n"
    )
    source = folder / "src" / "main" / "java" / "Call.java"
    source.parent.mkdir(parents=True)
    source.write_text(blocks("java")[0])
    made.run(call.splitlines()[0])
    return made
