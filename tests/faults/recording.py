"""Puts a `ChatClient` under observation: what is on the wire, and what it tells its user."""

from __future__ import annotations

from typing import Any, Literal

from chat_common.client import Backoff, ChatClient, GapFound, LineClosed, MessageReceived, Opener, Receipt
from chat_common.client import Refused as FrameRefused
from chat_common.client.line import Line, WebSocketLine, open_websocket
from chat_common.client.sending import PASSING
from chat_common.codec.json import JsonCodec
from chat_common.errors import ChatError
from chat_common.protocol.frames import Ack, Device, Hello, Lagged, Push
from chat_common.protocol.frames import Welcome as WelcomeFrame

from tests.faults.ledger import Acked, Complaint, Ledger, LineLost, Pushed, Repaired, Welcome

codec = JsonCodec()


class Tap:
    """The wire of one client: an `Opener` whose lines write into the ledger. It outlives them."""

    def __init__(self, ledger: Ledger, client: str, opener: Opener = open_websocket) -> None:
        self.ledger = ledger
        self.client = client
        self.opener = opener
        self.session = ""
        self.counted = 0
        self.acked = 0
        self.asked = False
        self.line: TappedLine | None = None

    async def __call__(self, url: str) -> Line:
        self.line = TappedLine(self, await self.opener(url))
        return self.line

    def cut(self) -> None:
        """Break the connection without a word, as a network would."""
        if self.line is not None:
            self.line.abort()

    def came(self, message: bytes) -> None:
        for frame in codec.server_frames(message):
            if isinstance(frame, WelcomeFrame):
                if not frame.resumed:
                    self.counted = self.acked = 0
                self.session = frame.session
                self.ledger.welcomes.append(
                    Welcome(self.ledger.now(), self.client, frame.session, frame.resumed, self.asked)
                )
            elif isinstance(frame, Lagged):
                self.counted += 1
            elif isinstance(frame, Push):
                self.counted += 1
                self._pushed(frame.data)

    def _pushed(self, data: Any) -> None:
        if isinstance(data, dict) and "rev" in data and "conversation" in data:
            where, rev = data["conversation"], data["rev"]
            now = self.ledger.now()
            self.ledger.pushed.append(Pushed(now, self.client, self.session, self.counted, where, rev))

    def went(self, message: bytes) -> None:
        for frame in codec.client_frames(message):
            if isinstance(frame, Hello):
                self.asked = frame.resume is not None
            elif isinstance(frame, Ack):
                now = self.ledger.now()
                self.ledger.acked.append(Acked(now, self.client, self.session, frame.received, self.counted))
                self.acked = frame.received

    def broke(self) -> None:
        self.line = None
        self.ledger.lost_lines.append(LineLost(self.ledger.now(), self.client, self.counted - self.acked))


class TappedLine:
    def __init__(self, tap: Tap, line: Line) -> None:
        self.tap = tap
        self.line = line

    def abort(self) -> None:
        assert isinstance(self.line, WebSocketLine)
        self.line._socket.transport.abort()

    async def receive(self) -> bytes:
        try:
            message = await self.line.receive()
        except LineClosed:
            self.tap.broke()
            raise
        self.tap.came(message)
        return message

    async def send(self, message: bytes) -> None:
        self.tap.went(message)
        await self.line.send(message)

    async def close(self) -> None:
        await self.line.close()


class Watched:
    """One client under observation. ``name`` is its place in the ledger, ``user`` the id of whom it is."""

    def __init__(
        self, ledger: Ledger, url: str, name: str, user: str, token: str, *, opener: Opener | None = None
    ) -> None:
        self.ledger = ledger
        self.name = name
        self.user = user
        self.tap = Tap(ledger, name, opener or open_websocket)
        self.client = ChatClient(
            url,
            token,
            device=Device(name, "test"),
            whole=True,
            backoff=Backoff(first=0.05, longest=0.5),
            opener=self.tap,
        )
        self.client.on(MessageReceived, lambda event: ledger.hear(name, event.message))
        self.client.on(
            FrameRefused, lambda event: ledger.complaints.append(Complaint(ledger.now(), name, str(event.error)))
        )
        self.client.on(GapFound, self._repaired)

    def _repaired(self, gap: GapFound) -> None:
        now = self.ledger.now()
        self.ledger.repaired.append(Repaired(now, self.name, gap.conversation, gap.first, gap.last, gap.found))

    async def say(self, conversation: str, text: str, ref: str, *, queued: bool) -> Receipt | None:
        """Send through the queue, or straight, where several may be on their way; None when it was refused."""
        self.ledger.send(self.user, ref, conversation, text)
        try:
            if queued:
                receipt = await self.client.submit(conversation, text, ref=ref)
            else:
                params = {"conversation": conversation, "kind": "text", "body": {"text": text}}
                receipt = Receipt(**await self.client.call("submit", params, ref=ref))
        except ChatError as error:
            self.ledger.refuse(self.user, ref, error.code, final=not isinstance(error, PASSING))
            return None
        self.ledger.promise(self.user, ref, receipt.conversation, receipt.seq, receipt.rev, receipt.time)
        return receipt

    async def move(self, command: str, conversation: str, users: list[str], how: Literal["in", "out"]) -> None:
        """Invite, kick or leave; the ledger notes whose membership that changed for certain."""
        began = self.ledger.now()
        params: dict[str, Any] = {"conversation": conversation}
        if command != "group.leave":
            params["users"] = users
        try:
            result = await self.client.call(command, params)
        except ChatError as error:
            if isinstance(error, PASSING):
                raise
            return
        done = result.get("done", users)
        self.ledger.move(began, done, conversation, how)
