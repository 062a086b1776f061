"""What the gateway needs of a transport, and what it offers one: nothing else passes between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Framing(Protocol):
    """How encoded frames become what a wire writes. One instance for all wires of a kind, so that the result of a
    thousand equal lists is made once and shared."""

    def pack(self, frames: Sequence[bytes]) -> Any:
        """The frames, in order, as one or several transport messages of at most 128 frames and 1 MiB each."""
        ...


class Wire(Protocol):
    """One client's connection. Nothing here blocks; after its end every method does nothing."""

    @property
    def framing(self) -> Framing: ...

    @property
    def address(self) -> str | None:
        """The client's address, for audit, counting and login pages; None: this machine itself."""
        ...

    @property
    def user(self) -> str | None:
        """The id of the user for whom the application around the server vouches; None: nobody, and tokens decide."""
        ...

    def write(self, packed: Any, /) -> None:
        """Write what `framing` packed."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Close with this code after what was written; a peer that does not take it is dropped."""
        ...

    def abort(self) -> None:
        """Drop the connection at once, with everything that is still unwritten."""
        ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...
