"""A small server that speaks the client protocol from memory: for trying the web client without the real one.

Run `python tests/webclient/fake_server.py [--port N] [--fill MESSAGES] [--rooms N]`; it serves the page at `/`.
"""

import argparse
import asyncio
import contextlib
import json
import mimetypes
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

PAGE = Path(__file__).parents[2] / "packages/chat-server/src/chat_server/webclient"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self' ws: wss:; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
Json = dict[str, Any]


class Refused(Exception):
    """A command's error answer."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.message = message or code


class Room:
    """One conversation and everything that was ever said there."""

    def __init__(self, id: str, kind: str, name: str = "") -> None:
        self.id, self.kind, self.name = id, kind, name
        self.rev = 0
        self.messages: list[Json] = []
        self.members: dict[str, Json] = {}
        self.read: dict[str, int] = {}
        self.own_last: dict[str, int] = {}
        self.refs: dict[tuple[str, str], Json] = {}

    def stamp(self) -> int:
        self.rev += 1
        return self.rev


class Session:
    """Pushes of one client; survives its sockets."""

    def __init__(self, user: str | None) -> None:
        self.id = secrets.token_hex(16)
        self.user = user
        self.socket: ServerConnection | None = None
        self.sent = 0
        self.acked = 0
        self.unacked: list[Json] = []
        self.watching: set[str] = set()


class Fake:
    """The server's whole state and its commands."""

    def __init__(self, heartbeat: float = 20) -> None:
        self.heartbeat = heartbeat
        self.epoch = secrets.token_hex(4)
        self.users: dict[str, Json] = {}
        self.tokens: dict[str, str] = {}
        self.rooms: dict[str, Room] = {}
        self.versions: dict[str, int] = {}
        self.row_versions: dict[tuple[str, str], int] = {}
        self.sessions: dict[str, Session] = {}
        self.tickets: dict[str, Session] = {}
        self.drop_next_replies = 0

    # ---- users and rooms ----

    def user(self, name: str) -> Json:
        id = "u_" + "".join(c if c.isascii() and c.isalnum() else f"{ord(c):x}" for c in name)[:40]
        return self.users.setdefault(id, {"user": id, "name": name})

    def room(self, id: str, user: str) -> Room:
        room = self.rooms.get(id)
        if not room or user not in room.members:
            raise Refused("not_found", "there is no such conversation")
        return room

    def join(self, room: Room, users: list[str]) -> Json:
        rev = room.stamp()
        rows = []
        for user in users:
            room.members[user] = {
                "conversation": room.id,
                "rev": rev,
                "user": self.users[user],
                "role": "owner" if not room.members else "member",
                "spans": [[len(room.messages) + 1]],
                "joined_at": now(),
            }
            rows.append(room.members[user])
        return {"conversation": room.id, "rev": rev, "members": rows}

    def here(self, room: Room) -> list[str]:
        return [user for user, member in room.members.items() if len(member["spans"][-1]) == 1]

    def bump(self, room: Room) -> None:
        for user in self.here(room):
            self.touch(room, user)

    def touch(self, room: Room, user: str) -> None:
        self.versions[user] = self.versions.get(user, 0) + 1
        self.row_versions[user, room.id] = self.versions[user]

    def inbox(self, room: Room, user: str) -> Json:
        member = room.members[user]
        head = room.messages[-1] if room.messages else None
        first = member["spans"][-1][0]
        read = room.read.get(user, 0)
        floor = max(read, first - 1, room.own_last.get(user, 0))
        mention = [m["seq"] for m in room.messages[floor:] if user in m.get("mentions", ())]
        row = {
            "conversation": room.id,
            "version": self.row_versions.get((user, room.id), 0),
            "kind": room.kind,
            "spans": member["spans"],
            "first_seq": first,
            "head": {"seq": len(room.messages), "rev": room.rev, "time": head["time"] if head else now()},
            "read": read,
            "unread": max(0, len(room.messages) - floor),
            "role": member["role"],
            "order": head["time"] if head else member["joined_at"],
        }
        if head:
            text = head.get("body", {}).get("text", "")
            row["head"]["preview"] = {"sender": head["sender"], "kind": head["kind"], "text": text}
        if mention:
            row["mentioned"] = mention[-1]
        if room.kind == "group":
            row["name"] = room.name
        else:
            row["peer"] = self.users[next((u for u in room.members if u != user), user)]
        if len(member["spans"][-1]) == 2:
            row["left"] = True
        return row

    def say(self, room: Room, sender: str, kind: str, body: Json, ref: str, **extra: Any) -> Json:
        message = {
            "conversation": room.id,
            "seq": len(room.messages) + 1,
            "rev": room.stamp(),
            "sender": sender,
            "ref": ref,
            "kind": kind,
            "body": body,
            "time": now(),
            **extra,
        }
        room.messages.append(message)
        room.own_last[sender] = message["seq"]
        self.bump(room)
        return message

    # ---- pushing ----

    async def push(self, users: list[str], event: str, data: Json) -> None:
        for session in list(self.sessions.values()):
            if session.user in users:
                await self.push_to(session, {"op": "push", "event": event, "data": data})

    async def push_to(self, session: Session, frame: Json) -> None:
        session.sent += 1
        session.unacked.append(frame)
        await self.write(session, frame)

    async def write(self, session: Session, frame: Json) -> None:
        if session.socket:
            with contextlib.suppress(ConnectionClosed):
                await session.socket.send(json.dumps(frame, ensure_ascii=False))

    async def system(self, room: Room, event: str, actor: str, subjects: list[str], **args: Any) -> None:
        body = {"event": event, "actor": actor, "subjects": subjects, "args": args}
        message = self.say(room, actor, "system", body, secrets.token_hex(8))
        await self.push(self.here(room), "message", message)

    # ---- one connection ----

    async def serve(self, socket: ServerConnection) -> None:
        session: Session | None = None
        beating: asyncio.Task[None] | None = None
        try:
            async for text in socket:
                message = json.loads(text)
                for frame in message if isinstance(message, list) else [message]:
                    if frame["op"] == "hello" and session is None:
                        session = await self.hello(socket, frame)
                        if session is None:
                            return
                        beating = asyncio.create_task(self.beat(session, socket))
                    elif session:
                        await self.frame(session, frame)
        except ConnectionClosed:
            pass
        finally:
            if beating:
                beating.cancel()
            if session and session.socket is socket:
                session.socket = None
                await self.presence(session)

    async def hello(self, socket: ServerConnection, frame: Json) -> Session | None:
        user = self.tokens.get(frame["token"]) if "token" in frame else None
        if "token" in frame and user is None:
            bye = {"op": "bye", "code": 4401, "reason": "token invalid", "reconnect": "never"}
            await socket.send(json.dumps(bye))
            await socket.close(4401)
            return None
        resume = frame.get("resume") or {}
        session = self.sessions.get(resume.get("session", ""))
        resumed = session is not None and session.user == user and resume["received"] <= session.sent
        if session is None or not resumed:
            session = Session(user)
            self.sessions[session.id] = session
        old, session.socket = session.socket, socket
        if old:
            await old.close(4009)
        welcome = {
            "op": "welcome",
            "session": session.id,
            "resumed": resumed,
            "device": frame["device"]["id"],
            "epoch": self.epoch,
            "version": self.versions.get(user or "", 0),
            "heartbeat": self.heartbeat,
            "resume_for": 120,
            "window": 256,
            "limits": {"frame_bytes": 65536, "text_chars": 8192, "page": 100, "members_per_call": 200},
            "server_time": now(),
            "node": "fake",
        }
        if user:
            welcome["user"] = self.users[user]
        await socket.send(json.dumps(welcome))
        if resumed:
            replay = session.unacked[len(session.unacked) - (session.sent - resume["received"]) :]
            if replay:
                for at in range(0, len(replay), 100):
                    await socket.send(json.dumps(replay[at : at + 100]))
        await self.presence(session)
        return session

    async def beat(self, session: Session, socket: ServerConnection) -> None:
        while True:
            await asyncio.sleep(self.heartbeat)
            version = self.versions.get(session.user or "", 0)
            await self.write(session, {"op": "beat", "version": version, "server_time": now()})

    async def presence(self, session: Session) -> None:
        if not session.user:
            return
        note = {"op": "note", "event": "presence", "data": {"user": session.user, "online": self.online(session.user)}}
        for other in list(self.sessions.values()):
            if session.user in other.watching:
                await self.write(other, note)

    def online(self, user: str) -> bool:
        return any(one.user == user and one.socket for one in self.sessions.values())

    async def frame(self, session: Session, frame: Json) -> None:
        op = frame["op"]
        if op == "ack":
            drop = frame["received"] - (session.sent - len(session.unacked))
            del session.unacked[: max(0, drop)]
        elif op == "ping":
            await self.write(session, {"op": "pong", "server_time": now()})
        elif op == "note" and frame["event"] == "typing":
            room = self.rooms[frame["data"]["conversation"]]
            data = {"conversation": room.id, "user": session.user}
            for other in list(self.sessions.values()):
                if other.user in room.members and other.user != session.user:
                    await self.write(other, {"op": "note", "event": "typing", "data": data})
        elif op == "call":
            name = "do_" + frame["command"].replace(".", "_")
            command: Callable[[Session, Json, str], Awaitable[Json]] | None = getattr(self, name, None)
            try:
                if command is None:
                    raise Refused("invalid", f"unknown command {frame['command']}")
                result = await command(session, frame.get("params", {}), frame["ref"])
                answer = {"op": "reply", "ref": frame["ref"], "result": result}
            except Refused as error:
                answer = {"op": "error", "ref": frame["ref"], "code": error.code, "message": error.message}
            if self.drop_next_replies:
                self.drop_next_replies -= 1
                return
            await self.write(session, answer)

    # ---- commands ----

    async def do_auth_methods(self, session: Session, p: Json, ref: str) -> Json:
        return {"methods": [{"name": n, "title": n} for n in ("qr", "password", "dev")]}

    def login(self, user: Json) -> Json:
        token = secrets.token_hex(16)
        self.tokens[token] = user["user"]
        return {"token": token, "expires_at": now() + 86400_000, "user": user}

    async def do_auth_dev(self, session: Session, p: Json, ref: str) -> Json:
        return self.login(self.user(p["name"]))

    async def do_auth_password(self, session: Session, p: Json, ref: str) -> Json:
        if len(p["password"]) < 4:
            raise Refused("not_authenticated", "name or password is wrong")
        return self.login(self.user(p["name"]))

    async def do_auth_begin(self, session: Session, p: Json, ref: str) -> Json:
        import segno

        ticket = secrets.token_urlsafe(16)
        url = f"http://127.0.0.1:8080/login/{ticket}"
        self.tickets[ticket] = session
        return {"ticket": ticket, "url": url, "expires_in": 120, "picture": segno.make(url).svg_data_uri(scale=4)}

    async def do_auth_logout(self, session: Session, p: Json, ref: str) -> Json:
        return {}

    async def do_inbox_list(self, session: Session, p: Json, ref: str) -> Json:
        user = session.user or ""
        rows = [self.inbox(r, user) for r in self.rooms.values() if user in r.members]
        rows = [row for row in rows if row["kind"] == "group" or row["head"]["seq"]]
        rows.sort(key=lambda row: -row["order"])
        at, limit = int(p.get("cursor", 0)), p.get("limit", 50)
        result = {"inbox": rows[at : at + limit], "version": self.versions.get(user, 0), "epoch": self.epoch}
        if at + limit < len(rows):
            result["cursor"] = str(at + limit)
        return result

    async def do_sync(self, session: Session, p: Json, ref: str) -> Json:
        user = session.user or ""
        if p["epoch"] != self.epoch:
            raise Refused("epoch_changed")
        if "conversation" in p:
            room = self.room(p["conversation"], user)
            messages = sorted((m for m in room.messages if m["rev"] > p["rev"]), key=lambda m: m["rev"])
            members = [m for m in room.members.values() if m["rev"] > p["rev"]]
            page = messages[: p.get("limit", 50)]
            more = len(page) < len(messages)
            return {"rev": page[-1]["rev"] if more else room.rev, "more": more, "messages": page, "members": members}
        rows = [
            self.inbox(self.rooms[id], u)
            for (u, id), version in self.row_versions.items()
            if u == user and version > p["version"]
        ]
        rows.sort(key=lambda row: row["version"])
        page = rows[: p.get("limit", 50)]
        more = len(page) < len(rows)
        version = page[-1]["version"] if more else self.versions.get(user, 0)
        return {"epoch": self.epoch, "version": version, "more": more, "inbox": page, "hot": []}

    async def do_history(self, session: Session, p: Json, ref: str) -> Json:
        room = self.room(p["conversation"], session.user or "")
        head = {"seq": len(room.messages), "rev": room.rev}
        limit = p.get("limit", 50)
        first = room.members[session.user or ""]["spans"][0][0]
        if "after" in p:
            rows = room.messages[p["after"] : p["after"] + limit]
        else:
            end = min(p.get("before", head["seq"] + 1) - 1, head["seq"])
            rows = room.messages[max(first - 1, end - limit) : end]
        return {"messages": rows, "first_seq": first, "head": head}

    async def do_submit(self, session: Session, p: Json, ref: str) -> Json:
        user = session.user or ""
        room = self.room(p["conversation"], user)
        if (user, ref) in room.refs:
            return room.refs[user, ref]
        if not isinstance(p["body"].get("text"), str) or len(p["body"]["text"]) > 8192:
            raise Refused("invalid", "body.text must have 1 to 8192 characters")
        extra: Json = {}
        if "reply_to" in p:
            quoted = room.messages[p["reply_to"] - 1]
            extra["reply_to"] = {k: quoted[k] for k in ("seq", "sender", "kind")} | {
                "text": quoted.get("body", {}).get("text", "")
            }
        if "mentions" in p:
            extra["mentions"] = p["mentions"]
        message = self.say(room, user, p["kind"], p["body"], ref, **extra)
        receipt = {k: message[k] for k in ("conversation", "seq", "rev", "time")}
        room.refs[user, ref] = receipt
        await self.push(self.here(room), "message", message)
        return receipt

    async def do_read(self, session: Session, p: Json, ref: str) -> Json:
        user = session.user or ""
        room = self.room(p["conversation"], user)
        room.read[user] = max(room.read.get(user, 0), min(p["seq"], len(room.messages)))
        self.touch(room, user)
        row = self.inbox(room, user)
        await self.push([user], "inbox", row)
        if room.kind == "direct":
            member = room.members[user] = {**room.members[user], "rev": room.stamp(), "read": room.read[user]}
            await self.push(self.here(room), "members", {"conversation": room.id, "rev": room.rev, "members": [member]})
        return {"read": room.read[user], "unread": row["unread"]}

    async def change(self, session: Session, p: Json, **fields: Any) -> Json:
        room = self.room(p["conversation"], session.user or "")
        old = room.messages[p["seq"] - 1]
        if old["sender"] != session.user:
            raise Refused("not_permitted", "only the sender may change a message")
        message = {k: v for k, v in {**old, **fields, "rev": room.stamp()}.items() if v is not None}
        room.messages[p["seq"] - 1] = message
        self.bump(room)
        await self.push(self.here(room), "message", message)
        return message

    async def do_message_edit(self, session: Session, p: Json, ref: str) -> Json:
        return await self.change(session, p, body=p["body"], edited_at=now())

    async def do_message_recall(self, session: Session, p: Json, ref: str) -> Json:
        return await self.change(session, p, body=None, recalled={"by": session.user, "time": now()})

    async def do_direct_open(self, session: Session, p: Json, ref: str) -> Json:
        user = session.user or ""
        if p["user"] not in self.users:
            raise Refused("not_found", "there is no such user")
        pair = sorted([user, p["user"]])
        id = "d_" + "_".join(pair)[:60]
        if id not in self.rooms:
            room = self.rooms[id] = Room(id, "direct")
            self.join(room, pair)
        return self.inbox(self.rooms[id], user)

    async def do_group_create(self, session: Session, p: Json, ref: str) -> Json:
        user = session.user or ""
        room = self.rooms["g_" + secrets.token_hex(6)] = Room("", "group", p["name"])
        room.id = next(id for id, one in self.rooms.items() if one is room)
        self.join(room, list(dict.fromkeys([user, *p["members"]])))
        self.bump(room)
        for member in self.here(room):
            await self.push([member], "inbox", self.inbox(room, member))
        await self.system(room, "group.joined", user, p["members"])
        return self.inbox(room, user)

    async def do_group_members(self, session: Session, p: Json, ref: str) -> Json:
        rows = list(self.room(p["conversation"], session.user or "").members.values())
        at, limit = int(p.get("cursor", 0)), p.get("limit", 50)
        result: Json = {"members": rows[at : at + limit]}
        if at + limit < len(rows):
            result["cursor"] = str(at + limit)
        return result

    async def do_group_get(self, session: Session, p: Json, ref: str) -> Json:
        room = self.room(p["conversation"], session.user or "")
        return {
            "conversation": room.id,
            "rev": room.rev,
            "kind": room.kind,
            "name": room.name,
            "members": len(self.here(room)),
        }

    async def do_group_update(self, session: Session, p: Json, ref: str) -> Json:
        room = self.room(p["conversation"], session.user or "")
        room.name = p.get("name", room.name)
        room.stamp()
        result = await self.do_group_get(session, p, ref)
        self.bump(room)
        await self.push(self.here(room), "conversation", result)
        return result

    async def do_group_invite(self, session: Session, p: Json, ref: str) -> Json:
        room = self.room(p["conversation"], session.user or "")
        done = [u for u in p["users"] if u in self.users and u not in self.here(room)]
        refused = [{"user": u, "code": "not_found"} for u in p["users"] if u not in self.users]
        event = self.join(room, done)
        self.bump(room)
        await self.push(self.here(room), "members", event)
        for user in done:
            await self.push([user], "inbox", self.inbox(room, user))
        await self.system(room, "group.invited", session.user or "", done)
        return {"done": done, "refused": refused}

    async def end(self, room: Room, user: str) -> None:
        old = room.members[user]
        spans = [*old["spans"][:-1], [old["spans"][-1][0], len(room.messages)]]
        room.members[user] = {**old, "rev": room.stamp(), "spans": spans}
        event = {"conversation": room.id, "rev": room.rev, "members": [room.members[user]]}
        await self.push([*self.here(room), user], "members", event)
        self.touch(room, user)
        await self.push([user], "inbox", self.inbox(room, user))

    async def do_group_kick(self, session: Session, p: Json, ref: str) -> Json:
        room = self.room(p["conversation"], session.user or "")
        for user in p["users"]:
            await self.end(room, user)
        await self.system(room, "group.kicked", session.user or "", p["users"])
        return {"done": p["users"], "refused": []}

    async def do_group_leave(self, session: Session, p: Json, ref: str) -> Json:
        room = self.room(p["conversation"], session.user or "")
        if room.members[session.user or ""]["role"] == "owner" and len(self.here(room)) > 1:
            raise Refused("conflict", "an owner transfers or dissolves the group before leaving")
        await self.end(room, session.user or "")
        await self.system(room, "group.left", session.user or "", [session.user or ""])
        return {}

    async def do_user_search(self, session: Session, p: Json, ref: str) -> Json:
        return {"users": [u for u in self.users.values() if p["query"].lower() in u["name"].lower()][:50]}

    async def do_user_get(self, session: Session, p: Json, ref: str) -> Json:
        return {"users": [self.users[u] for u in p["users"] if u in self.users]}

    async def do_presence_watch(self, session: Session, p: Json, ref: str) -> Json:
        session.watching = set(p["users"])
        return {"online": [u for u in p["users"] if self.online(u)]}

    # ---- the page ----

    def page(self, connection: ServerConnection, request: Request) -> Response | None:
        path = request.path.partition("?")[0]
        if path == "/ws":
            return None
        file = PAGE / "index.html" if path == "/" else PAGE / path.removeprefix("/static/")
        if not file.is_file():
            return Response(404, "Not Found", Headers({"Content-Length": "0"}), b"")
        body = file.read_bytes()
        kind = "text/javascript" if file.suffix == ".js" else mimetypes.guess_type(file.name)[0] or "text/plain"
        headers = {
            "Content-Type": f"{kind}; charset=utf-8" if kind.startswith("text") else kind,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": CSP,
            "Cache-Control": "no-cache",
            "Connection": "close",
        }
        return Response(200, "OK", Headers(headers), body)


def now() -> int:
    return int(time.time() * 1000)


def fill(fake: Fake, messages: int, rooms: int) -> None:
    """Some people who have said something, so that a fresh page has something to show."""
    ada, bob, cui = (fake.user(name) for name in ("Ada", "Bob", "崔小明"))
    words = ["Good morning!", "Did you see https://example.org/a?b=c&d=e today?", "哈哈，好的，明天见。", "🎉", "Yes."]
    group = fake.rooms["g_team"] = Room("g_team", "group", "Team lunch 🍜")
    fake.join(group, [ada["user"], bob["user"], cui["user"]])
    direct = fake.rooms["d_u_Ada_u_Bob"] = Room("d_u_Ada_u_Bob", "direct")
    fake.join(direct, [ada["user"], bob["user"]])
    start = now() - messages * 90_000
    for n in range(messages):
        for room, people in ((group, (ada, bob, cui)), (direct, (ada, bob))):
            sender = people[(n // 3) % len(people)]["user"]
            text = f"{words[n % 5]} ({n})" if n % 7 else "A longer one, so that the lines break: " + "la " * (n % 60)
            message = fake.say(room, sender, "text", {"text": text}, f"fill{n}")
            message["time"] = start + n * 90_000
    for n in range(rooms):
        room = fake.rooms[f"g_{n}"] = Room(f"g_{n}", "group", f"Room {n}")
        fake.join(room, [ada["user"], bob["user"]])
        fake.say(room, bob["user"], "text", {"text": f"hello in {n}"}, f"room{n}")["time"] -= n * 1000


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--fill", type=int, default=60)
    parser.add_argument("--rooms", type=int, default=0)
    parser.add_argument("--heartbeat", type=float, default=20)
    options = parser.parse_args()
    fake = Fake(options.heartbeat)
    fill(fake, options.fill, options.rooms)
    async with serve(fake.serve, "127.0.0.1", options.port, process_request=fake.page, subprotocols=["chat.v1.json"]):  # type: ignore[list-item]
        print(f"http://127.0.0.1:{options.port}", flush=True)
        await asyncio.Future()


if __name__ == "__main__":
    asyncio.run(main())
