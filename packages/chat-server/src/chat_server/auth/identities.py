"""Who a proven identity is: the one look-up of identities, and the only place where a login makes a user."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

import structlog
from attrs import frozen
from chat_common import wire
from chat_common.errors import NotPermitted
from chat_common.ports.identity import Proof
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from chat_server.auth.neighbours import Neighbours
from chat_server.auth.settings import AuthSettings
from chat_server.store import views
from chat_server.store.account_schema import identity
from chat_server.store.statements import any_pair, pairs
from chat_server.store.tx import Tx

log = structlog.get_logger("chat.auth")


def find(connection: Connection, proof: Proof) -> str | None:
    """Return the user of a proven identity, by its own subject or else by an alias; None for nobody yet."""
    mine = (proof.provider, proof.subject)
    wanted = [mine, *proof.aliases]
    rows = connection.execute(
        select(identity.c.provider, identity.c.subject, identity.c.user).where(
            any_pair(identity.c.provider, identity.c.subject, "wanted")
        ),
        {"wanted": pairs(wanted)},
    )
    users = {(row.provider, row.subject): str(row.user) for row in rows}
    found = [users[pair] for pair in wanted if pair in users]
    if len(set(found)) > 1:
        # Two accounts of one person stay two: merging them would hand the one's past to whoever holds the other.
        log.warning("identities_of_two_users", provider=proof.provider, users=sorted(set(found)))
    return found[0] if found else None


def keep(connection: Connection, user: str, identities: Sequence[tuple[str, str]]) -> None:
    """Add the identities that are not there yet; one that is somebody else's stays his."""
    for provider, subject in identities:
        known = select(identity.c.user).where(identity.c.provider == provider, identity.c.subject == subject)
        if connection.execute(known).first() is None:
            connection.execute(identity.insert(), {"provider": provider, "subject": subject, "user": user})


@frozen
class Identities:
    """Finds the user of a proof, or makes one where registration allows it."""

    neighbours: Neighbours
    settings: AuthSettings

    def admit(self, invite: str | None = None) -> None:
        """`NotPermitted` unless a new person may come in with this code."""
        if self.settings.registration == "closed":
            raise NotPermitted("New accounts cannot be made here.", reason="closed")
        if self.settings.registration == "invite":
            given = (invite or "").strip().encode()
            # Every code is compared, so that the time tells nothing.
            if not sum(hmac.compare_digest(given, code.encode()) for code in self.settings.invite if code):
                message = "invite: An invite code is needed here, and this one is not good."
                raise NotPermitted(message, field="invite", reason="invite")

    def resolve(self, tx: Tx, proof: Proof, *, invited: bool = False) -> wire.User:
        """Return the user of this proof, made at its first use, with all its identities kept.

        ``invited``: the caller vouches for the person, so that registration is not asked. `NotPermitted`: somebody new
        where registration is not open.
        """
        known = find(tx.connection, proof)
        if known is None:
            if not invited:
                self.admit(None)
            try:
                # A savepoint: of two nodes that meet somebody new at once, the later one finds the earlier one's user.
                with tx.connection.begin_nested():
                    who = self.neighbours.create_user(tx, proof.name, None)
                    # Not by `keep`: what was not there a moment ago and is there now must fail, not be passed over.
                    mine = {"provider": proof.provider, "subject": proof.subject, "user": who.user}
                    tx.connection.execute(identity.insert(), mine)
                    keep(tx.connection, who.user, proof.aliases)
                return who
            except IntegrityError:
                known = find(tx.connection, proof)
                if known is None:
                    raise
        if proof.aliases:
            keep(tx.connection, known, [(proof.provider, proof.subject), *proof.aliases])
        return views.users_by_id(tx.connection, [known])[known]
