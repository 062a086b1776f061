"""A client's copy of all it may see, kept by `inbox.list` and `sync` alone, as the client page says."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from tests.chat_server.house import House

DERIVED_HOT = ("head", "unread", "order", "mentioned", "name", "avatar", "hidden", "version", "first_seq")
"""What a client of a hot room reckons from the conversation's own stream."""
DERIVED_LEFT = ("head", "name", "avatar")


@define
class Copy:
    """One conversation."""

    rev: int = 0
    messages: dict[int, Any] = field(factory=dict)
    members: dict[str, Any] = field(factory=dict)
    conversation: Any = None

    async def sync(self, house: House, user: str, name: str, epoch: str, limit: int) -> None:
        for _ in range(2000):
            page = await house.call(user, "sync", epoch=epoch, conversation=name, rev=self.rev, limit=limit)
            stamps = [one["rev"] for one in (*page["messages"], *page["members"])]
            assert page["rev"] >= self.rev, "a cursor goes forward only"
            assert all(self.rev < stamp <= page["rev"] for stamp in stamps)
            assert [one["rev"] for one in page["messages"]] == sorted(one["rev"] for one in page["messages"])
            self.rev = page["rev"]
            self.messages |= {one["seq"]: one for one in page["messages"]}
            self.members |= {one["user"]["user"]: one for one in page["members"]}
            self.conversation = page.get("conversation", self.conversation)
            self.begin_at((self.conversation or {}).get("first_seq", 1))
            if not page["more"]:
                return
        raise AssertionError("sync does not end")

    def begin_at(self, first: int) -> None:
        """What lies before was deleted, and what quotes it quotes nothing any more."""
        self.messages = {
            seq: {key: value for key, value in one.items() if key != "reply_to" or value["seq"] >= first}
            for seq, one in self.messages.items()
            if seq >= first
        }

    @property
    def present(self) -> dict[str, Any]:
        return {who: one for who, one in self.members.items() if len(one["spans"][-1]) == 1}


@define
class Replica:
    """All of one user's."""

    user: str
    version: int = -1
    epoch: str = ""
    me: Any = None
    inbox: dict[str, Any] = field(factory=dict)
    contacts: dict[str, Any] = field(factory=dict)
    hot: dict[str, int] = field(factory=dict)
    copies: dict[str, Copy] = field(factory=dict)

    async def catch_up(self, house: House, limit: int) -> None:
        """From what it holds to what is now, in pages of ``limit``."""
        if self.version < 0:
            await self._begin(house, limit)
        await self._own(house, limit)
        for name, entry in self.inbox.items():
            copy = self.copies.setdefault(name, Copy())
            if copy.rev < max(entry["head"]["rev"], self.hot.get(name, 0)) or entry.get("left"):
                await copy.sync(house, self.user, name, self.epoch, limit)
            copy.messages = {seq: one for seq, one in copy.messages.items() if seq >= entry["first_seq"]}

    async def _begin(self, house: House, limit: int) -> None:
        cursor = None
        places: list[tuple[int, str]] = []
        while True:
            page = await house.call(self.user, "inbox.list", cursor=cursor, limit=limit)
            if self.version < 0:
                self.version, self.epoch = page["version"], page["epoch"]
            self.inbox |= {one["conversation"]: one for one in page["inbox"]}
            places += [(one["order"], one["conversation"]) for one in page["inbox"]]
            cursor = page.get("cursor")
            if cursor is None:
                break
        assert places == sorted(places, reverse=True), "latest activity first"
        assert len(set(places)) == len(places), "no entry on two pages"
        cursor = None
        while True:
            page = await house.call(self.user, "contact.list", cursor=cursor, limit=limit)
            self.contacts |= {one["user"]["user"]: one for one in page["contacts"]}
            cursor = page.get("cursor")
            if cursor is None:
                break
        self.me = await house.call(self.user, "user.me")

    async def _own(self, house: House, limit: int) -> None:
        for _ in range(2000):
            page = await house.call(self.user, "sync", epoch=self.epoch, version=self.version, limit=limit)
            assert page["version"] >= self.version
            self.version = page["version"]
            self.inbox |= {one["conversation"]: one for one in page["inbox"]}
            for one in page["contacts"]:
                self.contacts[one["user"]["user"]] = one
                if one["state"] == "none" and not one.get("blocked"):
                    del self.contacts[one["user"]["user"]]
            self.me = page.get("user", self.me)
            if not page["more"]:
                self.hot = {one["conversation"]: one["rev"] for one in page["hot"]}
                return
        raise AssertionError("sync does not end")

    def shown(self) -> dict[str, Any]:
        """What a person sees, in a form to compare with another replica's."""
        inbox = {}
        for name, entry in self.inbox.items():
            out = DERIVED_HOT if name in self.hot else DERIVED_LEFT if entry.get("left") else ()
            inbox[name] = {key: value for key, value in entry.items() if key not in out}
        return {
            "me": self.me,
            "inbox": inbox,
            "contacts": self.contacts,
            "messages": {name: self.copies[name].messages for name in self.inbox},
            "members": {name: self.copies[name].present for name in self.inbox if not self.inbox[name].get("left")},
            "rooms": {name: self.copies[name].conversation for name in self.inbox if not self.inbox[name].get("left")},
        }
