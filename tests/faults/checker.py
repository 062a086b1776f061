"""Judges a ledger: what was lost, doubled, swapped, leaked, promised and not kept.

Each rule is a function that yields findings; `check` runs them all. `windows` counts the faults that hit.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise

from attrs import frozen
from chat_common.wire import Message
from msgspec import UNSET

from tests.faults.ledger import Ledger, Moved, Outcome, Promised, Room


@frozen
class Finding:
    kind: str
    text: str


def check(ledger: Ledger, outcome: Outcome) -> list[Finding]:
    """All findings; an empty list is the proof."""
    rules = (
        numbering,
        receipts,
        refusals,
        ghosts,
        told,
        sender_order,
        intervals,
        streams,
        acks,
        complaints,
        gaps,
        states,
    )
    return [finding for rule in rules for finding in rule(ledger, outcome)]


def numbering(ledger: Ledger, outcome: Outcome) -> Iterator[Finding]:
    """`seq` is 1, 2, 3 … and a (sender, ref) stands once."""
    for name, room in outcome.rooms.items():
        seqs = sorted(room.messages)
        if seqs != list(range(1, len(seqs) + 1)):
            missing = sorted(set(range(1, max(seqs, default=0) + 1)) - set(seqs))
            yield Finding("lost", f"{name}: no message has seq {missing[:5]}")
        refs = Counter((message.sender, message.ref) for message in _said(room))
        for (sender, ref), count in refs.items():
            if count > 1:
                yield Finding("doubled", f"{name}: {sender} {ref} is stored {count} times")


def receipts(ledger: Ledger, outcome: Outcome) -> Iterator[Finding]:
    """Every receipt is honoured: the message stands there, as sent, and a retry gets the same receipt."""
    first: dict[tuple[str, str], Promised] = {}
    for promise in ledger.promised:
        key = (promise.user, promise.ref)
        told = first.setdefault(key, promise)
        one, other = [(each.seq, each.rev, each.time) for each in (told, promise)]
        if one != other:
            yield Finding("receipt", f"{key}: the first receipt says seq, rev, time {one}, a later one {other}")
        message = _room(outcome, promise.conversation).messages.get(promise.seq)
        if message is None:
            yield Finding("receipt", f"{promise.conversation}/{promise.seq} was promised to {key} and is not there")
        elif (message.sender, message.ref) != key:
            yield Finding("receipt", f"{promise.conversation}/{promise.seq} was promised to {key}, is {message.ref}")
        elif message.edited_at is UNSET and message.recalled is UNSET:
            sent = ledger.sent.get(key)
            if sent is not None and (message.conversation, message.body) != (sent.conversation, {"text": sent.text}):
                yield Finding("receipt", f"{promise.conversation}/{promise.seq} is not what {key} sent")
    answered = first.keys() | {(entry.user, entry.ref) for entry in ledger.refused}
    for key in ledger.sent.keys() - answered:
        yield Finding("receipt", f"{key} was never answered")


def refusals(ledger: Ledger, outcome: Outcome) -> Iterator[Finding]:
    """What was refused for good is not there."""
    stored = {(message.sender, message.ref) for room in outcome.rooms.values() for message in _said(room)}
    for entry in ledger.refused:
        if entry.final and (entry.user, entry.ref) in stored:
            yield Finding("ghost", f"{entry.user} {entry.ref} was refused ({entry.code}) and is stored")


def ghosts(ledger: Ledger, outcome: Outcome) -> Iterator[Finding]:
    """Nobody reads what nobody sent."""
    for name, room in outcome.rooms.items():
        for message in _said(room):
            if (message.sender, message.ref) not in ledger.sent:
                yield Finding("ghost", f"{name}/{message.seq} of {message.sender} was never sent")


def told(ledger: Ledger, outcome: Outcome) -> Iterator[Finding]:
    """Every client was told of exactly the messages of its intervals, once each, in order of `seq`."""
    seen: dict[tuple[str, str], list[int]] = defaultdict(list)
    for entry in ledger.heard:
        seen[entry.client, entry.message.conversation].append(entry.message.seq)
        true = _room(outcome, entry.message.conversation).messages.get(entry.message.seq)
        if true is None or (true.sender, true.ref) != (entry.message.sender, entry.message.ref):
            where = f"{entry.message.conversation}/{entry.message.seq}"
            yield Finding("ghost", f"{entry.client} was told of {where}, which is another message in the store")
    for client, user in outcome.users.items():
        for name, room in outcome.rooms.items():
            seqs = seen.get((client, name), [])
            twice = [seq for seq, count in Counter(seqs).items() if count > 1]
            if twice:
                yield Finding("doubled", f"{client} was told {name}/{twice[:5]} more than once")
            swapped = [(a, b) for a, b in pairwise(seqs) if b < a]
            if swapped:
                yield Finding("order", f"{client} was told {name} out of order: {swapped[:5]}")
            mine = {seq for seq in room.messages if room.sees(user, seq)}
            if missed := sorted(mine - set(seqs)):
                yield Finding("lost", f"{client} never saw {name}/{missed[:5]} ({len(missed)} in all)")
            if foreign := sorted(set(seqs) - mine):
                yield Finding("leak", f"{client} saw {name}/{foreign[:5]} outside its intervals")


def sender_order(ledger: Ledger, outcome: Outcome) -> Iterator[Finding]:
    """What one sender says in one conversation is numbered in the order in which it was sent."""
    for name, room in outcome.rooms.items():
        last: dict[str, tuple[int, int]] = {}
        for seq in sorted(room.messages):
            message = room.messages[seq]
            sent = ledger.sent.get((message.sender, message.ref))
            if sent is None:
                continue
            at, before = last.get(message.sender, (0, 0))
            if sent.at < at:
                yield Finding("order", f"{name}: {message.sender} sent {seq} before {before}")
            last[message.sender] = (sent.at, seq)


def intervals(ledger: Ledger, outcome: Outcome) -> Iterator[Finding]:
    """The spans that the server tells agree with what the replies to invite, kick and leave made certain."""
    moves: dict[tuple[str, str], list[Moved]] = defaultdict(list)
    for move in ledger.moved:
        moves[move.user, move.conversation].append(move)
    promised = {(entry.user, entry.ref): entry for entry in reversed(ledger.promised)}
    for (user, name), changes in moves.items():
        room = _room(outcome, name)
        for seq, message in room.messages.items():
            sent = ledger.sent.get((message.sender, message.ref))
            receipt = promised.get((message.sender, message.ref))
            if sent is None or receipt is None:
                continue
            inside = membership(changes, sent.at, receipt.at)
            if inside is True and not room.sees(user, seq):
                yield Finding("lost", f"{user} was a member when {name}/{seq} was said, its spans deny it")
            if inside is False and room.sees(user, seq):
                yield Finding("leak", f"{user} was no member when {name}/{seq} was said, its spans hold it")


def membership(changes: Iterable[Moved], began: int, ended: int) -> bool | None:
    """Whether one was a member for certain all the time from ``began`` to ``ended``; None: nobody can know."""
    changes = list(changes)
    if any(change.began < ended and change.ended > began for change in changes):
        return None
    before = [change for change in changes if change.ended <= began]
    last = {
        change.how
        for change in before
        if not any(other.began > change.ended for other in before if other is not change)
    }
    if not before:
        return False
    return None if len(last) > 1 else last == {"in"}


def streams(ledger: Ledger, outcome: Outcome) -> Iterator[Finding]:
    """Per session and conversation, pushes came in strictly growing `rev`: nothing was written twice."""
    held: dict[tuple[str, str], int] = {}
    for push in ledger.pushed:
        key = (push.session, push.conversation)
        if push.rev <= held.get(key, 0):
            where = f"{push.client}: push {push.count} of session {push.session}"
            yield Finding("stream", f"{where} has {push.conversation} rev {push.rev} after {held[key]}")
        held[key] = max(push.rev, held.get(key, 0))


def acks(ledger: Ledger, outcome: Outcome) -> Iterator[Finding]:
    """Nobody acknowledges what was not received, or goes back."""
    held: dict[tuple[str, str], int] = {}
    for ack in ledger.acked:
        if ack.received > ack.counted:
            yield Finding("ack", f"{ack.client} acknowledged {ack.received} of {ack.counted} pushes")
        if ack.received < held.get((ack.client, ack.session), 0):
            yield Finding("ack", f"{ack.client} took an acknowledgement back")
        held[ack.client, ack.session] = ack.received


def complaints(ledger: Ledger, outcome: Outcome) -> Iterator[Finding]:
    for complaint in ledger.complaints:
        yield Finding("complaint", f"{complaint.client}: {complaint.text}")


def gaps(ledger: Ledger, outcome: Outcome) -> Iterator[Finding]:
    """No client had to ask for what pushes and syncs owed it, though it holds everything in the end.

    What the server denied may be seen is not owed: a client can hear late that it was out for a while.
    """
    for gap in (each for each in ledger.repaired if each.found):
        where = f"{gap.conversation}/{gap.first}–{gap.last}"
        yield Finding("gap", f"{gap.client} missed {where} after a sync; history brought {list(gap.found)}")


def states(ledger: Ledger, outcome: Outcome) -> Iterator[Finding]:
    """A client that went through all of it holds what a fresh one is told."""
    for client, picture in outcome.pictures.items():
        fresh = outcome.fresh[client]
        if picture != fresh:
            yield Finding("state", f"{client}: {'; '.join(difference(picture, fresh))}")


def difference(one: object, other: object, path: str = "") -> list[str]:
    """Where two pictures differ, at most five places."""
    if isinstance(one, dict) and isinstance(other, dict):
        found = []
        for key in [*one, *(key for key in other if key not in one)]:
            found += difference(one.get(key), other.get(key), f"{path}.{key}")
        return found[:5]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            text for n, pair in enumerate(zip(one, other, strict=True)) for text in difference(*pair, f"{path}[{n}]")
        ][:5]
    return [] if one == other else [f"{path}: {str(one)[:200]} ≠ {str(other)[:200]}"]


@frozen
class Windows:
    """How often a fault hit a moment in which a careless system loses or doubles something."""

    commit_receipt: int
    push_ack: int
    resumed: int
    resume_refused: int

    @property
    def all_hit(self) -> bool:
        return min(self.commit_receipt, self.push_ack, self.resumed, self.resume_refused) > 0


def windows(ledger: Ledger) -> Windows:
    """Counts the hits.

    commit–receipt: the message was stored before a kill, and its receipt came only after it. push–ack: a line broke
    with pushes read and not acknowledged. resume: a session went on, or was refused and synced.
    """
    promised = {(entry.user, entry.ref): entry for entry in reversed(ledger.promised)}
    between = 0
    for key, sent in ledger.sent.items():
        receipt = promised.get(key)
        if receipt is not None:
            kills = [kill for kill in ledger.killed if sent.at < kill.at < receipt.at]
            between += bool(kills) and receipt.time < kills[0].wall
    return Windows(
        commit_receipt=between,
        push_ack=sum(line.unacked > 0 for line in ledger.lost_lines),
        resumed=sum(welcome.resumed for welcome in ledger.welcomes),
        resume_refused=sum(welcome.asked and not welcome.resumed for welcome in ledger.welcomes),
    )


RULES = (numbering, receipts, refusals, ghosts, told, sender_order, intervals, streams, acks, complaints, gaps, states)


def _said(room: Room) -> list[Message]:
    """Messages of people, not of the server."""
    return [message for message in room.messages.values() if message.kind != "system"]


def _room(outcome: Outcome, name: str) -> Room:
    return outcome.rooms.get(name) or Room({}, {})
