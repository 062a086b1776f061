"""``message.search``: messages by their words, their sender, their kind and their time, newest first.

The index gives candidates; what is answered is decided here, message by message: it lies within the caller's intervals
(`chat_server.store.rights`), it is shown as `history` shows it, and in what is shown the words stand. So whatever the
index holds of a message that was recalled, edited, deleted or said while the caller was away, nobody finds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from attrs import define, field
from chat_common import wire
from chat_common.errors import Invalid, Unavailable
from chat_common.ports.database import Database
from chat_common.records import Caller
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Connection, bindparam, select

from chat_server.im.kinds import Kinds
from chat_server.im.search import index, words
from chat_server.im.search.links import has_link
from chat_server.im.search.settings import SearchSettings
from chat_server.store import pages, rights, views
from chat_server.store.executor import caller_user
from chat_server.store.rights import Standing
from chat_server.store.schema import message
from chat_server.store.statements import CompiledStatement

PAGE = 20
ROOMS = 200
"""So many conversations are named to the index; somebody who is in more is asked about candidate by candidate."""
CANDIDATES = 100
"""Documents asked of the index at a time."""
LOOKED_AT = 2_000
"""Documents looked at for one page; where fewer than a page fit among them, the page ends early, with a cursor."""
PHRASES = 10

Kind = Annotated[str, Meta(pattern="^[a-z][a-z0-9_.-]{0,39}$")]


@define(kw_only=True)
class SearchMessages:
    """``query``: words, each the beginning of one, or any part of a text in Chinese, Japanese or Korean; all of them
    must stand in the message. Accents and case make no difference. Absent: everything of the other conditions, of which
    there must be one. ``conversation``: absent, all that the caller is or was in. ``since``, ``until``: ms since 1970,
    the second exclusive. ``links``: only texts with a link in them."""

    query: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"\S")] | None = None
    conversation: wire.Id | None = None
    sender: wire.Id | None = None
    kinds: Annotated[list[Kind], Meta(min_length=1, max_length=10)] | None = None
    links: bool = False
    since: wire.Count | None = None
    until: wire.Count | None = None
    cursor: pages.Cursor | None = None
    limit: pages.Limit | None = None


@define(kw_only=True)
class Hit:
    """``text``: one line of what the message says, around the first place that fits; ``marks``: where in it the words
    stand, as [from, to) in code points."""

    message: wire.Message
    text: str
    marks: list[tuple[int, int]]


@define(kw_only=True)
class Hits:
    """Newest first. ``cursor``: there may be more, even where this page is empty."""

    hits: list[Hit]
    cursor: str | UnsetType = UNSET


class Search:
    """Answers the command; at most so many at once as the settings say, so that other reads have their turn."""

    def __init__(self, database: Database, kinds: Kinds, settings: SearchSettings) -> None:
        self._database = database
        self._kinds = kinds
        self._settings = settings
        self._turns = asyncio.Semaphore(settings.at_once)

    async def search(self, caller: Caller, request: SearchMessages) -> Hits:
        """`NotFound` for a conversation that the caller was never in; `Invalid` for a query without a word, and for one
        that takes longer than the server lets it; `Unavailable` where nothing is indexed."""
        me = caller_user(caller)
        if not self._settings.enabled:
            raise Unavailable(_OFF)
        asked = words.phrases(request.query) if request.query is not None else []
        if request.query is not None and not asked:
            raise Invalid("query: Give at least one letter, digit or character.", field="query")
        if len(asked) > PHRASES:
            raise Invalid(f"query: Give at most {PHRASES} words.", field="query", limit=PHRASES)
        if not asked and not (request.conversation or request.sender or request.kinds or request.links):
            raise Invalid("query: Say what to look for.", field="query")
        before = None if request.cursor is None else pages.read_cursor("message.search", request.cursor, tuple[int])[0]
        seconds = self._settings.seconds

        def page(connection: Connection) -> Hits:
            engine = index.words_of(connection)
            if not engine.ready(connection):
                raise Unavailable(_OFF)
            try:
                found: Hits = engine.limited(
                    connection, seconds, lambda: self._page(connection, me, request, asked, before)
                )
            except index.TooLong:
                raise Invalid(
                    f"query: This takes longer than {seconds:g} seconds. Add a word, or name a conversation.",
                    field="query",
                ) from None
            return found

        async with self._turns:
            return await self._database.read(page)

    def _page(
        self,
        connection: Connection,
        me: str,
        request: SearchMessages,
        asked: Sequence[words.Phrase],
        before: int | None,
    ) -> Hits:
        look = _Look(connection, me, request, asked, self._kinds)
        if request.conversation is not None:
            look.standings[request.conversation] = rights.standing(connection, me, request.conversation, active=False)
            rooms = [request.conversation]
        else:
            rooms = rights.conversations_of(connection, me, ROOMS + 1)
            if not rooms:
                return Hits(hits=[])
        limit, looked_at, size = request.limit or PAGE, 0, 0
        hits: list[Hit] = []
        while looked_at < LOOKED_AT:
            wanted = index.Wanted(
                phrases=asked, marks=_marks(request, rooms), since=request.since, until=request.until, before=before
            )
            found = index.find(connection, wanted, CANDIDATES)
            look.know(found)
            for one in found:
                before = one.document
                hit = look.hit(one)
                if hit is None:
                    continue
                hits.append(hit)
                size += pages.body_bytes(hit.message.body)
                if len(hits) == limit or size > pages.MOST_BYTES:
                    return Hits(hits=hits, cursor=pages.write_cursor("message.search", before))
            if len(found) < CANDIDATES:
                return Hits(hits=hits)
            looked_at += len(found)
        return Hits(hits=hits, cursor=pages.write_cursor("message.search", before))


_OFF = "This server has no search of messages."


def _marks(request: SearchMessages, rooms: Sequence[str]) -> list[list[str]]:
    sets = []
    if len(rooms) <= ROOMS:
        sets.append([index.mark("p", name) for name in rooms])
    if request.sender is not None:
        sets.append([index.mark("u", request.sender)])
    if request.kinds:
        sets.append([index.mark("k", kind) for kind in request.kinds])
    if request.links:
        sets.append([index.mark("h", "link")])
    return sets


@define
class _Look:
    """Which candidates the caller may see, and what of them fits."""

    connection: Connection
    me: str
    request: SearchMessages
    asked: Sequence[words.Phrase]
    kinds: Kinds
    standings: dict[str, Standing | None] = field(factory=dict)

    def know(self, found: Sequence[index.Found]) -> None:
        """Where the caller stands in the conversations of these candidates, asked once each."""
        new = {one.conversation for one in found} - self.standings.keys()
        if new:
            self.standings.update(dict.fromkeys(new))
            self.standings.update(rights.standings(self.connection, self.me, new))

    def hit(self, one: index.Found) -> Hit | None:
        here = self.standings.get(one.conversation)
        if here is None or not rights.sees(here, one.seq):
            return None
        rows = _MESSAGE.all(self.connection, one.conversation, one.seq)
        if not rows or rows[0].recalled is not None or not self._wanted(rows[0]):
            return None
        preview = self.kinds.preview
        (record,) = views.message_records(self.connection, rows, preview, end_rev=rights.end_rev(here))
        said = self.kinds.searchable(record.kind, record.body) or ""
        marked = words.places(self.asked, said) if self.asked else []
        if marked is None or (self.request.links and not has_link(said)):
            return None
        line, marks = words.snippet(said, marked)
        return Hit(message=record, text=line, marks=marks)

    def _wanted(self, row: Any) -> bool:
        request = self.request
        return (
            row.kind != "system"
            and request.sender in (None, row.sender)
            and (not request.kinds or row.kind in request.kinds)
            and (request.since is None or row.time >= request.since)
            and (request.until is None or row.time < request.until)
        )


_MESSAGE = CompiledStatement(
    select(message).where(message.c.conversation == bindparam("name"), message.c.seq == bindparam("number")),
    "name",
    "number",
)
