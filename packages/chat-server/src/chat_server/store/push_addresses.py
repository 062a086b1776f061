"""Push addresses: where the device of a login is reached while its user is away. One a login, and it lives as long as
that. Everything that touches the table stands here; each function runs in its caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen
from sqlalchemy import Connection, and_, delete, exists, select, update

from chat_server.store.account_schema import login, push_address
from chat_server.store.rights import lives
from chat_server.store.schema import user
from chat_server.store.statements import upsert

MOST = 10
"""Addresses of one user. The one that was subscribed longest ago goes when another comes."""


@frozen
class PushAddress:
    """``device`` is empty for a login that has not named its device; ``address`` is the JSON that was subscribed with;
    ``subscribed_at`` is in ms since 1970."""

    user: str
    login: str
    device: str
    provider: str
    address: str
    subscribed_at: int

    @property
    def key(self) -> tuple[str, int]:
        """Tells it from the others, and from the one that its login had before; good within this process."""
        return self.login, hash((self.provider, self.address))


def keep(connection: Connection, who: str, family: str, provider: str, address: str, now: int) -> None:
    """Keep the address for this login, in the place of the one that it had; the caller has locked it by `device_of`.

    What the user had under the same address by another login goes, for one device is told once; so do the oldest
    above `MOST`.
    """
    mine = push_address.c.user == who
    dead = push_address.c.login.not_in(select(login.c.login).where(login.c.user == who, lives(now)))
    same = and_(push_address.c.provider == provider, push_address.c.address == address)
    connection.execute(delete(push_address).where(mine, push_address.c.login != family, dead | same))
    values = {"provider": provider, "address": address, "subscribed_at": now}
    connection.execute(
        upsert(connection, push_address)
        .values(user=who, login=family, **values)
        .on_conflict_do_update(index_elements=["user", "login"], set_=values)
    )
    others = (
        select(push_address.c.login)
        .where(mine, push_address.c.login != family)
        .order_by(push_address.c.subscribed_at.desc(), push_address.c.login)
    )
    for old in connection.execute(others).scalars().all()[MOST - 1 :]:
        drop(connection, who, old)


def device_of(connection: Connection, who: str, family: str, now: int) -> str | None:
    """The device of a login that lives, empty where it has named none; None: there is no such login.

    Until the end of the transaction nobody ends that login, so that its end finds what is written now, and no other
    login of the user gets an address.
    """
    connection.execute(select(user.c.user).where(user.c.user == who).with_for_update())
    found = connection.execute(
        select(login.c.device).where(login.c.login == family, login.c.user == who, lives(now)).with_for_update()
    ).one_or_none()
    return None if found is None else found.device or ""


def of(connection: Connection, who: str, now: int) -> Sequence[PushAddress]:
    """The user's addresses whose logins live, the newest first."""
    rows = connection.execute(
        select(push_address, login.c.device)
        .join(login, login.c.login == push_address.c.login)
        .where(push_address.c.user == who, lives(now))
        .order_by(push_address.c.subscribed_at.desc(), push_address.c.login)
    )
    return [
        PushAddress(row.user, row.login, row.device or "", row.provider, row.address, row.subscribed_at) for row in rows
    ]


def drop(connection: Connection, who: str, family: str) -> None:
    """The login has no address any more."""
    connection.execute(delete(push_address).where(push_address.c.user == who, push_address.c.login == family))


def drop_device(connection: Connection, who: str, device: str) -> None:
    """No login of the user on this device has an address any more."""
    on_it = select(login.c.login).where(login.c.user == who, login.c.device == device)
    connection.execute(delete(push_address).where(push_address.c.user == who, push_address.c.login.in_(on_it)))


def drop_dead(connection: Connection, dead: Sequence[PushAddress]) -> None:
    """The platform knows these no longer; one that the login has subscribed with in the meantime stays."""
    for each in dead:
        connection.execute(
            delete(push_address).where(
                push_address.c.user == each.user,
                push_address.c.login == each.login,
                push_address.c.provider == each.provider,
                push_address.c.address == each.address,
            )
        )


def hand_over(connection: Connection, who: str, family: str, heir: str) -> None:
    """The login ends, its device goes on under ``heir``: that takes the address over, unless it has its own."""
    if not connection.execute(
        select(exists().where(push_address.c.user == who, push_address.c.login == heir))
    ).scalar_one():
        connection.execute(
            update(push_address).where(push_address.c.user == who, push_address.c.login == family).values(login=heir)
        )
    drop(connection, who, family)
