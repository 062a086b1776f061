"""The index of messages: a table of which message is which document, and their words in the engine's own full text
index: FTS5 of SQLite, a ``tsvector`` of PostgreSQL. Both get the same words, made by `words`.

Beside its words a document has marks: its conversation, its sender, its kind and whether it holds a link. They are
words that no text can contain, so that a search over some conversations is one look-up in the index.

The number of a document begins with the time of its message: the newest are the largest, whatever was indexed first.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from attrs import frozen
from sqlalchemy import Connection, bindparam, delete, select, text
from sqlalchemy.exc import DBAPIError

from chat_server.im.search.words import Phrase
from chat_server.store.schema import search
from chat_server.store.statements import CompiledStatement, any_number, any_place, listed

_SLOT = 20
"""Bits of a document's number below its time."""
_ERASE = "search_erase"
"""The row of ``chat_meta`` that is there as long as something is to be erased."""
_PAGES = 64
"""Pages of FTS5 that are written in one portion of that, about."""


@frozen
class Document:
    """A message as the index keeps it. ``words``: as `words.indexed`; ``marks``: as `mark`."""

    conversation: str
    seq: int
    time: int
    marks: Sequence[str]
    words: Sequence[str]


@frozen(kw_only=True)
class Wanted:
    """Documents with all of these phrases and, of each set of ``marks``, one; said at or after ``since``, before
    ``until`` (ms), and numbered below ``before``."""

    phrases: Sequence[Phrase]
    marks: Sequence[Sequence[str]]
    since: int | None = None
    until: int | None = None
    before: int | None = None

    @property
    def low(self) -> int:
        return 0 if self.since is None else self.since << _SLOT

    @property
    def high(self) -> int:
        """Below this."""
        ends = [end for end in (self.before, None if self.until is None else self.until << _SLOT) if end is not None]
        return min(ends, default=2**62)


@frozen
class Found:
    document: int
    conversation: str
    seq: int


class TooLong(Exception):
    """A search has taken longer than it may."""


def mark(kind: str, value: str) -> str:
    """The mark of a document: ``kind`` is one letter."""
    return f"@{kind}{value}"


class Words(Protocol):
    """What an engine keeps of documents. The numbers of documents are the table's business, see `Index`."""

    def ready(self, connection: Connection) -> bool:
        """Whether this database can keep words at all."""
        ...

    def write(self, connection: Connection, rows: Sequence[tuple[int, Document]], known: set[int]) -> None:
        """Keep the words of these documents in place of what was kept before; ``known``: those that may have some."""
        ...

    def drop(self, connection: Connection, documents: Sequence[int]) -> None: ...

    def erase(self, connection: Connection) -> bool:
        """Take a portion of what was dropped out of the files as well; whether there is more to do."""
        ...

    def find(self, connection: Connection, wanted: Wanted, limit: int) -> list[Found]:
        """The newest ``limit`` of the documents wanted, newest first."""
        ...

    def limited(self, connection: Connection, seconds: float, work: Callable[[], Any]) -> Any:
        """The result of ``work``, which asks this connection alone; `TooLong` when that takes longer."""
        ...


class SqliteWords:
    """FTS5. The tokenizer only cuts at spaces: the words are made before."""

    def ready(self, connection: Connection) -> bool:
        return bool(connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'chat_search_words'").all())

    def write(self, connection: Connection, rows: Sequence[tuple[int, Document]], known: set[int]) -> None:
        fresh: list[tuple[int, str]] = []
        for number, document in rows:
            line = " ".join([*document.marks, *document.words])
            if number in known:
                old = connection.exec_driver_sql("SELECT words FROM chat_search_words WHERE rowid = ?", (number,)).all()
                if old and old[0][0] == line:
                    continue  # a reaction, a read: nothing that is found
                self.drop(connection, [number])
            fresh.append((number, line))
        if fresh:
            connection.exec_driver_sql("INSERT INTO chat_search_words (rowid, words) VALUES (?, ?)", fresh)

    def drop(self, connection: Connection, documents: Sequence[int]) -> None:
        if documents:
            rows = [(number,) for number in documents]
            connection.exec_driver_sql("DELETE FROM chat_search_words WHERE rowid = ?", rows)
            connection.exec_driver_sql("INSERT OR IGNORE INTO chat_meta (key, value) VALUES (?, '')", (_ERASE,))

    def erase(self, connection: Connection) -> bool:
        """FTS5 only notes that a document is gone: its words stay in the file until they are merged with that note. (An
        option that deletes at once is newer than the SQLite of many systems.)"""
        if not connection.exec_driver_sql("SELECT 1 FROM chat_meta WHERE key = ?", (_ERASE,)).all():
            return False
        count = "SELECT total_changes()"
        before = connection.exec_driver_sql(count).scalar_one()
        connection.exec_driver_sql(
            f"INSERT INTO chat_search_words (chat_search_words, rank) VALUES ('merge', -{_PAGES})"
        )
        if connection.exec_driver_sql(count).scalar_one() - before >= 2:
            return True
        connection.exec_driver_sql("DELETE FROM chat_meta WHERE key = ?", (_ERASE,))
        return False

    def find(self, connection: Connection, wanted: Wanted, limit: int) -> list[Found]:
        parts = [" OR ".join(f'"{one}"' for one in some) for some in wanted.marks]
        parts += [f'"{" ".join(phrase.words)}"{" *" if phrase.prefix else ""}' for phrase in wanted.phrases]
        rows = connection.exec_driver_sql(
            "SELECT words.rowid, place.conversation, place.seq FROM chat_search_words words "
            "JOIN chat_search place ON place.document = words.rowid "
            "WHERE words.chat_search_words MATCH ? AND words.rowid >= ? AND words.rowid < ? "
            "ORDER BY words.rowid DESC LIMIT ?",
            (" AND ".join(f"({part})" for part in parts), wanted.low, wanted.high, limit),
        )
        return [Found(*row) for row in rows]

    def limited(self, connection: Connection, seconds: float, work: Callable[[], Any]) -> Any:
        raw: Any = connection.connection.dbapi_connection
        end = time.monotonic() + seconds
        raw.set_progress_handler(lambda: time.monotonic() > end, 20_000)
        try:
            return work()
        except DBAPIError as error:
            if "interrupt" in str(error.orig):
                raise TooLong from None
            raise
        finally:
            raw.set_progress_handler(None, 0)


class PostgresWords:
    """A column of ``tsvector`` under a GIN index, made from the words and their places as they are: no configuration of
    PostgreSQL's own cuts or stems anything."""

    def ready(self, connection: Connection) -> bool:
        return True

    def write(self, connection: Connection, rows: Sequence[tuple[int, Document]], known: set[int]) -> None:
        connection.execute(_WRITE_VECTORS, [{"document": number, "words": _vector(it)} for number, it in rows])

    def drop(self, connection: Connection, documents: Sequence[int]) -> None:
        if documents:
            connection.execute(_DROP_VECTORS, [{"document": number} for number in documents])

    def erase(self, connection: Connection) -> bool:
        return False  # that is the business of PostgreSQL's vacuum, here as in all tables

    def find(self, connection: Connection, wanted: Wanted, limit: int) -> list[Found]:
        parts = ["(" + " | ".join(f"'{one}'" for one in some) + ")" for some in wanted.marks]
        for phrase in wanted.phrases:
            quoted = [f"'{word}'" for word in phrase.words]
            parts.append("(" + " <-> ".join(quoted) + (":*" if phrase.prefix else "") + ")")
        values = {"query": " & ".join(parts), "low": wanted.low, "high": wanted.high, "most": limit}
        return [Found(*row) for row in connection.execute(_FIND_VECTORS, values)]

    def limited(self, connection: Connection, seconds: float, work: Callable[[], Any]) -> Any:
        connection.execute(text(f"SET LOCAL statement_timeout = {round(seconds * 1000)}"))
        try:
            return work()
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == "57014":
                raise TooLong from None
            raise


def _vector(document: Document) -> str:
    """As PostgreSQL reads a ``tsvector``: marks have no place, words theirs (it knows 16,383 of them, and a text of
    8,192 code points has no more words than those)."""
    marks = [f"'{one}'" for one in document.marks]
    return " ".join([*marks, *(f"'{word}':{at}" for at, word in enumerate(document.words, 1))])


_WRITE_VECTORS = text(
    "INSERT INTO chat_search_words (document, words) VALUES (:document, CAST(CAST(:words AS text) AS tsvector)) "
    "ON CONFLICT (document) DO UPDATE SET words = excluded.words "
    "WHERE chat_search_words.words IS DISTINCT FROM excluded.words"
)
_DROP_VECTORS = text("DELETE FROM chat_search_words WHERE document = :document")
_FIND_VECTORS = text(
    "SELECT words.document, place.conversation, place.seq FROM chat_search_words words "
    "JOIN chat_search place ON place.document = words.document "
    "WHERE words.words @@ CAST(CAST(:query AS text) AS tsquery) "
    "AND words.document >= :low AND words.document < :high ORDER BY words.document DESC LIMIT :most"
)

_WORDS: dict[str, Words] = {"sqlite": SqliteWords(), "postgresql": PostgresWords()}
_NUMBERS = CompiledStatement(
    select(search.c.document, search.c.seq).where(
        search.c.conversation == bindparam("name"), search.c.seq.between(bindparam("first"), bindparam("last"))
    ),
    "name",
    "first",
    "last",
)
_PLACES = CompiledStatement(select(search).where(any_place(search.c.conversation, search.c.seq, "places")), "places")
_TAKEN = CompiledStatement(select(search.c.document).where(any_number(search.c.document, "numbers")), "numbers")
_OWNER = CompiledStatement(select(search.c.seq).where(search.c.document == bindparam("number")), "number")
_ADD = CompiledStatement(search.insert(), "conversation", "seq", "document")


def words_of(connection: Connection) -> Words:
    """What this connection's engine keeps."""
    return _WORDS[connection.dialect.name]


def put(connection: Connection, documents: Iterable[Document]) -> None:
    """Index these messages as they are now, in place of what was indexed of them. They exist, and have words or marks
    to be found by. Repeated, it does no harm."""
    given = {(document.conversation, document.seq): document for document in documents}
    if not given:
        return
    before = {(row.conversation, row.seq): row.document for row in _PLACES.all(connection, listed(sorted(given)))}
    fresh = {place: _first_number(document) for place, document in given.items() if place not in before}
    taken = {row.document for row in _TAKEN.all(connection, listed(fresh.values()))}
    for place, number in fresh.items():
        while number in taken or (number != _first_number(given[place]) and _OWNER.all(connection, number)):
            number += 1  # where two conversations meet in one millisecond, the next one that is free
        taken.add(number)
        fresh[place] = number
    _ADD.many(connection, [(*place, number) for place, number in fresh.items()])
    rows = [(before.get(place) or fresh[place], document) for place, document in given.items()]
    words_of(connection).write(connection, rows, set(before.values()))


def _first_number(document: Document) -> int:
    """Of one millisecond and conversation the later message has the larger number, as a rule."""
    slot = zlib.crc32(document.conversation.encode()) + document.seq
    return (document.time << _SLOT) | (slot & ((1 << _SLOT) - 1))


def forget(connection: Connection, conversation: str, first: int, last: int) -> None:
    """Drop all that is indexed of the messages ``first`` to ``last`` of a conversation. **Whoever deletes a message, or
    what it says, calls this in the same transaction**; where nothing is indexed it costs one look-up."""
    numbers = [row.document for row in _NUMBERS.all(connection, conversation, first, last)]
    if numbers:
        words_of(connection).drop(connection, numbers)
        here = search.c.conversation == conversation, search.c.seq.between(first, last)
        connection.execute(delete(search).where(*here))


def find(connection: Connection, wanted: Wanted, limit: int) -> list[Found]:
    """The newest ``limit`` documents wanted, newest first. What it gives is a candidate: the message may have changed
    since, and nobody has asked yet who may see it."""
    return words_of(connection).find(connection, wanted, limit)
