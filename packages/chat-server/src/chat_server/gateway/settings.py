"""What can be set of the gateway: section ``[gateway]``."""

from __future__ import annotations

from attrs import define, field
from chat_common.protocol.window import WindowLimits

from chat_server.gateway.streams import StreamSettings


@define(frozen=True, kw_only=True)
class GatewaySettings:
    """Durations in seconds, sizes in bytes, windows in frames."""

    heartbeat: float = field(
        default=30.0,
        metadata={"help": "Seconds between two beats to a client; silence for 1.5 times as long ends its connection."},
    )
    hello_timeout: float = field(default=10.0, metadata={"help": "Seconds from the connection to its welcome."})
    ack_timeout: float = field(
        default=20.0,
        metadata={"help": "Seconds until pushes that nobody acknowledged are asked for once; as long again: the end."},
    )
    guests: int = field(
        default=64,
        metadata={"help": "Guests of one address who wait for a login at most (IPv6: a /64). This machine is exempt."},
    )
    guest_lifetime: float = field(
        default=120.0,
        metadata={"help": "Seconds that a guest may take to begin a login; then it lives as long as its ticket."},
    )
    resume_for: float = field(
        default=120.0, metadata={"help": "Seconds that a session without a connection waits to be resumed."}
    )
    window: int = field(default=256, metadata={"help": "Pushes of one session that may be unacknowledged."})
    window_bytes: int = field(default=1 << 20, metadata={"help": "Bytes of one session's unacknowledged pushes."})
    backlog: int = field(
        default=1024,
        metadata={"help": "Pushes that wait for room in a full window; beyond it the client lags and syncs."},
    )
    backlog_bytes: int = field(default=4 << 20, metadata={"help": "Bytes of what waits for room in a full window."})
    slow_timeout: float = field(
        default=20.0,
        metadata={"help": "Seconds that a socket may refuse to take bytes before it is closed as too slow."},
    )
    max_open_calls: int = field(
        default=128, metadata={"help": "Running calls of one session above which no more is read from its socket."}
    )
    lease: float = field(
        default=60.0, metadata={"help": "Seconds that a session's route in the directory lasts unless renewed."}
    )
    grace: float = field(
        default=1.0,
        metadata={"help": "Seconds after which a session below its user's version counts as behind, not as under way."},
    )
    cursor_cache_size: int = field(
        default=100_000, metadata={"help": "Conversations whose newest delivered rev is remembered, to drop doubles."}
    )
    drain_wait: float = field(
        default=0.0,
        metadata={
            "help": "Seconds between a stop (SIGTERM), from which /readyz answers 503, and the end of accepting: what a"
            " balancer needs to notice."
        },
    )
    drain_spread: float = field(
        default=10.0,
        metadata={
            "help": "Seconds, at most, over which the clients of a server that stops are sent away, a hundred or more"
            " every 0.1 s, so that they do not come to the other ones in one moment; 0: all at once."
        },
    )
    drain_timeout: float = field(
        default=10.0, metadata={"help": "Seconds that running calls get to end when the server stops."}
    )

    @property
    def streams(self) -> StreamSettings:
        """What is remembered and read of conversations."""
        return StreamSettings(streams=self.cursor_cache_size, gap=self.backlog)

    @property
    def limits(self) -> WindowLimits:
        """The window of each session."""
        return WindowLimits(self.window, self.window_bytes, self.backlog, self.backlog_bytes)
