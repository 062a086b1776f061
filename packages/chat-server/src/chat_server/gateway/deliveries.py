"""What the router brings: conversations to their streams, a user's own changes to his sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chat_server.gateway.index import SessionIndex
from chat_server.gateway.presence import Presence
from chat_server.gateway.pushing import Pushing
from chat_server.gateway.streams import Streams
from chat_server.services import Delivery


class Deliveries:
    """``epoch``: the store's as far as this node knows. ``drop`` is asked for each delivery, true loses it: for tests
    that plant losses."""

    def __init__(
        self,
        streams: Streams,
        pushing: Pushing,
        presence: Presence,
        index: SessionIndex,
        epoch: Callable[[], str | None],
        drop: Callable[[Delivery], bool] | None,
    ) -> None:
        self._streams = streams
        self._pushing = pushing
        self._presence = presence
        self._here = index.by_user.keys()
        self._epoch = epoch
        self._drop = drop

    def take(self, deliveries: Sequence[Delivery]) -> None:
        """Put them into the windows. Never waits. What one call brings of a conversation is one unit."""
        units: dict[str, list[Delivery]] = {}
        epoch = self._epoch()
        for delivery in deliveries:
            if delivery.epoch and epoch is not None and delivery.epoch != epoch:
                # From before a restore; or this node has yet to hear of it, and then its check ends all sessions.
                continue
            if self._drop is not None and self._drop(delivery):
                continue
            if delivery.parted:
                self._presence.parted(delivery.parted)
            if delivery.users is not None and self._here.isdisjoint(delivery.users):
                continue  # For other nodes: whoever cannot ask where users are sends to all.
            if delivery.conversation is None or not delivery.last:
                if delivery.users is not None:
                    self._pushing.named([(delivery.pushes, delivery.users)], delivery.conversation)
            elif (unit := units.get(delivery.conversation)) is not None:
                unit.append(delivery)
            else:
                units[delivery.conversation] = [delivery]
        for conversation, unit in units.items():
            self._streams.deliver(conversation, unit)
