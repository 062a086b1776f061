"""The client's modules under Node, as they are: no browser, no build step."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTS = sorted(path.name for path in HERE.glob("*.test.js"))


@pytest.mark.parametrize("name", TESTS)
def test_chat_client(name: str) -> None:
    node = shutil.which("node")
    if node is None:
        assert "CI" not in os.environ, "CI has Node"
        pytest.skip("needs Node 20 or later")
    done = subprocess.run([node, "--test", name], cwd=HERE, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-8000:]
    assert "\n# pass 0\n" not in done.stdout


def test_there_are_tests() -> None:
    assert {
        "session.test.js",
        "queue.test.js",
        "replica.test.js",
        "client.test.js",
        "converges.test.js",
        "defects.test.js",
    } <= set(TESTS)
