"""What this server knows of one person, and what that person may read here, as one zip.

It is read from the live store in portions, each a transaction of its own, while others work: what is said or deleted
meanwhile may be in it or not. Nobody holds more of it than a portion, and nothing of it is kept on the server.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import msgspec
from attrs import define, field, frozen
from chat_common.clock import Clock
from chat_common.errors import NotFound
from chat_common.ports.database import Database
from chat_common.ports.files import Files, OwnFile
from sqlalchemy import Connection, select

from chat_server.admin.archive import Entry, safe_name
from chat_server.store import pages, rights, views
from chat_server.store.account_schema import identity, login, report
from chat_server.store.push_addresses import of as addresses_of
from chat_server.store.schema import contact, item, member, message, reaction, user
from chat_server.store.tx import require_users

T = TypeVar("T")
PORTION = 200
"""Rows of one portion."""


@define
class Counted:
    """How much an archive came to hold so far. ``missing``: files whose content the object store does not have."""

    conversations: int = 0
    messages: int = 0
    files: int = 0
    missing: list[str] = field(factory=list)


@frozen
class Gatherer:
    """Reads one person's data. ``files`` is None where no package keeps any."""

    database: Database
    clock: Clock
    preview: views.Previewed
    files: Files | None
    who: str
    counted: Counted = field(factory=Counted)
    people: set[str] = field(factory=set)
    """Whoever occurs: ids alone, of which there are some thousands at most."""

    async def begin(self) -> str:
        """What the archive is called; `NotFound` where there is no such account."""
        row = await self.database.read(self._profile)
        return str(row.handle or row.user)

    def _profile(self, connection: Connection) -> Any:
        require_users(connection, [self.who])
        return connection.execute(select(user).where(user.c.user == self.who)).one()

    async def entries(self) -> AsyncGenerator[Entry]:
        """All files of the archive."""
        yield Entry("account.json", self._account())
        yield Entry("contacts.json", _listed(self._contacts()))
        yield Entry("items.json", _listed(self._items()))
        yield Entry("reports.json", _listed(self._reports()))
        yield Entry("conversations.json", _listed(self._conversations()))
        async for name in self._memberships():
            self.counted.conversations += 1
            yield Entry(f"messages/{name}.json", _listed(self._messages(name)))
        async for each in self._own_files():
            yield Entry(_path(each), self._content(each), packed=True)
        yield Entry("files.json", _listed(self._file_facts()))
        yield Entry("people.json", _listed(self._people()))

    # --- the account --------------------------------------------------------------------------------------------------

    async def _account(self) -> AsyncGenerator[bytes]:
        def read(connection: Connection) -> dict[str, Any]:
            row = self._profile(connection)
            logins = connection.execute(select(login).where(login.c.user == self.who).order_by(login.c.created_at))
            ways = connection.execute(
                select(identity.c.provider, identity.c.subject).where(identity.c.user == self.who)
            ).all()
            return {
                "exported_at": self.clock.wall_ms(),
                "user": views.user_record(row),
                "created_at": row.created_at,
                "role": row.role,
                "ways_to_log_in": [{"provider": way.provider, "subject": way.subject} for way in ways],
                "logins": [_without_nulls(each, leave_out=("user",)) for each in logins],
                "told_by_push": [
                    {"login": each.login, "provider": each.provider, "subscribed_at": each.subscribed_at}
                    for each in addresses_of(connection, self.who, self.clock.wall_ms())
                ],
            }

        yield _json(await self.database.read(read))

    async def _contacts(self) -> AsyncGenerator[Sequence[Any]]:
        mine = select(contact).where(contact.c.user == self.who).order_by(contact.c.other).limit(PORTION)
        async for rows in self._pages(
            lambda connection, after: connection.execute(mine.where(contact.c.other > after)).all(),
            lambda row: row.other,
        ):
            page = rows
            yield await self.database.read(lambda connection: views.contact_records(connection, page))  # noqa: B023

    async def _items(self) -> AsyncGenerator[Sequence[Any]]:
        mine = select(item).where(item.c.user == self.who).order_by(item.c.key).limit(PORTION)
        async for rows in self._pages(
            lambda connection, after: connection.execute(mine.where(item.c.key > after)).all(), lambda row: row.key
        ):
            yield [views.item_record(row) for row in rows]

    async def _reports(self) -> AsyncGenerator[Sequence[Any]]:
        mine = select(report).where(report.c.reporter == self.who).order_by(report.c.report).limit(PORTION)
        async for rows in self._pages(
            lambda connection, after: connection.execute(mine.where(report.c.report > after)).all(),
            lambda row: row.report,
        ):
            # Who has worked it off, and what admins noted about it, is theirs.
            yield [_without_nulls(row, leave_out=("reporter", "closed_by", "note")) for row in rows]

    # --- conversations ------------------------------------------------------------------------------------------------

    async def _memberships(self) -> AsyncGenerator[str]:
        shown = member.c.user == self.who, member.c.rev > 0
        mine = select(member.c.conversation).where(*shown).order_by(member.c.conversation).limit(PORTION)
        async for rows in self._pages(
            lambda connection, after: connection.execute(mine.where(member.c.conversation > after)).all(),
            lambda row: row.conversation,
        ):
            for row in rows:
                yield row.conversation

    async def _conversations(self) -> AsyncGenerator[Sequence[Any]]:
        mine = views.inbox_query().where(member.c.user == self.who).order_by(member.c.conversation).limit(PORTION)

        def read(connection: Connection, after: str) -> Sequence[Any]:
            rows = connection.execute(mine.where(member.c.conversation > after)).all()
            return views.inbox_records(connection, rows, self.preview)

        async for records in self._pages(read, lambda record: record.conversation):
            self.people.update(record.peer.user for record in records if record.kind == "direct")
            yield records

    async def _messages(self, name: str) -> AsyncGenerator[Sequence[Any]]:
        after = 0
        while True:
            page = await self.database.read(lambda connection: self._message_page(connection, name, after))  # noqa: B023
            if not page:
                return
            after = page[-1]["seq"]
            self.counted.messages += len(page)
            self.people.update(each["sender"] for each in page)
            yield page

    def _message_page(self, connection: Connection, name: str, after: int) -> list[dict[str, Any]]:
        try:
            here = rights.standing(connection, self.who, name, active=False)
        except NotFound:  # it has gone meanwhile
            return []
        rows: list[Any] = []
        for span in here.spans:
            low = max(span[0], here.room.first_kept, after + 1)
            high = span[1] if len(span) > 1 else here.room.head_seq
            wanted = message.c.conversation == name, message.c.seq.between(low, high)
            if low <= high and len(rows) < PORTION:
                rows += connection.execute(
                    select(message).where(*wanted).order_by(message.c.seq).limit(PORTION - len(rows))
                )
        rows = pages.within_bytes(rows)
        if not rows:
            return []
        own: dict[int, list[str]] = {}
        between = reaction.c.seq.between(rows[0].seq, rows[-1].seq)
        for row in connection.execute(
            select(reaction.c.seq, reaction.c.emoji).where(
                reaction.c.conversation == name, between, reaction.c.user == self.who
            )
        ):
            own.setdefault(row.seq, []).append(row.emoji)
        records = views.message_records(connection, rows, self.preview, end_rev=rights.end_rev(here))
        told = [msgspec.to_builtins(record) for record in records]
        return [each | {"own_reactions": own[each["seq"]]} if each["seq"] in own else each for each in told]

    # --- files --------------------------------------------------------------------------------------------------------

    async def _own_files(self) -> AsyncGenerator[OwnFile]:
        after = ""
        while self.files is not None:
            found = await self.files.own(self.who, after, PORTION)
            for each in found:
                yield each
            if len(found) < PORTION:
                return
            after = found[-1].file

    async def _content(self, each: OwnFile) -> AsyncGenerator[bytes]:
        assert self.files is not None
        try:
            async with self.files.content(self.who, each.file) as chunks:
                async for chunk in chunks:
                    yield chunk
        except NotFound:  # recalled meanwhile, or lost by the store: the rest is worth having all the same
            self.counted.missing.append(each.file)
            return
        self.counted.files += 1

    async def _file_facts(self) -> AsyncGenerator[Sequence[Any]]:
        async for each in self._own_files():
            facts = msgspec.to_builtins(each) | {"path": _path(each)}
            yield [facts | {"missing": True} if each.file in self.counted.missing else facts]

    # --- who all these are --------------------------------------------------------------------------------------------

    async def _people(self) -> AsyncGenerator[Sequence[Any]]:
        known = sorted(self.people)
        for start in range(0, len(known), PORTION):
            ids = known[start : start + PORTION]
            found = await self.database.read(lambda connection: views.users_by_id(connection, ids))  # noqa: B023
            yield list(found.values())

    async def _pages(
        self, read: Callable[[Connection, str], Sequence[T]], place: Callable[[T], str]
    ) -> AsyncGenerator[Sequence[T]]:
        after = ""
        while rows := await self.database.read(lambda connection: read(connection, after)):  # noqa: B023
            yield rows
            after = place(rows[-1])


def _path(each: OwnFile) -> str:
    return f"files/{each.file}/{safe_name(each.name)}"


def _without_nulls(row: Any, leave_out: Sequence[str]) -> dict[str, Any]:
    told: Mapping[str, Any] = row._mapping
    return {name: value for name, value in told.items() if value is not None and name not in leave_out}


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


async def _listed(portions: AsyncGenerator[Sequence[Any]]) -> AsyncGenerator[bytes]:
    """A JSON array, one element a line."""
    before = b"[\n"
    async with aclosing(portions):
        async for portion in portions:
            if written := b",\n".join(msgspec.json.encode(each) for each in portion):
                yield before + written
                before = b",\n"
    yield b"[]\n" if before == b"[\n" else b"\n]\n"
