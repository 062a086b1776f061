"""The room's table of contents: its commands, nearly all for admins alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from chat_common import wire
from chat_common.ports.cache import Cache
from chat_common.ports.database import Database
from chat_common.records import Caller, Command, Context, Task
from msgspec import UNSET

from chat_server.admin import deletion, downloads, groups, invites, records, reports
from chat_server.admin.neighbours import Neighbours
from chat_server.admin.users import Users
from chat_server.contributions import RoomContributions
from chat_server.store import audit, pages
from chat_server.store.executor import CommandExecutor, caller_user


class Admin:
    """Accounts, groups, invites and the audit. The command line calls the same use cases, under a name of its own."""

    def __init__(
        self,
        database: Database,
        executor: CommandExecutor,
        neighbours: Neighbours,
        cache: Cache,
        exports_a_day: int,
    ) -> None:
        self._database = database
        self._executor = executor
        self.users = Users(database, executor, neighbours)
        self.invites = invites.Invites(database, executor.clock)
        self.groups = groups.Groups(database, executor, neighbours)
        self.reports = reports.Reports(database, executor, neighbours)
        self.deletions = deletion.Deletions(database, executor, neighbours)
        self.exports = downloads.Exports(executor, neighbours, cache, exports_a_day)

    async def audit(self, by: str, request: records.ListNotes) -> records.NotesPage:
        """A page of what was done, the newest first."""
        before = pages.read_cursor("admin.audit.list", request.cursor, tuple[int, str]) if request.cursor else None
        limit = request.limit or pages.DEFAULT
        found = await self._database.read(
            lambda connection: audit.notes(
                connection, about=request.about, act=request.act, before=before, limit=limit + 1
            )
        )
        shown = found[:limit]
        return records.NotesPage(
            notes=[
                records.AuditNote(
                    time=each.time, actor=each.actor, act=each.act, subject=each.subject, details=each.details
                )
                for each in shown
            ],
            cursor=(
                pages.write_cursor("admin.audit.list", shown[-1].time, shown[-1].entry) if len(found) > limit else UNSET
            ),
        )

    def contributions(self) -> RoomContributions:
        """What this room contributes to the server."""

        async def delete(_context: Context) -> None:
            await self.deletions.run()

        async def look(_context: Context) -> None:
            await self.deletions.look()

        tasks = [Task("deleted-accounts", delete), Task("deleted-accounts-left", look, once=True)]
        return RoomContributions(room="admin", commands=self.commands(), tasks=tasks, routes=self.exports.routes())

    def commands(self) -> Sequence[Command]:
        """The client commands of this room: for admins, and those about the caller's own account."""
        users, account = self.users, records.Account

        def command(
            name: str,
            request: type[Any],
            reply: type[Any],
            use_case: Callable[[str, Any], Awaitable[Any]],
            mode: Literal["reads", "changes", "keeps"],
            summary: str,
        ) -> Command:
            async def handler(caller: Caller, params: Any) -> Any:
                return await use_case(caller_user(caller), params)

            return Command(f"admin.{name}", request, reply, handler, mode, callers="admins", summary=summary, cost=5)

        return [
            command("user.list", records.ListAccounts, records.AccountsPage, users.list, "reads", "Find accounts."),
            command("user.show", records.OneUser, account, users.show, "reads", "One account."),
            # Kept replies hold a hash of the request, from which a password could be guessed: hence not "changes".
            command("user.add", records.AddUser, account, users.add, "keeps", "Make an account."),
            command(
                "user.password", records.SetPassword, account, users.set_password, "keeps",
                "Give a user another password, and end every login.",
            ),
            command("user.rename", records.RenameUser, account, users.rename, "changes", "Give a user another name."),
            command("user.role", records.SetRole, account, users.set_role, "changes", "Make a user an admin or not."),
            command("user.ban", records.BanUser, account, users.ban, "changes", "Keep a user out."),
            command("user.unban", records.OneUser, account, users.unban, "changes", "Let a user in again."),
            command("user.logout", records.OneUser, account, users.log_out, "changes", "End every login of a user."),
            command(
                "user.delete", deletion.DeleteUser, deletion.DeletedUser, self.deletions.delete, "changes",
                "Delete an account for good.",
            ),
            # A kept reply would hold the link: hence not "changes".
            command(
                "user.export", records.OneUser, downloads.ExportLink, self.exports.for_admin, "keeps",
                "A link to all that is known of a user.",
            ),
            Command(
                "user.export", downloads.ExportMyself, downloads.ExportLink, self.exports.for_oneself, "keeps",
                summary="A link to all that is known of the caller.", cost=20,
            ),
            # A kept reply would hold a hash of the password: hence not "changes". It changes nothing when repeated.
            Command(
                "user.delete", deletion.DeleteMyself, deletion.DeletedUser, self.deletions.delete_myself, "keeps",
                summary="Delete the caller's own account for good.", cost=20,
            ),
            command("group.list", groups.ListGroups, groups.GroupsPage, self.groups.list, "reads", "Find groups."),
            command("group.show", groups.OneGroup, groups.GroupInfo, self.groups.show, "reads", "One group."),
            command(
                "group.dissolve", groups.OneGroup, groups.GroupInfo, self.groups.dissolve, "changes",
                "End a group for all.",
            ),
            command(
                "group.owner", groups.SetOwner, groups.GroupInfo, self.groups.set_owner, "changes",
                "Hand a group to another of its members.",
            ),
            command(
                "group.retention", groups.SetRetention, groups.GroupInfo, self.groups.set_retention, "changes",
                "Say for how long the messages of a group are kept.",
            ),
            # A kept reply would hold the code: hence not "changes".
            command("invite.new", invites.MakeInvite, invites.InviteMade, self.invites.make, "keeps", "Invite one."),
            command(
                "invite.list", invites.ListInvites, invites.InvitesPage, self.invites.list, "reads", "Who was invited.",
            ),
            command(
                "invite.revoke", invites.OneInvite, invites.Nothing, self.invites.revoke, "changes",
                "End an invite that nobody has used.",
            ),
            command("report.list", reports.ListReports, reports.ReportsPage, self.reports.list, "reads", "What waits."),
            # Its reply is the text of a message, which is kept nowhere else: hence not "changes".
            command("report.show", reports.OneReport, reports.ReportShown, self.reports.show, "keeps", "One report."),
            command(
                "report.close", reports.CloseReport, reports.ReportShown, self.reports.close, "keeps",
                "Close a report, with what came of it.",
            ),
            command(
                "message.recall", reports.TakeDown, wire.Message, self.reports.take_down, "keeps",
                "Take a message down for everybody.",
            ),
            command("user.warn", reports.WarnUser, reports.Warned, self.reports.warn, "changes", "Warn a user."),
            command("audit.list", records.ListNotes, records.NotesPage, self.audit, "reads", "What was done by whom."),
        ]  # fmt: skip
