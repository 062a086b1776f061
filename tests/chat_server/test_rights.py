"""Who may call what: every command with every role, against a foreign, a left and a non-existent conversation.

A command without its row here fails: rights are decided for each of them, not forgotten.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen
from chat_common.errors import ChatError
from chat_common.records import Caller
from chat_server.server import Server

SETTINGS: dict[str, dict[str, Any]] = {
    "auth": {"dev": True},
    "items": {"enabled": True},
    "groups": {"strangers": "allow"},
}
OK = "ok"


@frozen
class Row:
    """``params`` may name ROOM, BEN, ANN, LEA, NOBODY, EPOCH, SEQ (ben's message) and OTHER (ann's).

    ``member``: what ben, a plain member, gets; ``owner``: what ann gets where that differs; ``left``: what lea gets,
    who was in the room; a stranger, and everybody for a room that does not exist, gets ``stranger``.
    """

    params: dict[str, Any] = field(factory=dict)
    member: str = OK
    owner: str = ""
    left: str = "not_a_member"
    stranger: str = "not_found"
    guest: str = "not_authenticated"

    @property
    def about_a_room(self) -> bool:
        return "ROOM" in self.params.values()


IN_ROOM = {"conversation": "ROOM"}
AT_MINE = {**IN_ROOM, "seq": "SEQ"}
OFFICE: dict[str, Any] = {"member": "not_permitted", "owner": OK}

ROWS: dict[str, Row] = {
    # --- the conversation and its messages
    "submit": Row({**IN_ROOM, "kind": "text", "body": {"text": "x"}}),
    "sync": Row({**IN_ROOM, "epoch": "EPOCH", "rev": 0}, left=OK),
    "history": Row(IN_ROOM, left=OK),
    "read": Row(AT_MINE, left=OK),
    "inbox.set": Row({**IN_ROOM, "muted": True}, left=OK),
    "message.edit": Row({**AT_MINE, "body": {"text": "y"}}, owner="not_permitted"),
    "message.recall": Row(AT_MINE, owner="not_permitted"),
    "message.react": Row({**AT_MINE, "emoji": "👍", "on": True}),
    "message.reactions": Row(AT_MINE),
    "message.readers": Row(AT_MINE),
    "message.search": Row({**IN_ROOM, "kinds": ["text"]}, left=OK),
    "message.report": Row({**AT_MINE, "category": "spam"}, member="conflict", owner=OK, left=OK),  # ben's own one
    # --- the group
    "group.get": Row(IN_ROOM),
    "group.members": Row(IN_ROOM),
    "group.invite": Row({**IN_ROOM, "users": ["DAN"]}),
    "group.kick": Row({**IN_ROOM, "users": ["CAT"]}, **OFFICE),
    "group.update": Row({**IN_ROOM, "name": "renamed"}, **OFFICE),
    "group.role": Row({**IN_ROOM, "user": "CAT", "role": "admin"}, **OFFICE),
    "group.mute": Row({**IN_ROOM, "user": "CAT", "until": 2**50}, **OFFICE),
    "group.transfer": Row({**IN_ROOM, "user": "CAT"}, **OFFICE),
    "group.link": Row({**IN_ROOM, "on": True}, **OFFICE),
    "group.dissolve": Row(IN_ROOM, **OFFICE),
    "group.leave": Row(IN_ROOM, owner="conflict"),
    "group.accept": Row(IN_ROOM, left="not_found"),
    "group.reject": Row(IN_ROOM, member="not_found", left="not_found"),
    "upload.begin": Row({**IN_ROOM, "name": "a.txt", "type": "text/plain", "size": 3}),
    # --- what is one's own
    "inbox.list": Row(),
    "user.me": Row(),
    "user.get": Row({"users": ["ANN"]}),
    "user.search": Row({"query": "ann"}),
    "user.rename": Row({"name": "another"}),
    "user.report": Row({"user": "ANN"}),
    "user.avatar": Row({"file": None}),
    "user.export": Row(),
    "user.delete": Row(member="not_permitted"),  # no young login, and no password
    "direct.open": Row({"user": "ANN"}, owner=OK),
    "group.create": Row({"name": "g", "members": ["ANN"]}),
    "group.join": Row({"link": "no-such-link"}, member="not_found"),
    "contact.list": Row(),
    "contact.request": Row({"user": "DAN"}),
    "contact.accept": Row({"user": "DAN"}, member="conflict"),
    "contact.reject": Row({"user": "DAN"}),
    "contact.remove": Row({"user": "DAN"}),
    "contact.block": Row({"user": "DAN", "on": True}),
    "presence.watch": Row({"users": ["ANN"]}, member="invalid"),  # it belongs to a socket, and here is none
    "file.links": Row({"files": ["no-such-file"]}),
    "upload.finish": Row({"file": "no-such-file"}, member="not_found"),
    "upload.parts": Row({"file": "no-such-file", "numbers": [1]}, member="not_found"),
    "upload.cancel": Row({"file": "no-such-file"}, member="not_found"),
    # --- logging in
    "auth.methods": Row(guest=OK),
    "auth.dev": Row({"name": "ann"}, guest=OK),
    "auth.begin": Row({"provider": "qr"}, guest=OK),
    "auth.poll": Row({"ticket": "no-such-ticket"}, guest=OK),
    "auth.password": Row({"name": "nobody", "password": "wrong"}, member="not_authenticated"),
    "auth.register": Row({"name": "x", "password": "short"}, member="invalid", guest="invalid"),
    "auth.password.set": Row({"password": "long enough"}),
    "auth.refresh": Row(member="not_authenticated"),  # these callers have no token
    "auth.logout": Row(),
    "auth.devices": Row(),
    "auth.kick": Row({"all": True}),
    "auth.identities": Row(),
    "auth.link": Row({"provider": "dev", "credentials": {"name": "x"}}, member="not_permitted"),  # no young login
    "auth.unlink": Row({"provider": "dev"}, member="not_permitted"),
    "push.list": Row(),
    "item.list": Row(),
    "badge.list": Row(),
    "badge.wear": Row({"item": None}),
    # --- what admins alone may, whatever they ask for
    "admin.item.grant": Row(member="not_permitted"),
    "admin.item.list": Row(member="not_permitted"),
    "admin.nodes": Row(member="not_permitted"),
    "admin.audit.list": Row(member="not_permitted"),
    "admin.group.list": Row(member="not_permitted"),
    "admin.group.show": Row(member="not_permitted"),
    "admin.group.owner": Row(member="not_permitted"),
    "admin.group.dissolve": Row(member="not_permitted"),
    "admin.group.retention": Row(member="not_permitted"),
    "admin.invite.new": Row(member="not_permitted"),
    "admin.invite.list": Row(member="not_permitted"),
    "admin.invite.revoke": Row(member="not_permitted"),
    "admin.report.list": Row(member="not_permitted"),
    "admin.report.show": Row(member="not_permitted"),
    "admin.report.close": Row(member="not_permitted"),
    "admin.message.recall": Row(member="not_permitted"),
    "admin.user.warn": Row(member="not_permitted"),
    "admin.user.delete": Row(member="not_permitted"),
    "admin.user.export": Row(member="not_permitted"),
    "admin.user.list": Row(member="not_permitted"),
    "admin.user.show": Row(member="not_permitted"),
    "admin.user.add": Row(member="not_permitted"),
    "admin.user.rename": Row(member="not_permitted"),
    "admin.user.password": Row(member="not_permitted"),
    "admin.user.role": Row(member="not_permitted"),
    "admin.user.ban": Row(member="not_permitted"),
    "admin.user.unban": Row(member="not_permitted"),
    "admin.user.logout": Row(member="not_permitted"),
}


class World:
    """One room of ann (owner), ben, cat and lea, who was put out of it; fay and dan were never in."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.names: dict[str, Any] = {"NOBODY": "nobody"}
        self.calls = 0

    async def build(self) -> None:
        for name in ("ann", "ben", "cat", "dan", "fay", "lea"):
            self.names[name.upper()] = (await self.server.ensure_user(name)).user
        members = [self.names[name] for name in ("BEN", "CAT", "LEA")]
        row = await self.do("ANN", "group.create", {"name": "room", "members": members})
        self.names["ROOM"] = row.conversation
        self.names["EPOCH"] = self.server.rooms.epoch
        text = {"kind": "text", "body": {"text": "x"}}
        self.names["SEQ"] = (await self.do("BEN", "submit", {"conversation": "ROOM", **text})).seq
        await self.do("ANN", "group.kick", {"conversation": "ROOM", "users": ["LEA"]})

    async def do(self, who: str | None, command: str, params: dict[str, Any], **names: Any) -> Any:
        self.calls += 1
        user = None if who is None else self.names[who]
        caller = Caller(user, f"ref-{self.calls}", device="d", token="token" if user else None, origin="local")
        return await self.server.pipeline.call(caller, command, self.filled(params, {**self.names, **names}))

    def filled(self, value: Any, names: dict[str, Any]) -> Any:
        if isinstance(value, dict):
            return {key: self.filled(each, names) for key, each in value.items()}
        if isinstance(value, list):
            return [self.filled(each, names) for each in value]
        return names.get(value, value) if isinstance(value, str) else value

    async def answer(self, who: str | None, command: str, row: Row, **names: Any) -> tuple[str, str]:
        """(code, message)"""
        try:
            await self.do(who, command, row.params, **names)
        except ChatError as error:
            return error.code, error.message
        return OK, ""


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        async with Server(settings={**SETTINGS, "server": {"data": str(Path(folder))}}) as server:
            made = World(server)
            await made.build()
            yield made


async def test_every_command_has_its_row() -> None:
    async with world() as here:
        offered = set(here.server.pipeline.commands)
    assert sorted(offered - ROWS.keys()) == [], "decide who may call these, and say so in ROWS"
    assert sorted(ROWS.keys() - offered - OPTIONAL) == [], "these rows are of no command"


OPTIONAL = {"upload.begin", "upload.finish", "upload.parts", "upload.cancel", "file.links"}
"""Commands that come with a backend for files."""


@pytest.mark.parametrize("command", ROWS)
async def test_rights(command: str) -> None:
    row = ROWS[command]
    async with world() as here:
        if command not in here.server.pipeline.commands:
            assert command in OPTIONAL
            return
        if row.about_a_room:
            missing = await here.answer("BEN", command, row, ROOM="there-is-none")
            assert missing[0] == row.stranger
            assert await here.answer("FAY", command, row) == missing
            assert await here.answer("FAY", command, row, ROOM="there-is-none") == missing
            assert (await here.answer("LEA", command, row))[0] == row.left
        assert (await here.answer(None, command, row))[0] == row.guest
        assert (await here.answer(None, command, row, ROOM="there-is-none"))[0] == row.guest
        if row.owner:
            if row.owner != OK:
                assert (await here.answer("ANN", command, row))[0] == row.owner
            assert (await here.answer("BEN", command, row))[0] == row.member
            if row.owner == OK:
                assert (await here.answer("ANN", command, row))[0] == row.owner
        else:
            assert (await here.answer("BEN", command, row))[0] == row.member


@pytest.mark.parametrize(
    ("command", "params"),
    [
        ("message.edit", {"body": {"text": "y"}}),
        ("message.recall", {}),
        ("message.react", {"emoji": "👍", "on": True}),
        ("message.reactions", {}),
        ("message.readers", {}),
    ],
)
async def test_what_was_said_outside_ones_intervals_does_not_exist(command: str, params: dict[str, Any]) -> None:
    async with world() as here:
        text = {"kind": "text", "body": {"text": "behind her back"}}
        unseen = (await here.do("BEN", "submit", {"conversation": "ROOM", **text})).seq
        await here.do("ANN", "group.invite", {"conversation": "ROOM", "users": ["LEA"]})
        row = Row({"conversation": "ROOM", "seq": "UNSEEN", **params})
        hidden = await here.answer("LEA", command, row, UNSEEN=unseen)
        assert hidden[0] == "not_found"
        assert hidden == await here.answer("LEA", command, row, UNSEEN=10_000)


async def test_who_has_left_reads_on_within_the_own_intervals() -> None:
    async with world() as here:
        text = {"kind": "text", "body": {"text": "behind her back"}}
        unseen = (await here.do("BEN", "submit", {"conversation": "ROOM", **text})).seq
        page = await here.do("LEA", "history", {"conversation": "ROOM"})
        assert [message.seq for message in page.messages][-1] < unseen
        synced = await here.do("LEA", "sync", {"conversation": "ROOM", "epoch": "EPOCH", "rev": 0})
        assert max(message.seq for message in synced.messages) < unseen
        (row,) = (await here.do("LEA", "inbox.list", {})).inbox
        assert row.left is True
        assert row.head.seq < unseen
