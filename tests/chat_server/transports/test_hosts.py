"""Names that strangers point at the server are not its own."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from chat_server.transports.hosts import Hosts
from chat_server.transports.origins import Origins

from tests.chat_server.auth.screens import site


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("localhost", True),
        ("my.localhost", True),
        ("127.0.0.1", True),
        ("192.168.1.7", True),
        ("[::1]", True),
        ("::1", True),
        ("chat.example", True),
        ("CHAT.example.", True),
        ("a.team.example", True),
        ("team.example", False),
        ("a.b.team.example", False),
        ("evil.example", False),
        ("chat.example.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
def test_which_names_are_known(name: str, known: bool) -> None:
    assert Hosts(["*.team.example"], "https://chat.example/app").knows(name) is known


def test_a_star_knows_all() -> None:
    assert Hosts(["*"]).knows("evil.example")


def test_a_rebound_name_is_refused_and_the_answer_says_what_to_set() -> None:
    origins = Origins(public_url="https://chat.example", hosts=[])
    assert origins.refusal("http://localhost:8080", "localhost:8080") is None
    assert origins.refusal("https://chat.example", "127.0.0.1:8080") is None
    refused = origins.refusal("http://evil.example:8080", "evil.example:8080")
    assert refused is not None
    assert "[server] hosts" in refused
    assert Origins(hosts=["evil.example"]).refusal("http://evil.example:8080", "evil.example:8080") is None


async def test_a_page_under_a_rebound_name_logs_in_as_nobody(tmp_path: Path) -> None:
    async with site(tmp_path) as here, httpx2.AsyncClient(base_url=here.url) as client:
        evil = {"host": "evil.example:8080", "origin": "http://evil.example:8080"}
        answer = await client.post("/api/auth.dev", json={"name": "ada"}, headers=evil)
        assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")
        good = {"host": "localhost:8080", "origin": "http://localhost:8080"}
        assert (await client.post("/api/auth.dev", json={"name": "ada"}, headers=good)).status_code == 200
