"""Whatever happens, in whatever order: a client that syncs from what it holds equals one that starts over, and neither
has anything that was said outside its intervals."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field
from chat_common.errors import ChatError
from chat_server.im.heat import FanoutSettings
from chat_server.store.schema import conversation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.chat_server.house import House, Store, fresh_sqlite, opened, seqs
from tests.chat_server.im.replica import Replica

PEOPLE = ("ada", "bob", "cem", "dan", "eve")
REFUSALS = {"invalid", "not_found", "not_a_member", "not_permitted", "conflict", "recall_expired"}
MOVES = (
    *("say",) * 8,
    *("pump",) * 6,
    *("stale",) * 3,
    *("create", "invite", "invite", "kick", "kick", "leave", "join", "role", "mute", "hush", "update", "transfer"),
    *("edit", "recall", "react", "react", "read", "read", "set", "rename", "direct", "direct", "tick", "tick"),
    *("ask", "ask", "accept", "reject", "remove", "block", "dissolve", "purge"),
)


@define
class World:
    """The model: who is in which room, and who was when something was said."""

    house: House
    dice: random.Random
    users: list[str]
    rooms: list[str] = field(factory=list)
    inside: dict[str, set[str]] = field(factory=dict)
    heads: dict[str, int] = field(factory=dict)
    heard: dict[str, dict[int, frozenset[str]]] = field(factory=dict)
    first: dict[str, int] = field(factory=dict)
    links: dict[str, str] = field(factory=dict)
    makers: dict[str, str] = field(factory=dict)
    replicas: dict[str, list[Replica]] = field(factory=dict)
    seen: set[str] = field(factory=set)

    async def step(self) -> None:
        move = self.dice.choice(MOVES)
        me, other = self.dice.choice(self.users), self.dice.choice(self.users)
        room = self.dice.choice(self.rooms) if self.rooms else "none"
        before = set(self.inside.get(room, ()))
        if room in self.makers and self.dice.random() < 0.4:
            me = self.makers[room]
        try:
            await self._act(move, me, other, room)
        except ChatError as refused:
            if refused.code not in REFUSALS:
                raise
            self.seen.add(refused.code)
        else:
            self.seen.add(move)
        await self._note(before if move == "dissolve" else None)

    async def _note(self, dissolved: set[str] | None) -> None:
        """Who hears what was said in this step."""
        for name, head in await self.house.rows(select(conversation.c.conversation, conversation.c.head_seq)):
            heard = self.heard.setdefault(name, {})
            for seq in range(self.heads.get(name, 0) + 1, head + 1):
                heard[seq] = frozenset(self.inside[name] if dissolved is None else dissolved)
            self.heads[name] = head

    async def _act(self, move: str, me: str, other: str, room: str) -> None:
        call, dice = self.house.call, self.dice
        head = self.heads.get(room, 1)
        seq = max(1, head - dice.randint(0, 3) if dice.random() < 0.5 else dice.randint(0, head))
        if move == "say":
            others: dict[str, Any] = {}
            if dice.random() < 0.2:
                others["mentions"] = dice.choice([[other], ["@all"]])
            if dice.random() < 0.2:
                others["reply_to"] = seq
            await self.house.say(me, room, f"said {dice.random()}", **others)
        elif move == "create":
            chosen = dice.sample(self.users, dice.randint(0, 3))
            made = (await call(me, "group.create", name="group", members=chosen))["conversation"]
            self.rooms.append(made)
            self.inside[made] = {me, *chosen}
            self.makers[made] = me
            self.links[made] = (await call(me, "group.link", conversation=made, on=True))["link"]
        elif move == "direct":
            made = (await call(me, "direct.open", user=other))["conversation"]
            if made not in self.rooms:
                self.rooms.append(made)
            self.inside[made] = {me, other}
            await self.house.say(me, made, "direct")
        elif move == "invite":
            chosen = dice.sample(self.users, dice.randint(1, 3))
            answer = await call(me, "group.invite", conversation=room, users=chosen)
            self.inside[room] |= set(answer["done"])
        elif move == "kick":
            answer = await call(me, "group.kick", conversation=room, users=[other])
            self.inside[room] -= set(answer["done"])
        elif move == "leave":
            await call(me, "group.leave", conversation=room)
            self.inside[room].discard(me)
        elif move == "join":
            await call(me, "group.join", link=self.links.get(room, "none"))
            self.inside[room].add(me)
        elif move == "dissolve":
            if dice.random() < 0.3:
                await call(me, "group.dissolve", conversation=room)
                self.inside[room].clear()
        elif move == "role":
            await call(me, "group.role", conversation=room, user=other, role=dice.choice(["admin", "member"]))
        elif move == "transfer":
            await call(me, "group.transfer", conversation=room, user=other)
        elif move == "mute":
            await call(me, "group.mute", conversation=room, user=other, until=self.house.clock.wall_ms() + 500)
        elif move == "hush":
            await call(me, "group.mute", conversation=room, until=self.house.clock.wall_ms() + 500)
        elif move == "update":
            await call(me, "group.update", conversation=room, name=f"group {dice.random()}")
        elif move == "edit":
            await call(me, "message.edit", conversation=room, seq=seq, body={"text": f"edited {dice.random()}"})
        elif move == "recall":
            await call(me, "message.recall", conversation=room, seq=seq)
        elif move == "react":
            await call(
                me, "message.react", conversation=room, seq=seq, emoji=dice.choice("👍🎉"), on=dice.random() < 0.7
            )
        elif move == "read":
            await call(me, "read", conversation=room, seq=seq)
        elif move == "set":
            name = dice.choice(["muted", "pinned", "hidden"])
            changed: dict[str, Any] = {name: dice.random() < 0.7}
            await call(me, "inbox.set", conversation=room, **changed)
        elif move == "rename":
            await call(me, "user.rename", name=f"{dice.random()}")
        elif move == "ask":
            await call(me, "contact.request", user=other, text=f"{dice.random()}")
        elif move in ("accept", "reject", "remove"):
            asked = list((await call(me, "contact.list"))["contacts"])
            if asked and dice.random() < 0.8:
                other = dice.choice(asked)["user"]["user"]
            await call(me, f"contact.{move}", user=other)
        elif move == "block":
            await call(me, "contact.block", user=other, on=dice.random() < 0.5)
        elif move == "purge":
            await self._purge(room, before=self.house.clock.wall_ms() - dice.choice([0, 5, 500, 20_000]))
        elif move == "tick":
            self.house.clock.advance(dice.choice([0.001, 0.3, 20.0]))
        elif move == "stale":
            await self._carry()
            await dice.choice(self.replicas[me]).catch_up(self.house, dice.randint(1, 5))
        elif move == "pump":
            await self._carry()

    async def _purge(self, room: str, before: int) -> None:
        """As retention does it: what was said before this moment (ms) is deleted."""
        for name, first in await self.house.rows(select(conversation.c.conversation, conversation.c.first_kept)):
            if name == room:
                await self.house.rooms.im._parts.retention._purge(room, before, first)
        for name, first in await self.house.rows(select(conversation.c.conversation, conversation.c.first_kept)):
            self.first[name] = first

    async def _carry(self) -> None:
        """What waits goes to fan-out; now and then it comes from a broker that lost, repeated or shuffled some."""
        if self.dice.random() < 0.3:
            records = [evolve(record, inline=None) for record in self.house.outbox.take("stored")]
            if self.dice.random() < 0.5:
                records = [*self.dice.sample(records, len(records)), *records[:2]]
            await self.house.rooms.fanout.stored(records)
        await self.house.pump()

    async def check(self) -> None:
        """Every copy of everybody's, brought up to now, equals a fresh one, the model, and what `history` shows."""
        await self._carry()
        for user in self.users:
            fresh = Replica(user)
            await fresh.catch_up(self.house, 100)
            shown = fresh.shown()
            for old in self.replicas[user]:
                await old.catch_up(self.house, self.dice.randint(1, 7))
                assert old.shown() == shown
            for name in self.rooms:
                await self._check_room(user, name, fresh)
            for push in self.house.pushed(user):
                if push.event == "message":
                    assert user in self.heard[push.conversation][push.seq]

    async def _check_room(self, user: str, name: str, fresh: Replica) -> None:
        first = self.first.get(name, 1)
        allowed = {seq for seq, who in self.heard[name].items() if user in who and seq >= first}
        entry = fresh.inbox.get(name)
        if entry is None:
            assert not allowed
            return
        assert bool(entry.get("left")) == (user not in self.inside[name])
        assert set(fresh.copies[name].messages) == allowed
        found: list[Any] = []
        page = await self.house.call(user, "history", conversation=name, limit=3)
        while page["messages"]:
            found = page["messages"] + found
            page = await self.house.call(user, "history", conversation=name, before=seqs(page)[0], limit=3)
        assert found == [fresh.copies[name].messages[seq] for seq in sorted(allowed)]
        if not entry.get("left"):
            present = fresh.copies[name].present
            assert set(present) == self.inside[name]
            members = (await self.house.call(user, "group.members", conversation=name, limit=100))["members"]
            assert {one["user"]["user"]: one for one in members} == present
            assert await self.house.call(user, "group.get", conversation=name) == fresh.copies[name].conversation
            own = max((seq for seq in allowed if fresh.copies[name].messages[seq]["sender"] == user
                       and fresh.copies[name].messages[seq]["kind"] != "system"), default=0)  # fmt: skip
            floor = max(entry["read"], entry["spans"][-1][0] - 1, own, first - 1)
            assert entry["unread"] == max(0, self.heads[name] - floor)


async def live(store: Store, seed: int, steps: int, hot: int) -> set[str]:
    """A world of ``steps`` random steps, looked at now and then; what happened in it."""
    async with opened(store, fanout=FanoutSettings(hot_members=hot)) as house:
        users = await house.users(*PEOPLE)
        world = World(house, random.Random(seed), users)
        for user in users:
            world.replicas[user] = [Replica(user), Replica(user)]
            await world.replicas[user][0].catch_up(house, 5)
        for number in range(steps):
            await world.step()
            if number % 20 == 19:
                await world.check()
        await world.check()
        return world.seen


def test_a_client_that_syncs_equals_one_that_starts_over(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    seen: set[str] = set()

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
    @given(seed=st.integers(1, 2**32), steps=st.integers(50, 100), hot=st.sampled_from([2, 3, 500]))
    def run(seed: int, steps: int, hot: int) -> None:
        with fresh_sqlite(sqlite_template, tmp_path_factory.mktemp("world")) as store:
            seen.update(asyncio.run(live(store, seed, steps, hot)))

    run()
    often = {"say", "edit", "recall", "react", "invite", "kick", "leave", "read", "set", "rename", "direct", "ask"}
    assert seen >= often | {"not_found", "not_a_member", "not_permitted"}, "these happened in no world"


@pytest.mark.parametrize(("seed", "hot"), [(1, 500), (2, 3)])
async def test_the_same_on_each_engine(store: Store, seed: int, hot: int) -> None:
    assert await live(store, seed, 80, hot)
