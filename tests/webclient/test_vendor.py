"""What others wrote is there as it was made, with its licences, and nothing else is."""

import hashlib
import json
from pathlib import Path

import chat_server

VENDOR = Path(chat_server.__file__).parent / "webclient" / "vendor"


def test_the_files_are_those_that_were_made() -> None:
    manifest = json.loads((VENDOR / "manifest.json").read_text("utf-8"))
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir()}
    del there["manifest.json"]
    assert there == manifest["sha256"]


def test_each_package_has_its_licence() -> None:
    manifest = json.loads((VENDOR / "manifest.json").read_text("utf-8"))
    licences = (VENDOR / "LICENSES").read_text("utf-8")
    packages = set(manifest["packages"]) - {"esbuild"}  # which makes the bundle and is not in it
    assert packages
    for name in packages:
        assert f"{name} {manifest['packages'][name]}\n" in licences


def test_the_versions_are_those_of_the_script() -> None:
    script = (Path(__file__).parents[2] / "scripts" / "vendor.mjs").read_text("utf-8")
    for version in json.loads((VENDOR / "manifest.json").read_text("utf-8"))["packages"].values():
        assert f'"{version}"' in script
