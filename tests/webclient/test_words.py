"""Both languages say everything, and take the same facts."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import chat_server
import pytest

APP = Path(chat_server.__file__).parent / "webclient" / "app"
READ = """
const [one, other] = await Promise.all(process.argv.slice(1).map((path) => import(path)));
const facts = (word) => (typeof word === "function" ? word.length : 0);
const shape = ({ default: words }) => Object.fromEntries(Object.keys(words).map((key) => [key, facts(words[key])]));
console.log(JSON.stringify([shape(one), shape(other)]));
"""


@pytest.fixture(scope="module")
def words() -> list[dict[str, int]]:
    """Of each language: key → how many facts its word takes."""
    node = shutil.which("node")
    if node is None:
        assert "CI" not in os.environ, "CI has Node"
        pytest.skip("needs Node 20 or later")
    files = [str(APP / "words" / f"{language}.js") for language in ("en", "zh")]
    command = [node, "--input-type=module", "-e", READ, *files]
    found: list[dict[str, int]] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def test_both_languages_have_the_same_words(words: list[dict[str, int]]) -> None:
    assert len(words[0]) > 300
    assert list(words[1]) == list(words[0])
    # A language may need one fact fewer, as Chinese has no plural; where a word is a function in one it is in both.
    assert {key for key in words[0] if bool(words[0][key]) != bool(words[1][key])} == set()


def test_every_word_that_is_asked_for_is_there(words: list[dict[str, int]]) -> None:
    asked = {
        key for page in APP.rglob("*.js") for key in re.findall(r'(?<![\w.])t\("([^"]+)"', page.read_text("utf-8"))
    }
    assert len(asked) > 150
    assert asked - set(words[0]) == set()


def test_every_error_of_the_protocol_has_its_words(words: list[dict[str, int]]) -> None:
    """What the server writes is English and for logs; the page says it by the code."""
    reference = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"
    codes = set(re.findall(r"^## (\w+)", reference.read_text("utf-8"), re.MULTILINE))
    assert codes
    assert {f"error.{code}" for code in codes} - set(words[0]) == set()


def test_every_choice_has_its_words(words: list[dict[str, int]]) -> None:
    listed = (APP / "settings.js").read_text("utf-8").partition("export const CHOICES = {")[2].partition("\n};")[0]
    for name, values in re.findall(r"(\w+): \[(.+?)\]", listed):
        for value in re.findall(r'"([^"]+)"', values):
            assert f"choice.{name}.{value}" in words[0]


def test_every_key_of_the_table_has_its_words(words: list[dict[str, int]]) -> None:
    keys = re.findall(r'does: "(\w+)"', (APP / "shortcuts.js").read_text("utf-8"))
    assert len(keys) > 15
    assert {f"key.{key}" for key in keys} - set(words[0]) == set()
