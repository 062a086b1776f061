"""The room's table of contents: its commands."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from chat_common import wire
from chat_common.ports.database import Database
from chat_common.ports.files import Attachments
from chat_common.records import Caller, Command, Context, Screens, Task

from chat_server.contributions import RoomContributions, screens_texts
from chat_server.logic import contacts, direct, reports, search, users
from chat_server.logic.groups import create, invitations, members, roles
from chat_server.logic.restamping import Restamping
from chat_server.logic.settings import LogicSettings
from chat_server.services import Deliver
from chat_server.store.executor import CommandExecutor
from chat_server.store.first_handles import give_portion
from chat_server.store.reports import Reported


class Logic:
    """Who belongs with whom?"""

    def __init__(
        self,
        database: Database,
        executor: CommandExecutor,
        inbox_of: direct.InboxOf,
        deliver: Deliver,
        settings: LogicSettings,
        attachments: Attachments,
        rename_cost: users.RenameCost | None = None,
    ) -> None:
        self._database = database
        self._deliver = deliver
        self._executor = executor
        self._inbox_of = inbox_of
        self._settings = settings
        self._attachments = attachments
        self._renaming = users.Renaming(settings.users, rename_cost)
        self.restamping = Restamping(database, executor)

    def contributions(self) -> RoomContributions:
        """Its commands, and the work that carries changed names on."""

        async def restamp(_context: Context) -> None:
            await self.restamping.run()

        async def look(_context: Context) -> None:
            await self.restamping.look()

        async def index(_context: Context) -> None:
            while await self._database.change(search.index_names):
                pass
            while await self._database.change(give_portion):
                pass

        tasks = [
            Task("changed-names", restamp),
            Task("changed-names-left", look, once=True),
            Task("name-index", index, once=True),
        ]
        return RoomContributions(room="logic", commands=self.commands(), tasks=tasks)

    def commands(self) -> Sequence[Command]:
        """The client commands of this room."""
        run, reads, inbox_of = self._executor.run, self._database, self._inbox_of
        groups, rules = self._settings.groups, self._settings.users.rules

        def change(
            name: str,
            request: type[Any],
            reply: Any,
            work: Any,
            summary: str,
            *,
            cost: int = 1,
            screens: Screens | None = None,
        ) -> Command:
            async def handler(caller: Caller, params: Any) -> Any:
                return await run(caller, name, params, work, reply)

            return Command(name, request, reply, handler, "keeps", summary=summary, cost=cost, screens=screens)

        def read(name: str, request: type[Any], reply: type[Any], work: Any, summary: str, cost: int = 1) -> Command:
            return Command(name, request, reply, partial(work, reads), "reads", summary=summary, cost=cost)

        one = invitations.OneConversation
        return [
            change(
                "direct.open",
                direct.OpenDirect,
                wire.Inbox,
                partial(direct.open_direct, inbox_of),
                "The direct chat with a user.",
            ),
            change(
                "group.create",
                create.CreateGroup,
                wire.Inbox,
                partial(create.create, groups, rules, inbox_of),
                "Make a group.",
                cost=20,
                screens=screens_texts(name="group.name"),
            ),
            read("group.get", one, wire.Conversation, create.get, "What all members see of a conversation."),
            change(
                "group.update",
                create.UpdateGroup,
                wire.Conversation,
                partial(create.change, rules, self._settings.retention),
                "Change name, avatar, announcement, or who may invite.",
                cost=5,
                screens=screens_texts(name="group.name", announcement="group.announcement"),
            ),
            read("group.members", create.ListMembers, create.MembersPage, create.members, "A page of members.", cost=2),
            change(
                "group.invite",
                members.Users,
                members.Outcome,
                partial(members.invite, groups),
                "Let users in.",
                cost=10,
            ),
            change("group.kick", members.Users, members.Outcome, members.kick, "Put members out."),
            change("group.leave", one, invitations.Nothing, members.go, "Leave a group."),
            change(
                "group.join",
                members.JoinGroup,
                wire.Inbox,
                partial(members.join_by_link, groups, inbox_of),
                "Come in by a group's link.",
                cost=5,
            ),
            change(
                "group.accept",
                one,
                wire.Inbox,
                partial(invitations.accept, groups, inbox_of),
                "Come into a group that one was invited to.",
            ),
            change("group.reject", one, invitations.Nothing, invitations.reject, "Refuse an invitation."),
            change("group.link", members.LinkSet, members.Link, members.set_link, "Make or end the group's link."),
            change("group.role", roles.SetRole, wire.Member, roles.role, "Make somebody an admin or a member."),
            change(
                "group.mute",
                roles.Mute,
                wire.Member | wire.Conversation,
                roles.mute,
                "Mute a member, or the group.",
            ),
            change(
                "group.transfer",
                roles.Transfer,
                wire.Conversation,
                partial(roles.transfer, groups),
                "Hand the group over.",
            ),
            change("group.dissolve", one, invitations.Nothing, roles.dissolve, "End the group for all.", cost=10),
            change(
                "contact.request",
                contacts.RequestContact,
                contacts.ContactState,
                contacts.request,
                "Ask somebody to be a contact.",
                cost=10,
                screens=screens_texts(text="contact.text"),
            ),
            change("contact.accept", contacts.OneUser, contacts.ContactState, contacts.accept, "Accept a request."),
            change("contact.reject", contacts.OneUser, contacts.ContactState, contacts.reject, "Refuse a request."),
            change("contact.remove", contacts.OneUser, contacts.ContactState, contacts.remove, "End a friendship."),
            change("contact.block", contacts.Block, contacts.ContactState, contacts.block, "Block or unblock a user."),
            read(
                "contact.list",
                contacts.ListContacts,
                contacts.ContactsPage,
                contacts.list_contacts,
                "One's contacts.",
                cost=2,
            ),
            read("user.me", users.Nothing, wire.User, users.me, "One's own profile."),
            read("user.get", users.GetUsers, users.Users, users.get, "Profiles by id.", cost=2),
            read(
                "user.search",
                search.SearchUsers,
                search.UsersPage,
                partial(search.search, self._settings.users),
                "Users by their names.",
                cost=5,
            ),
            change(
                "user.report",
                reports.ReportUser,
                Reported,
                partial(reports.report_user, self._settings.reports),
                "Ask those who run the server to look at a user.",
                cost=5,
            ),
            Command(
                "user.rename",
                users.Rename,
                users.Renamed,
                self._rename,
                "keeps",
                summary="Change one's name.",
                cost=20,
                screens=screens_texts(name="user.name"),
            ),
            Command(
                "user.avatar", users.Wear, users.Worn, self._wear, "keeps", summary="Change one's picture.", cost=20
            ),
        ]

    async def _wear(self, caller: Caller, request: users.Wear) -> users.Worn:
        work = partial(users.wear, self._attachments)
        worn: users.Worn = await self._executor.run(caller, "user.avatar", request, work, users.Worn)
        self.restamping.wake()
        await users.tell(self._database, self._deliver, worn.user.user)
        return worn

    async def _rename(self, caller: Caller, request: users.Rename) -> users.Renamed:
        rename = partial(users.rename, self._renaming, caller.ref)
        renamed: users.Renamed = await self._executor.run(caller, "user.rename", request, rename, users.Renamed)
        self.restamping.wake()
        await users.tell(self._database, self._deliver, renamed.user.user)
        return renamed
