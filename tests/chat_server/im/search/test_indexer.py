"""The indexer in a whole server: what was said before there was an index, and what is said from then on."""

from __future__ import annotations

from pathlib import Path

import pytest
from chat_common.client import connect, dev_login
from chat_common.errors import Unavailable

from tests.support.serving import in_process
from tests.support.waiting import until


async def test_a_store_from_before_is_indexed_by_itself_and_so_is_what_is_said_then(tmp_path: Path) -> None:
    async with in_process(tmp_path, settings={"search": {"enabled": False}}) as (_, url):
        login = await dev_login(url, "ann")
        async with connect(url, login.token) as ann:
            chat = (await ann.group("g", [])).conversation
            await ann.submit(chat, "the first blue door")
            with pytest.raises(Unavailable):
                await ann.search_messages("blue")
    quick = in_process(tmp_path, settings={"search": {"every": 0.02}})
    async with quick as (_, url), connect(url, (await dev_login(url, "ann")).token) as ann:

        async def found(count: int) -> bool:
            return len((await ann.search_messages("blue", conversation=chat)).hits) == count

        await until(lambda: found(1))
        await ann.submit(chat, "a second blue door")
        await until(lambda: found(2))
        page = await ann.search_messages("blue", limit=1)
        assert [(hit.text, hit.marks, hit.message.seq) for hit in page.hits] == [("a second blue door", [(9, 13)], 2)]
        (last,) = (await ann.search_messages("blue", limit=1, cursor=page.cursor)).hits
        assert last.message.body == {"text": "the first blue door"}
