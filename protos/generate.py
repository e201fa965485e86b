"""Generates the committed Python, Go and TypeScript code from the .proto files beside this one.

Usage: python protos/generate.py [deps] [python] [client] [go] [typescript] [descriptors] [contract]

`client` writes what the clients have besides their stubs. `deps` only lays out .deps, the google.type files that buf
needs. `descriptors` writes what docs/site makes the API reference from, and `contract` what stubs in other languages
are generated from. None of these three is committed. The Go plugins are built from the versions that
protos/go/go.mod pins, and the plugin for TypeScript is the one that clients/typescript/package-lock.json pins, so that
a fresh machine generates the same text as the last one. The stubs for Java are made when that client is built, by
clients/java/pom.xml.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
PYTHON_OUT = ROOT / "clients" / "python" / "src"
PYTHON_CLIENT = PYTHON_OUT / "allocation_gateway_client"
JAVA_CLIENT = ROOT / "clients" / "java" / "src" / "main" / "java" / "com" / "allocationgateway" / "client"
GO_OUT = ROOT / "clients" / "go"
GO_PLUGINS = PROTOS / "go"
GO_CLIENT = GO_OUT / "gateway"
TYPESCRIPT_OUT = ROOT / "clients" / "typescript" / "src" / "gen"
# The compilers of the Python stubs, that of the messages and that of the services, which have other versions.
STUBS = ROOT / ".cache" / "stubs"
TYPESCRIPT_TOOLS = ROOT / ".cache" / "typescript" / "node_modules" / ".bin"
SERVICE_CONFIG = ROOT / "clients" / "service_config.json"
REFERENCE = ROOT / "build" / "api-reference"
CONTRACT = ROOT / "dist" / "protos"
GO_MODULE = "github.com/allocation-gateway/allocation-gateway/clients/go"
GOOGLE_TYPES = ("google/rpc/status.proto", "google/type/decimal.proto", "google/type/money.proto")
# Of these there is no package for Node.
GOOGLE_STUBS = (*GOOGLE_TYPES, "google/rpc/error_details.proto")


def sources() -> list[str]:
    """Returns the paths of our own .proto files, relative to protos/, in a stable order."""
    return sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / "allocation").rglob("*.proto"))


def protoc(*arguments: str, path: str = "", only: str = "", python: str = sys.executable) -> None:
    """Runs a locked protoc on our own files.

    Args:
        arguments: What it is told besides the files and where to look for them.
        path: Put before PATH, for its plugins.
        only: What the names of the files hold.
        python: The interpreter that has it.
    """
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join(part for part in (path, environment["PATH"]) if part)
    command = [
        python,
        "-m",
        "grpc_tools.protoc",
        f"-I{PROTOS}",
        f"-I{files('google').joinpath('..')}",
        f"-I{files('grpc_tools').joinpath('_proto')}",
        *arguments,
        *(name for name in sources() if only in name),
    ]
    subprocess.run(command, check=True, env=environment)  # noqa: S603


def deps() -> None:
    """Copies the google.type files that our own import to where buf looks for them."""
    copy_google(GOOGLE_TYPES, PROTOS / ".deps")


def contract() -> None:
    """Copies our own files, and those of Google's that they import or that errors need, to one folder."""
    copy_google(GOOGLE_STUBS, CONTRACT)
    shutil.copytree(PROTOS / "allocation", CONTRACT / "allocation")


def copy_google(names: Iterable[str], target: Path) -> None:
    """Copies files of Google's to a folder that has nothing else."""
    shutil.rmtree(target, ignore_errors=True)
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(files("google").joinpath("..").joinpath(name)), target / name)


def python() -> None:
    """Writes the typed Python stubs, and makes their folders packages with type information."""
    package = PYTHON_OUT / "allocation"
    shutil.rmtree(package, ignore_errors=True)
    PYTHON_OUT.mkdir(parents=True, exist_ok=True)
    if not STUBS.is_dir():
        sys.exit("The compilers of the Python stubs are missing: run make generate")
    plugins = str(Path(sys.executable).parent)
    protoc(f"--mypy_out={PYTHON_OUT}", path=plugins)
    protoc(f"--mypy_grpc_out={PYTHON_OUT}", path=plugins, only="_service.proto")
    protoc(f"--python_out={PYTHON_OUT}", python=str(STUBS / "messages" / "bin" / "python"))
    protoc(f"--grpc_python_out={PYTHON_OUT}", python=str(STUBS / "services" / "bin" / "python"), only="_service.proto")
    (package / "__init__.py").write_text('"""Stubs of the allocation gateway."""\n')
    (package / "v1" / "__init__.py").write_text('"""Version 1 of the allocation gateway\'s API."""\n')
    (package / "py.typed").touch()


def client() -> None:
    """Writes what clients have besides stubs: the methods of those for Python and Java, the service configuration."""
    with tempfile.TemporaryDirectory() as folder:
        descriptors = Path(folder) / "descriptors.binpb"
        protoc("--include_source_info", f"--descriptor_set_out={descriptors}")
        for script, target in (("python_methods.py", PYTHON_CLIENT / "methods.py"), ("java_methods.py", JAVA_CLIENT)):
            command = [sys.executable, str(PROTOS / script), str(descriptors), str(target)]
            subprocess.run(command, check=True)  # noqa: S603
    for package in (PYTHON_CLIENT, GO_CLIENT):
        shutil.copyfile(SERVICE_CONFIG, package / SERVICE_CONFIG.name)


def go() -> None:
    """Writes the Go stubs with the plugins that a module of their own pins: the client runs with older versions."""
    with tempfile.TemporaryDirectory() as bin_dir:
        for plugin in (
            "google.golang.org/protobuf/cmd/protoc-gen-go",
            "google.golang.org/grpc/cmd/protoc-gen-go-grpc",
        ):
            subprocess.run(["go", "build", "-o", bin_dir, plugin], check=True, cwd=GO_PLUGINS)  # noqa: S603, S607
        shutil.rmtree(GO_OUT / "allocation", ignore_errors=True)
        module = f"module={GO_MODULE}"
        protoc(
            f"--go_out={GO_OUT}",
            f"--go_opt={module}",
            f"--go-grpc_out={GO_OUT}",
            f"--go-grpc_opt={module}",
            path=bin_dir,
        )


def typescript() -> None:
    """Writes the TypeScript stubs with the plugin that the TypeScript client pins, and the service configuration."""
    if not TYPESCRIPT_TOOLS.is_dir():
        sys.exit("The tools of the TypeScript client are missing: run make generate")
    shutil.rmtree(TYPESCRIPT_OUT, ignore_errors=True)
    TYPESCRIPT_OUT.mkdir(parents=True)
    options = "target=ts,import_extension=js"
    protoc(f"--es_out={TYPESCRIPT_OUT}", f"--es_opt={options}", *GOOGLE_STUBS, path=str(TYPESCRIPT_TOOLS))
    (TYPESCRIPT_OUT / "service_config.ts").write_text(
        f"// Generated from clients/{SERVICE_CONFIG.name}. Do not edit.\n"
        'import type { ServiceConfig } from "../service_config.js";\n\n'
        "/** What the clients in all languages have: a time-out for every rpc, retries of reads. */\n"
        f"export const DEFAULT_SERVICE_CONFIG: ServiceConfig = {SERVICE_CONFIG.read_text().strip()};\n"
    )


def descriptors() -> None:
    """Writes the descriptors with their comments."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    protoc("--include_source_info", "--include_imports", f"--descriptor_set_out={REFERENCE / 'descriptor.pb'}")


def main() -> None:
    """Runs the steps that the command line names; those that make committed code if it names none."""
    steps = {
        "deps": deps,
        "python": python,
        "client": client,
        "go": go,
        "typescript": typescript,
        "descriptors": descriptors,
        "contract": contract,
    }
    for name in sys.argv[1:] or ("deps", "python", "client", "go", "typescript"):
        steps[name]()


if __name__ == "__main__":
    main()
