"""Runs a command: known? who? valid? how often? then plugins' interceptors, then once, then the handler."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
import structlog
from attrs import define, field, frozen
from chat_common.clock import Clock
from chat_common.codec import Codec
from chat_common.errors import (
    ChatError,
    Internal,
    Invalid,
    NotAuthenticated,
    NotPermitted,
    RateLimited,
    RefConflict,
    TooLarge,
)
from chat_common.plugins import Owned, Owner, PluginError
from chat_common.records import Caller, Command, Interceptor
from chat_common.settings import nearest

from chat_server.pipeline.chain import Stage, chains
from chat_server.pipeline.idempotency import Once, Replies
from chat_server.pipeline.limits import LimitSettings, RateLimit
from chat_server.refusals import NAMING, Refusals
from chat_server.services import CommandCall, CommandReply
from chat_server.store.replies import request_hash

_log = structlog.get_logger("chat_server.pipeline")
_OURS = Owner("chat_server.pipeline")
_NOBODY = Caller(None, "")
FIRST_PLUGIN_ORDER = 1000


@define(eq=False)
class Entry:
    """A command in the table, and what has become of its calls: by error code (``ok``), and seconds in all."""

    command: Command
    owner: str
    outcomes: Counter[str] = field(factory=Counter)
    seconds: float = 0.0


class Pipeline:
    """Every transport calls commands through it. Implements `chat_server.services.Gate`; `Commands` is the other half.

    The point ``command`` begins with the built-ins ``authentication`` (0) and ``validation`` (100: the params become
    the request record); plugins stand at 1000 and above. Before it, a transport charges for the call.
    ``role_of(user)``: the role that the store knows; without it nobody is an admin.
    """

    def __init__(
        self,
        commands: Iterable[Owned[Command]],
        interceptors: Iterable[Owned[Interceptor]],
        *,
        codec: Codec,
        clock: Clock,
        replies: Replies,
        limits: LimitSettings | None = None,
        refusals: Refusals | None = None,
        role_of: Callable[[str], Awaitable[str]] | None = None,
    ) -> None:
        self.refusals = refusals or Refusals(clock)
        self._limit = RateLimit(limits or LimitSettings(), clock, self.refusals)
        self._role_of = role_of
        self._codec = codec
        self._replies = replies
        self._once = Once()
        self._table: dict[str, Entry] = {}
        self.elsewhere: Mapping[str, int] = {}
        """The points of commands that run in another process."""
        self.register(commands)
        built_in = [
            Interceptor("authentication", "command", self._authenticate, order=0),
            Interceptor("validation", "command", self._validate, order=100),
        ]
        plugged = list(interceptors)
        for owned_interceptor in plugged:
            if owned_interceptor.record.order < FIRST_PLUGIN_ORDER:
                it = owned_interceptor.record
                raise PluginError(
                    f"{owned_interceptor.owner}: interceptor {it.name!r}: orders below {FIRST_PLUGIN_ORDER} are the"
                    f" server's own, got {it.order}"
                )
        ours = chains([], [Owned(it, _OURS) for it in built_in])
        self._entrance = ours["command"]
        self._chains = chains(plugged, [])
        self._stages = [
            *self._chains["frame_in"].stages,
            *self._entrance.stages,
            *self._chains["command"].stages,
            *self._chains["submit"].stages,
            *self._chains["push"].stages,
        ]

    def register(self, commands: Iterable[Owned[Command]]) -> None:
        """Add commands to the table; `PluginError` for a name that is there already."""
        for owned in commands:
            name = owned.record.name
            if name in self._table:
                other = self._table[name].owner
                raise PluginError(f"The command {name!r} is registered twice: by {other} and by {owned.owner}.")
            self._table[name] = Entry(owned.record, str(owned.owner))

    # --- commands and the gate -------------------------------------------------------------------------------------

    async def call(self, caller: Caller, command: str, params: msgspec.Raw | Mapping[str, Any] | None) -> Any:
        """The reply record; ``params`` as a client sent them, or in process. See `CommandService.call`."""
        entry = self._table.get(command)
        if entry is None:
            raise Invalid(f"unknown command {command!r}: {nearest(command, self._table)}", field="command")
        began, outcome = time.perf_counter(), "ok"
        try:
            return await self._run(entry.command, caller, params)
        except ChatError as error:
            outcome = error.code
            self._note(caller, command, error)
            raise
        except Exception as error:
            outcome = "internal"
            _log.error("command_failed", command=command, user=caller.user, exc_info=error)
            raise Internal("The server failed to handle this request; the failure has been logged.") from error
        except BaseException:
            outcome = "cancelled"
            raise
        finally:
            entry.outcomes[outcome] += 1
            entry.seconds += time.perf_counter() - began

    def _note(self, caller: Caller, command: str, error: ChatError) -> None:
        """Whatever meets a limit is counted by its command, and said once a minute: a full group, a name that is too
        long, tries for a password. Names that were refused are counted by their reason too."""
        if (act := NAMING.get(command)) is not None:
            self.refusals.note_name(act, error)
        if error.limit is not None or isinstance(error, RateLimited | TooLarge):
            which = {"code": error.code, "field": error.field, "limit": error.limit}
            self.refusals.note(command, **which, user=caller.user, address=caller.address)

    def charge(self, caller: Caller, command: str | None = None) -> None:
        """See `chat_server.services.Gate.charge`."""
        entry = None if command is None else self._table.get(command)
        self._limit.charge(caller, self.elsewhere.get(command or "", 1) if entry is None else entry.command.cost)

    @property
    def submit_in_order(self) -> bool:
        """See `chat_server.services.Gate.submit_in_order`."""
        return not (self._chains["command"].waits or self._chains["submit"].waits or self.elsewhere)

    def intercept(self, point: Literal["frame_in", "push"], caller: Caller | None, value: Any) -> Any:
        """See `chat_server.services.Gate.intercept`."""
        return self._chains[point].run(caller or _NOBODY, value)

    def intercepts(self, point: Literal["frame_in", "push"]) -> bool:
        """Whether anything stands at this point at all."""
        return bool(self._chains[point].stages)

    # --- what it is made of ---------------------------------------------------------------------------------------

    @property
    def commands(self) -> Mapping[str, Entry]:
        """The command table, by name."""
        return self._table

    def describe(self) -> Sequence[Stage]:
        """The real pipeline: every interceptor in the order in which it runs."""
        return self._stages

    # --- steps ----------------------------------------------------------------------------------------------------

    async def _run(self, command: Command, caller: Caller, params: Any) -> Any:
        if not 1 <= len(caller.ref) <= 64 and caller.user is not None and command.mode != "reads":
            raise Invalid("ref: A ref has 1 to 64 characters.", field="ref", limit=64)
        if caller.command != command.name or caller.request_hash:
            caller = _named(caller, command.name, b"")
        if command.callers == "admins":
            await self._require_admin(caller)
        request = self._entrance.run(caller, params)
        changes = command.mode != "reads" and caller.user is not None
        if changes:
            # Over the request as the client sent it: a repeated ref must not conflict because a plugin changed it.
            caller = _named(caller, command.name, request_hash(command.name, request))
        chain = self._chains["command"]
        request = await chain.run_waiting(caller, request) if chain.waits else chain.run(caller, request)
        if command.screens is not None and self._chains["submit"].stages:
            request = await command.screens(self.screen, caller, request)
        if not changes or caller.user is None:
            return await command.handler(caller, request)
        handler = command.handler if command.mode == "keeps" else self._keeping(command, caller.user)
        return await self._once.run(caller.user, caller, request, handler)

    async def screen(self, caller: Caller, said: Any) -> Any:
        """What the interceptors at the point ``submit`` make of what somebody says; `ChatError`: one refuses it."""
        chain = self._chains["submit"]
        try:
            return await chain.run_waiting(caller, said) if chain.waits else chain.run(caller, said)
        except ChatError as error:
            error.reason = "interceptor"
            raise

    def _keeping(self, command: Command, user: str) -> Any:
        async def handler(caller: Caller, request: Any) -> Any:
            kept = await self._replies.get(user, caller.ref)
            if kept is not None:
                if kept[0] != caller.request_hash:
                    raise RefConflict("This ref was already used for another request.", field="ref")
                return msgspec.json.decode(kept[1], type=command.reply)
            result = await command.handler(caller, request)
            await self._replies.put(user, caller.ref, caller.request_hash, msgspec.json.encode(result))
            return result

        return handler

    def _authenticate(self, caller: Caller, params: Any) -> Any:
        if caller.user is None and self._table[caller.command].command.callers != "guests":
            raise NotAuthenticated("Log in first.")
        return params

    async def _require_admin(self, caller: Caller) -> None:
        """Asks the store at each call, so that a role that was taken away is gone at once."""
        if caller.user is None:
            raise NotAuthenticated("Log in first.")
        if self._role_of is None or await self._role_of(caller.user) != "admin":
            raise NotPermitted("Only admins may do this.")

    def _validate(self, caller: Caller, params: Any) -> Any:
        request = self._table[caller.command].command.request
        return self._codec.decode(b"" if params is None else params, request)


@frozen
class Commands:
    """The `chat_server.services.CommandService` of a pipeline."""

    pipeline: Pipeline

    async def call(self, call: CommandCall) -> CommandReply:
        """See `chat_server.services.CommandService.call`."""
        return CommandReply.of(await self.pipeline.call(call.caller, call.command, msgspec.Raw(call.params)))


def _named(caller: Caller, command: str, digest: bytes) -> Caller:
    return Caller(
        caller.user,
        caller.ref,
        caller.device,
        caller.session,
        caller.token,
        caller.origin,
        caller.address,
        command,
        digest,
        caller.jti,
    )
