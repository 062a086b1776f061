"""What a client owes itself: which parts of its copy may be stale, and the calls that repair them.

One `rev` per conversation and one `version` say how far the copy reaches. Pushes that fit are applied; a jump, a
`lagged`, a `behind` or a connection that was not resumed leaves a debt, and a debt stays until an answer pays it.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from attrs import define, field
from msgspec import UNSET

from chat_common.errors import ChatError
from chat_common.protocol import client_events as events
from chat_common.protocol import client_jobs as jobs
from chat_common.protocol.client_gaps import Gaps, missing
from chat_common.protocol.client_jobs import PASSING, ROOMS_AT_ONCE, Job, Lacking, Pause
from chat_common.protocol.client_state import Room, State
from chat_common.protocol.frames import Beat, Welcome
from chat_common.wire import Contact, Conversation, Inbox, Member, Message, User


@define
class Syncer:
    """Applies what comes to ``state`` and tells it in ``told``; `plan` names the calls to make now.

    ``whole``: hold every conversation from its first message. Otherwise a conversation is begun at its head, or,
    where something is unread, with its newest page.
    """

    state: State
    whole: bool = False
    keep: int | None = None
    told: list[events.Event] = field(factory=list)
    gaps: Gaps = field(factory=Gaps)
    _lacking: Lacking = field(factory=Lacking)
    _stage: Literal["list", "contacts", "ready"] = "list"
    _cursor: str | None = None
    _listed_version: int | None = None
    _owes_version: bool = False
    _version_mark: int = 0
    _owed: dict[str, int] = field(factory=dict)
    _news: dict[str, list[int]] = field(factory=dict)
    _flying: set[str] = field(factory=set)
    _online: bool = False
    _pause: Pause = field(factory=Pause)
    _behind: bool = True
    _generation: int = 0

    # --- what the session hears -----------------------------------------------------------------------------------

    def welcomed(self, welcome: Welcome) -> None:
        self._flying.clear()
        self._online = welcome.user is not UNSET
        if welcome.user is UNSET:
            return
        state = self.state
        another = state.me is not None and state.me.user != welcome.user.user
        if another or (state.epoch is not None and state.epoch != welcome.epoch):
            self.start_over(welcome.epoch)
        state.me = welcome.user
        state.put_user(welcome.user)
        state.epoch = state.epoch or welcome.epoch
        if not welcome.resumed:
            self.owe_version()

    def disconnected(self) -> None:
        """Calls that flew are lost; what they were to pay stays owed."""
        self._online = False
        self._flying.clear()

    def start_over(self, epoch: str | None = None) -> None:
        self.state.clear()
        self.state.epoch = epoch
        self._generation += 1
        self._stage, self._cursor, self._listed_version = "list", None, None
        for kept in (self._owed, self._news, self._flying, self.gaps, self._lacking):
            kept.clear()
        self.owe_version()
        self.told.append(events.StartedOver(epoch or ""))

    def owe_version(self) -> None:
        self._owes_version = self._behind = True
        self._version_mark += 1

    def owe_room(self, conversation: str) -> None:
        """Sync this conversation, even if its stamps say that nothing is missing."""
        self._owed[conversation] = self._owed.get(conversation, 0) + 1
        self._behind = True

    def beat(self, beat: Beat) -> None:
        if beat.behind:
            if "version" not in self._flying:
                self.owe_version()
        elif self._stage == "ready" and not self._owes_version and self.state.version is not None:
            self.state.version = max(self.state.version, beat.version)

    def pushed(self, event: str, data: Any) -> None:
        """One counted push. Rows of a conversation are taken if they join on to what is held, and owed otherwise."""
        match event:
            case "message" | "members" | "conversation":
                self._stamped(event, data)
            case "inbox":
                self._inbox(msgspec.convert(data, Inbox))
            case "contact":
                self._contact(msgspec.convert(data, Contact))
            case "user":
                self._user(msgspec.convert(data["user"], User))
            case _:
                self.told.append(events.Told(event, data))

    def replied(self, command: str, result: Any) -> None:
        """The answer to a call of the user's own, where it holds rows of the copy."""
        if not isinstance(result, dict):
            return
        match command:
            case "history":
                for row in result.get("messages", ()):
                    self._known_message(row)
            case "message.edit" | "message.recall" | "message.react":
                self._known_message(result)
            case "group.members":
                for row in result.get("members", ()):
                    self._member(msgspec.convert(row, Member))
            case "inbox.set" | "direct.open" | "group.create" | "group.join":
                if "head" in result:
                    self._inbox(msgspec.convert(result, Inbox))

    # --- what is left to ask ------------------------------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Nothing is left to ask: the copy is complete."""
        return self._stage == "ready" and not (self._owes_version or self._owed or self._lacking.names)

    def deadline(self) -> float | None:
        """When `plan` may have more to say although nothing was heard."""
        return self._pause.until if self._online and self._pause.seconds and not self.settled else None

    def plan(self, now: float) -> list[Job]:
        """The calls to make now; each is to be followed by `answered` or `failed`, unless the connection is lost."""
        if not self._online or now < self._pause.until:
            return []
        due = []
        if self._flying.isdisjoint({"list", "contacts", "version", "rows"}) and (job := self._general()) is not None:
            due.append(job)
            self._flying.add(job.kind)
        for conversation, mark in self._owed.items() if self.state.epoch is not None else ():
            if sum(name.startswith("room:") for name in self._flying) >= ROOMS_AT_ONCE:
                break
            if f"room:{conversation}" not in self._flying:
                self._flying.add(f"room:{conversation}")
                room = self.state.room(conversation)
                due.append(self.gaps.job(room, mark) or jobs.room_job(room, self.state.epoch, mark))
        for job in due:
            job.generation = self._generation
        return due

    def answered(self, job: Job, result: Any) -> None:
        if job.generation != self._generation:
            return  # asked before the copy was emptied
        self._flying.discard(job.name)
        self._pause.over()
        takers = {"list": self._list_page, "contacts": self._contacts_page, "version": self._version_page}
        takers |= {"room": self._room_page, "page": self._newest_page, "gap": self._gap_page, "rows": self._list_rows}
        takers[job.kind](job, result)
        self._lacking.answered(job)
        if self.settled and self._behind:
            self._behind = False
            self.told.append(events.Synced())

    def failed(self, job: Job, error: ChatError, now: float) -> None:
        if job.generation != self._generation:
            return
        self._flying.discard(job.name)
        if error.code == "epoch_changed":
            self.start_over()
        elif error.code == "invalid" and job.kind == "contacts":
            self._stage = "ready"  # a server without contacts
        elif error.code in ("not_found", "not_a_member") and job.conversation:
            # Out of reach: should it come back, its inbox row says so.
            self.gaps.forget(job.conversation)
            self._owed.pop(job.conversation, None)
            self._flush(job.conversation)
        elif job.kind == "gap" and not isinstance(error, PASSING):
            self._gap_page(job, {"messages": []})  # refused for good: not asked for again
        elif job.kind == "rows" and not isinstance(error, PASSING):
            self._lacking.answered(job)
        else:
            if job.kind in ("list", "contacts"):
                self._cursor = None
            self._pause.longer(now, error.retry_after)

    def _general(self) -> Job | None:
        if self._stage != "ready":
            return jobs.list_job(self._stage, self._cursor)
        if self._owes_version:
            return jobs.version_job(self.state.epoch, self.state.version, self._version_mark)
        return self._lacking.job()

    def _list_page(self, job: Job, result: dict[str, Any]) -> None:
        self._list_rows(job, result)
        if self._listed_version is None:
            # The first page's number: what changes while the others are read lies after it, and is synced then.
            self._listed_version = result["version"]
        self._cursor = result.get("cursor")
        if self._cursor is None:
            self.state.epoch = result["epoch"]
            self.state.version = self._listed_version
            self._stage = "contacts"
            self.owe_version()

    def _contacts_page(self, job: Job, result: dict[str, Any]) -> None:
        self._list_rows(job, result)
        self._cursor = result.get("cursor")
        if self._cursor is None:
            self._stage = "ready"

    def _version_page(self, job: Job, result: dict[str, Any]) -> None:
        self._list_rows(job, result)
        if result.get("user") is not None:
            self._user(msgspec.convert(result["user"], User))
        for hot in result.get("hot", ()):
            room = self.state.room(hot["conversation"])
            self._listed(room, hot["rev"], hot["seq"])
            self._lacking.note(room)
        self.state.version = max(self.state.version or 0, result["version"])
        if not result["more"] and job.mark == self._version_mark:
            self._owes_version = False

    def _list_rows(self, job: Job, result: dict[str, Any]) -> None:
        for row in result.get("inbox", ()):
            self._inbox(msgspec.convert(row, Inbox))
        for row in result.get("contacts", ()):
            self._contact(msgspec.convert(row, Contact))

    def _room_page(self, job: Job, result: dict[str, Any]) -> None:
        room = self.state.room(job.conversation)
        if job.begun != room.begun:
            return  # asked while I was out: it has passed over what I may see again
        self._rows(room, result)
        room.rev = max(room.rev or 0, result["rev"])
        if result["more"]:
            return
        if room.owed and room.heard == job.heard:
            room.heard = room.rev  # the rest of it is not for me
        self._paid(room, job)

    def _newest_page(self, job: Job, result: dict[str, Any]) -> None:
        room = self.state.room(job.conversation)
        if job.begun != room.begun:
            return
        if result["messages"]:
            # What lies before this page is fetched only when it is asked for, whether it was read or not.
            room.begun_at = max(room.begun_at, result["messages"][0]["seq"] - 1)
        self._rows(room, result)
        room.rev = result["head"]["rev"]
        self._paid(room, job)

    def _gap_page(self, job: Job, result: dict[str, Any]) -> None:
        room = self.state.room(job.conversation)
        if job.begun != room.begun:
            return
        rows, gap = self.gaps.answered(room, msgspec.convert(result["messages"], list[Message]))
        if gap is not None:
            self.told.append(gap)
        for message in rows:
            self._message(room, message)
        self._paid(room, job)

    def _paid(self, room: Room, job: Job) -> None:
        # While there is a gap the debt stands, so that what `history` brings is told in order with the rest.
        if room.owed or self._owed.get(room.conversation) != job.mark or self.gaps.open(room, job.mark):
            return
        del self._owed[room.conversation]
        self._flush(room.conversation)

    def _flush(self, conversation: str) -> None:
        """A sync brings rows in order of their last change; what is news among them is told in order of `seq`."""
        room = self.state.room(conversation)
        news = sorted(self._news.pop(conversation, ()))  # what was deleted meanwhile is no news any more
        self.told += [events.MessageReceived(room.messages[seq]) for seq in news if seq in room.messages]
        room.trim(self.keep)

    # --- rows -----------------------------------------------------------------------------------------------------

    def _stamped(self, event: str, data: dict[str, Any]) -> None:
        room, rev = self.state.room(data["conversation"]), data["rev"]
        since = data.get("since", rev - 1)
        if room.inbox is None and not self._owes_version:
            self.owe_version()  # a conversation that is new to me: its row stands in my list
        if self.whole and room.rev is None:
            room.rev = 0
        if event == "message" and room.rev is not None and room.skips(data["seq"]):
            # What lies between was changed since it was said and comes later, as it is now. A sync brings it along, so
            # that news is told in order.
            self._heard(room, rev)
        elif room.rev is not None and since <= room.rev < rev:
            room.rev = rev
            room.heard = max(room.heard, rev)
            rows = {"message": "messages", "members": "members", "conversation": "conversation"}[event]
            self._rows(room, {rows: [data] if event == "message" else data[rows] if event == "members" else data})
        else:
            self._heard(room, rev)

    def _heard(self, room: Room, rev: int) -> None:
        room.heard = max(room.heard, rev)
        if room.rev is None and room.inbox is None:
            return  # begun when its row is known
        if room.owed:
            self._owed.setdefault(room.conversation, 0)
            self._behind = True

    def _listed(self, room: Room, rev: int, seq: int) -> None:
        """My list says that the conversation has ``seq`` messages at ``rev``: owed are the stamps, or lost numbers."""
        room.head = max(room.head, (rev, seq))
        self._heard(room, rev)
        if room.conversation not in self._owed and missing(room) is not None:
            self._owed[room.conversation] = 0
            self._behind = True
            self.gaps.open(room, 0)

    def _rows(self, room: Room, rows: dict[str, Any]) -> None:
        for row in rows.get("messages", ()):
            self._message(room, msgspec.convert(row, Message))
        given = msgspec.convert(rows.get("members", []), list[Member])
        members = [member for member in given if self._member(member, tell=False)]
        if members:
            self.told.append(events.MembersChanged(room.conversation, members))
        if rows.get("conversation") is not None:
            info = msgspec.convert(rows["conversation"], Conversation)
            if room.put_info(info):
                self.told.append(events.ConversationChanged(info))

    def _message(self, room: Room, message: Message) -> None:
        held = message.seq in room.messages
        if not room.put_message(message):
            return
        waiting = self._news.get(room.conversation, [])
        if held or message.seq <= room.begun_at:
            if message.seq not in waiting:
                self.told.append(events.MessageChanged(message))
        elif room.conversation in self._owed:
            self._news.setdefault(room.conversation, []).append(message.seq)
        else:
            self.told.append(events.MessageReceived(message))
            room.trim(self.keep)

    def _known_message(self, row: dict[str, Any]) -> None:
        # A message that is news comes with its stamp in turn; taken from here it would overtake the ones before it.
        message = msgspec.convert(row, Message)
        room = self.state.rooms.get(message.conversation)
        if room is not None and (message.seq in room.messages or message.seq <= room.begun_at):
            self._message(room, message)

    def _member(self, member: Member, tell: bool = True) -> bool:
        changed = self.state.put_member(member)
        if changed and tell:
            self.told.append(events.MembersChanged(member.conversation, [member]))
        return changed

    def _inbox(self, row: Inbox) -> None:
        room = self.state.room(row.conversation)
        held = room.inbox
        if not room.put_inbox(row):
            return
        if row.peer is not UNSET:
            self.state.put_user(row.peer)
        self.told.append(events.InboxChanged(row))
        if held is None or len(row.spans) > len(held.spans):
            self._begin(room, row, again=held is not None)
        self._listed(room, row.head.rev, row.head.seq)

    def _begin(self, room: Room, row: Inbox, *, again: bool) -> None:
        """I have come in, or come back: what a sync passed over while I was out has to be read again."""
        room.begun += 1
        room.checked = 0
        self.gaps.forget(room.conversation)
        if self.whole:
            room.rev = 0 if again else room.rev or 0
            if again:
                self.owe_room(room.conversation)
            return
        # What a sync of several pages has brought so far is told now: of this copy nothing stays.
        self._flush(room.conversation)
        room.members.clear()
        room.messages.clear()
        room.begun_at = row.head.seq - row.unread
        room.rev = row.head.rev if row.unread == 0 and room.heard <= row.head.rev else None

    def _contact(self, contact: Contact) -> None:
        if self.state.put_contact(contact):
            self.told.append(events.ContactChanged(contact))

    def _user(self, user: User) -> None:
        if self.state.put_user(user):
            self.told.append(events.UserChanged(user))
