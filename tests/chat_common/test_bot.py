"""Bots: which handler is called, in which order, what is read afterwards, and what a second life does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from chat_common.bot import Bot, Context, Handler
from chat_common.client import ChatClient, connect, dev_login
from chat_common.wire import Message

from tests.support.serving import in_process
from tests.support.waiting import until


@asynccontextmanager
async def serving(bot: Bot, url: str) -> AsyncIterator[str]:
    """The bot at work; its user id."""
    login = await dev_login(url, "robot")
    task = asyncio.create_task(bot.run(url, login.token))
    try:
        yield login.user.user
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def ann_at(url: str) -> AsyncIterator[ChatClient]:
    login = await dev_login(url, "ann")
    async with connect(url, login.token, whole=True) as ann:
        yield ann


def said(client: ChatClient, conversation: str, user: str) -> list[str]:
    return [m.body["text"] for m in client.state.room(conversation).timeline() if m.sender == user and m.body]


async def test_commands_come_first_then_what_fits_and_middleware_is_around_all(tmp_path: Path) -> None:
    bot, seen = Bot(), []

    @bot.middleware
    async def outer(context: Context, proceed: Handler) -> None:
        seen.append(f"outer {context.message.seq}")
        await proceed(context)

    @bot.middleware
    async def polite(context: Context, proceed: Handler) -> None:
        seen.append(f"inner {context.message.seq}")
        if "rude" not in context.words:
            await proceed(context)

    @bot.command("add", about="adds numbers")
    async def add(context: Context) -> None:
        await context.reply(str(sum(map(int, context.words))))

    @bot.message(lambda message: "?" in message.body["text"])
    async def question(context: Context) -> None:
        await context.reply("good question")
        await context.reply("really")

    @bot.message()
    async def other(context: Context) -> None:
        await context.react("👍")

    assert bot.help() == "/add: adds numbers"
    with pytest.raises(ValueError, match="already"):
        bot.command("add")(add)
    async with in_process(tmp_path) as (_, url), serving(bot, url) as robot, ann_at(url) as ann:
        room = (await ann.direct(robot)).conversation
        for text in ("/add 1 2", "why?", "/add rude", "/unknown", "fine"):
            await ann.submit(room, text)
        await until(lambda: ann.state.room(room).messages[1].seq == 1 and len(seen) == 10)
        await until(lambda: said(ann, room, robot) == ["3", "good question", "really"])

        def thumbs() -> list[int]:
            return [m.seq for m in ann.state.room(room).timeline() if m.reactions]

        liked = {m.body["text"] for m in ann.state.room(room).timeline() if m.sender != robot} - {"why?"}
        await until(lambda: len(thumbs()) == 2)
        texts = {ann.state.room(room).messages[seq].body["text"] for seq in thumbs()}
        assert texts == {"/unknown", "fine"} <= liked


async def test_what_fails_is_told_and_the_next_message_is_handled(tmp_path: Path) -> None:
    bot, errors = Bot(), []

    @bot.message()
    async def fail(context: Context) -> None:
        if "bad" in context.message.body["text"]:
            raise RuntimeError("boom")
        await context.reply("ok")

    @bot.error
    async def tell(context: Context, error: Exception) -> None:
        errors.append(str(error))
        await context.reply(f"sorry: {error}")

    async with in_process(tmp_path) as (_, url), serving(bot, url) as robot, ann_at(url) as ann:
        room = (await ann.direct(robot)).conversation
        await ann.submit(room, "bad")
        await ann.submit(room, "good")
        await until(lambda: said(ann, room, robot) == ["sorry: boom", "ok"])
        assert errors == ["boom"]


async def test_a_second_life_goes_on_with_what_is_unread_and_says_nothing_twice(tmp_path: Path) -> None:
    handled: list[str] = []
    stuck = asyncio.Event()

    def made(hang: bool) -> Bot:
        bot = Bot()

        @bot.message()
        async def answer(context: Context) -> None:
            text = context.message.body["text"]
            handled.append(text)
            await context.reply(f"heard {text}")
            if hang and text == "two":
                stuck.set()
                await asyncio.Event().wait()

        return bot

    async with in_process(tmp_path) as (_, url), ann_at(url) as ann:
        async with serving(made(True), url) as robot:
            room = (await ann.direct(robot)).conversation
            await ann.submit(room, "one")
            await ann.submit(room, "two")
            await stuck.wait()  # answered, not marked as read
            await ann.submit(room, "three")
            login = await dev_login(url, "robot")
            async with connect(url, login.token) as other:  # the same user speaks: nothing counts as unread any more
                await other.submit(room, "heard nothing")
        await ann.submit(room, "four")
        heard = ["heard one", "heard two", "heard nothing", "heard three", "heard four"]
        async with serving(made(False), url):
            await until(lambda: said(ann, room, robot) == heard)
        assert handled == ["one", "two", "two", "three", "four"]


async def test_a_slow_conversation_keeps_no_other_waiting(tmp_path: Path) -> None:
    bot, release = Bot(), asyncio.Event()

    @bot.message()
    async def answer(context: Context) -> None:
        if context.message.body["text"] == "slow":
            await release.wait()
        await context.reply("done")

    async with in_process(tmp_path) as (_, url), serving(bot, url) as robot, ann_at(url) as ann:
        slow = (await ann.group("slow", [robot])).conversation
        quick = (await ann.group("quick", [robot])).conversation
        for text in ("slow", "behind it"):
            await ann.submit(slow, text)
        await ann.submit(quick, "quick")
        await until(lambda: said(ann, quick, robot) == ["done"])
        assert said(ann, slow, robot) == []
        release.set()
        await until(lambda: said(ann, slow, robot) == ["done", "done"])


def test_words_of_a_command() -> None:
    message = Message(
        conversation="c", seq=1, rev=1, sender="u", ref="r", kind="text", body={"text": "!go  a b"}, time=1
    )
    context = Bot(prefix="!")._context(None, message)  # type: ignore[arg-type]
    assert (context.command, context.words) == ("go", ["a", "b"])
    for text in ("go", "!", "! ", ""):
        message.body = {"text": text}
        assert Bot(prefix="!")._context(None, message).command == ""  # type: ignore[arg-type]
