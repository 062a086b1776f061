"""The webhook before, against a real HTTP server that checks signatures: yes, no, slow, broken, gone."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from chat_common.clock import SystemClock
from chat_common.errors import NotPermitted, Unavailable
from chat_common.settings import SetupError
from chat_server.moderation.moderation import Moderation
from chat_server.moderation.settings import WebhookSettings, WordSettings
from chat_server.refusals import Refusals

from tests.chat_server.house import House, fresh_sqlite, opened
from tests.chat_server.moderation.receiver import OTHER, SECRET, Receiver, never, receiving, says, status

Asked = tuple[House, Receiver, Refusals]


@contextlib.asynccontextmanager
async def asking(
    template: Path,
    folder: Path,
    receiver: Receiver | None = None,
    *,
    on_failure: Literal["open", "closed"] = "closed",
    secret: str = SECRET,
    url: str | None = None,
    timeout: float = 30.0,
) -> AsyncIterator[Asked]:
    async with receiving(receiver) as made:
        settings = WebhookSettings(before=url or made.url, secret=secret, on_failure=on_failure, timeout=timeout)
        refusals = Refusals()
        moderation = Moderation(WordSettings(), settings, SystemClock(), refusals)
        try:
            with fresh_sqlite(template, folder / "data") as store:
                interceptors = [owned.record for owned in moderation.interceptors()]
                async with opened(store, interceptors=interceptors) as house:
                    yield house, made, refusals
        finally:
            await moderation.close()


def closed_port() -> str:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{made.getsockname()[1]}/hook"


async def test_it_is_asked_of_all_that_is_said_and_its_no_is_a_sentence(sqlite_template: Path, tmp_path: Path) -> None:
    receiver = Receiver()

    async def answer(body: dict[str, Any]) -> Any:
        no = "bad" in str(body["body"])
        return await says(b'{"allow": false, "message": "Not in this house."}' if no else b'{"allow": true}')(body)

    receiver.answer = answer
    async with asking(sqlite_template, tmp_path, receiver) as (house, _, refusals):
        ada = await house.user("ada")
        room = await house.group(ada)
        await house.say(ada, room, "fine")
        assert [body["target"] for _, body in receiver.attempts] == ["group.name", "submit"]
        _, asked = receiver.attempts[1]
        assert (asked["type"], asked["user"], asked["conversation"], asked["kind"]) == ("submit", ada, room, "text")
        assert asked["body"] == {"text": "fine"}
        for command, params in (
            ("submit", {"kind": "text", "body": {"text": "bad"}}),
            ("message.edit", {"seq": 1, "body": {"text": "bad"}}),
            ("group.update", {"announcement": "bad"}),
        ):
            with pytest.raises(NotPermitted, match="Not in this house"):
                await house.call(ada, command, conversation=room, **params)
        (said,) = (await house.call(ada, "history", conversation=room))["messages"]
        assert said["body"] == {"text": "fine"}
        assert len({name for name, _ in receiver.attempts}) == len(receiver.attempts)
        assert receiver.forged == 0
        assert refusals.counts == {"webhook": 3}


async def test_an_answer_without_a_body_is_a_yes(sqlite_template: Path, tmp_path: Path) -> None:
    async with asking(sqlite_template, tmp_path, Receiver(answer=status(204))) as (house, receiver, _):
        ada = await house.user("ada")
        await house.say(ada, await house.group(ada))
        assert len(receiver.taken) == 2


FAILURES: dict[str, Callable[[dict[str, Any]], Awaitable[Any]]] = {
    "slow": never,
    "500": status(500),
    "rubbish": says(b"<html>"),
    "another shape": says(b'{"ok": true}'),
    "too long a sentence": says(b'{"allow": false, "message": "%s"}' % (b"x" * 301)),
    "endless": says(b" " * 70_000),
    "a redirect to a yes": says(b"", 307, location="/hook"),
}


@pytest.mark.parametrize("failure", [*FAILURES, "closed", "another key"])
async def test_what_fails_keeps_to_the_policy(failure: str, sqlite_template: Path, tmp_path: Path) -> None:
    for on_failure in ("closed", "open"):
        receiver = Receiver()
        at = closed_port() if failure == "closed" else None
        key = OTHER if failure == "another key" else SECRET
        limit = 0.1 if failure == "slow" else 30.0
        folder = tmp_path / on_failure
        async with asking(
            sqlite_template,
            folder,
            receiver,
            on_failure=on_failure,  # type: ignore[arg-type]
            secret=key,
            url=at,
            timeout=limit,
        ) as (house, _, refusals):
            ada = await house.user("ada")
            room = await house.call(ada, "direct.open", user=await house.user("bert"))
            receiver.answer = FAILURES.get(failure)
            if on_failure == "open":
                assert (await house.say(ada, room["conversation"]))["seq"] == 1
            else:
                with pytest.raises(Unavailable, match="cannot be checked") as refused:
                    await house.say(ada, room["conversation"])
                assert refused.value.retry_after == 5.0
                page = await house.call(ada, "history", conversation=room["conversation"])
                assert page["messages"] == []
            assert refusals.counts == {"webhook_failed": 1}
            if failure == "another key":
                assert receiver.forged == 1
            elif failure not in ("closed", "slow"):  # within so short a time perhaps nothing went out
                assert len(receiver.attempts) == 1, "a redirect is not followed"


@pytest.mark.parametrize(
    "settings",
    [
        {"before": "ftp://a/hook", "secret": SECRET},
        {"after": "/hook", "secret": SECRET},
        {"before": "http://user:password@host/", "secret": SECRET},
        {"before": "http://host/"},
        {"secret": SECRET},
    ],
)
def test_settings_that_lead_nowhere_stop_the_start(settings: dict[str, str]) -> None:
    with pytest.raises(SetupError, match=r"\[webhooks\]"):
        Moderation(WordSettings(), WebhookSettings(**settings), SystemClock(), Refusals())  # type: ignore[arg-type]
