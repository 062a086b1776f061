"""What a client holds: its copy of everything that its user may see.

Rows are states, not events: a row replaces the held one when it is stamped later, so applying rows twice, or in
whatever order, ends in the same copy. Two clients that have settled hold equal `State.picture`s.
"""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
from attrs import define, field
from msgspec import UNSET

from chat_common.wire import Contact, Conversation, Head, Inbox, Member, Message, Preview, User

PREVIEW_CHARS = 100


@define
class Room:
    """The copy of one conversation.

    ``rev`` is how far it reaches (None: not begun), ``heard`` the newest stamp heard of; while ``rev`` is below it,
    a sync is owed. Messages up to ``begun_at`` are no news: they were there before this client began to listen, for
    the ``begun``-th time. Up to ``checked`` it is known that no message is missing; ``head`` is the newest (stamp,
    number) that the list told of. ``spans`` are this user's intervals, as far as the list or the own membership told.
    What lies before ``first`` does not exist for this user (any more).
    """

    conversation: str
    rev: int | None = None
    heard: int = 0
    begun_at: int = 0
    begun: int = 0
    messages: dict[int, Message] = field(factory=dict)
    newest: int = 0
    checked: int = 0
    head: tuple[int, int] = (0, 0)
    spans: list[list[int]] = field(factory=list)
    members: dict[str, Member] = field(factory=dict)
    info: Conversation | None = None
    inbox: Inbox | None = None
    first: int = 1

    @property
    def owed(self) -> bool:
        return self.rev is None or self.rev < self.heard

    @property
    def certain(self) -> int:
        """The newest number that this copy must reach: one that is held, or that the list gave a passed stamp."""
        rev, seq = self.head
        return max(self.newest, seq if rev <= (self.rev or 0) else 0)

    def put_message(self, message: Message) -> bool:
        """True when it is newer than what was held."""
        held = self.messages.get(message.seq)
        if message.seq < self.first or (held is not None and held.rev >= message.rev):
            return False
        self.messages[message.seq] = self._without_lost_quote(message)
        self.newest = max(self.newest, message.seq)
        return True

    def trim(self, keep: int | None) -> None:
        """Let go of the oldest messages above ``keep``, some at a time; they count as read before this copy began."""
        if keep is None or len(self.messages) <= keep + keep // 8:
            return
        seqs = sorted(self.messages)
        for seq in seqs[: len(seqs) - keep]:
            del self.messages[seq]
        self.begun_at = max(self.begun_at, seqs[len(seqs) - keep] - 1)

    def begin_at(self, first: int) -> None:
        """There is nothing before this number (any more): what is held of it goes, and nobody asks for it."""
        if first > self.first:
            self.first = first
            self.begun_at = max(self.begun_at, first - 1)
            self.messages = {seq: message for seq, message in self.messages.items() if seq >= first}

    def _without_lost_quote(self, message: Message) -> Message:
        """The server quotes nothing that was deleted. (What was said before the user came in may well be quoted.)"""
        first = UNSET if self.info is None else self.info.first_seq
        quote = message.reply_to
        if quote is UNSET or first is UNSET or quote.seq >= first:
            return message
        return attrs.evolve(message, reply_to=UNSET)

    def skips(self, seq: int) -> bool:
        """Whether a message that this user may see lies between the newest one held and this one."""
        first = max(self.newest, self.begun_at) + 1
        if self.inbox is None:
            return seq > first
        return any(max(first, start) < min(seq, (end + 1) if end else seq) for start, end in map(_ends, self.spans))

    def put_spans(self, spans: list[list[int]]) -> None:
        """Intervals are only ever closed and added, so of two accounts the longer one is the later one."""
        if sum(map(len, spans)) > sum(map(len, self.spans)):
            self.spans = spans

    def put_member(self, member: Member) -> bool:
        held = self.members.get(member.user.user)
        if held is not None and held.rev >= member.rev:
            return False
        self.members[member.user.user] = member
        return True

    def put_info(self, info: Conversation) -> bool:
        if self.info is not None and self.info.rev >= info.rev:
            return False
        self.info = info
        if info.first_seq is not UNSET and info.first_seq > self.first:
            self.begin_at(info.first_seq)
            self.messages = {seq: self._without_lost_quote(message) for seq, message in self.messages.items()}
        return True

    def put_inbox(self, row: Inbox) -> bool:
        """The row with the larger version wins; of equals, and of rows without one, the one with the later head."""
        held = self.inbox
        if held is not None:
            known, version = held.version, row.version
            if known is not UNSET and version is not UNSET and known != version:
                if version < known:
                    return False
            elif row.head.rev < held.head.rev:
                return False
        self.inbox = row
        self.put_spans(row.spans)
        self.begin_at(row.first_seq)
        return True

    def timeline(self) -> list[Message]:
        """The messages held, in order."""
        return [self.messages[seq] for seq in sorted(self.messages)]

    def summary(self, me: str) -> Inbox | None:
        """The inbox row as it is now: as last told, with the messages since then counted in."""
        row = self.inbox
        if row is None:
            return None
        first = self._first_visible(row)
        read_to = max(row.head.seq - row.unread, row.read, first - 1)
        later = sorted(seq for seq in self.messages if seq > row.head.seq)
        mentioned = row.mentioned if row.mentioned is not UNSET else 0
        for seq in later:
            message = self.messages[seq]
            if message.sender == me and message.kind != "system":
                read_to = max(read_to, seq)
            elif message.mentions is not UNSET and not {me, "@all"}.isdisjoint(message.mentions):
                mentioned = seq
        head = row.head
        if later:
            last = self.messages[later[-1]]
            head = Head(seq=last.seq, rev=max(last.rev, head.rev), time=last.time, preview=_preview(last))
        elif head.seq < first:
            head = attrs.evolve(head, preview=UNSET)
        return attrs.evolve(
            row,
            first_seq=first,
            head=head,
            unread=max(0, head.seq - read_to),
            mentioned=mentioned if mentioned > read_to else UNSET,
            order=max(row.order, head.time) if later else row.order,
        )

    def _first_visible(self, row: Inbox) -> int:
        """The row's `first_seq`, or where the user's own intervals go on behind what was deleted since."""
        for start, end in map(_ends, self.spans):
            if end is None or end >= self.first:
                return max(row.first_seq, start, self.first)
        return max(row.first_seq, self.first)


@define
class State:
    """Everything: conversations, contacts, people, and the numbers that say how far it reaches.

    ``version`` is None until the list has been read once. Read it freely; only a `ClientSession` changes it.
    """

    me: User | None = None
    epoch: str | None = None
    version: int | None = None
    rooms: dict[str, Room] = field(factory=dict)
    contacts: dict[str, Contact] = field(factory=dict)
    users: dict[str, User] = field(factory=dict)

    def room(self, conversation: str) -> Room:
        """The copy of this conversation; an empty one is made for a new name."""
        found = self.rooms.get(conversation)
        if found is None:
            found = self.rooms[conversation] = Room(conversation)
        return found

    def put_user(self, user: User) -> bool:
        changed = self.users.get(user.user) != user
        self.users[user.user] = user
        if self.me is not None and self.me.user == user.user:
            self.me = user
        return changed

    def put_member(self, member: Member) -> bool:
        room = self.room(member.conversation)
        if self.me is not None and self.me.user == member.user.user:
            room.put_spans(member.spans)
        changed = room.put_member(member)
        if changed:
            self.put_user(member.user)
        return changed

    def put_contact(self, contact: Contact) -> bool:
        held = self.contacts.get(contact.user.user)
        if held is not None and held.version >= contact.version:
            return False
        self.contacts[contact.user.user] = contact
        self.put_user(contact.user)
        return True

    def inbox(self) -> list[Inbox]:
        """My list: pinned first, then the latest activity first; hidden ones are left out."""
        me = self.me.user if self.me else ""
        rows = [row for room in self.rooms.values() if (row := room.summary(me)) is not None]
        shown = [row for row in rows if row.hidden is not True]
        return sorted(shown, key=lambda row: (row.pinned is True, row.order, row.conversation), reverse=True)

    def clear(self) -> None:
        """Forget everything that the server told, for a start from nothing."""
        self.epoch = self.version = None
        self.rooms.clear()
        self.contacts.clear()
        self.users.clear()

    def picture(self) -> dict[str, Any]:
        """Plain data that is equal for two settled clients of one user.

        Left out is what depends on the moment of reading and not on the state: list order, previews and stamps of
        the list, the versions themselves.
        """
        me = self.me.user if self.me else ""
        rooms = {name: self._room_picture(room, me) for name, room in self.rooms.items() if room.inbox is not None}
        contacts = {name: _plain(contact) for name, contact in self.contacts.items() if contact.state != "none"}
        return {"rooms": rooms, "contacts": contacts}

    def _room_picture(self, room: Room, me: str) -> dict[str, Any]:
        row = _plain(room.summary(me))
        for name in ("version", "order"):
            row.pop(name, None)
        row["head"] = row["head"]["seq"]
        # Who has left is told nothing of the others any more; how old those rows are is a matter of luck.
        left = row.get("left", False)
        members = {name: _plain(member) for name, member in room.members.items() if not left or name == me}
        for name, member in members.items():
            if name in self.users:
                member["user"] = _plain(self.users[name])
        messages = [_plain(message) for message in room.timeline()]
        for message in messages if left else ():
            # What changed after one has left is shown to a newcomer of one's own as of that moment, without reactions.
            for name in ("rev", "reactions"):
                message.pop(name, None)
        return {
            "inbox": row,
            "messages": messages,
            "members": members,
            "info": _plain(room.info) if room.info is not None and not left else None,
        }


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)


def _preview(message: Message) -> Preview:
    text = ""
    if message.recalled is UNSET and isinstance(message.body, dict):
        text = str(message.body.get("text") or message.body.get("name") or message.body.get("label") or "")
    return Preview(sender=message.sender, kind=message.kind, text=text[:PREVIEW_CHARS])


def _ends(span: list[int]) -> tuple[int, int | None]:
    return span[0], span[1] if len(span) > 1 else None
