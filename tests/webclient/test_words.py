"""Both languages say everything."""

import re
from pathlib import Path

import chat_server

WORDS = Path(chat_server.__file__).parent / "webclient" / "app" / "words.js"
KEY = re.compile(r'^  (?:"([^"]+)"|(\w+)):', re.MULTILINE)


def keys(language: str) -> list[str]:
    block = WORDS.read_text("utf-8").partition(f"const {language} = {{")[2].partition("\n};")[0]
    return [quoted or plain for quoted, plain in KEY.findall(block)]


def test_both_languages_have_the_same_words() -> None:
    assert len(keys("EN")) > 100
    assert keys("ZH") == keys("EN")


def test_every_word_that_is_asked_for_is_there() -> None:
    asked = {
        key
        for page in WORDS.parent.glob("*.js")
        for key in re.findall(r'(?<![\w.])t\("([^"]+)"', page.read_text("utf-8"))
    }
    assert len(asked) > 80
    assert asked - set(keys("EN")) == set()
