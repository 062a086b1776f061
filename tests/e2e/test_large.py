"""A conversation of 100,000 messages and a list of 1,000 conversations: the page holds a few, and stays fluid."""

from __future__ import annotations

import json
import time
from pathlib import Path

from chat_server.store import schema
from playwright.async_api import Browser, expect
from sqlalchemy import create_engine, insert, select, update
from sqlalchemy.engine import Connection

from tests.e2e.person import WAIT, Person
from tests.e2e.server import Server

MESSAGES = 100_000
ROOMS = 1_000
NODES = 2_000

# Scrolls in steps of a wheel, one frame each; reports frame times, and jumps: a row that moved otherwise than scrolled.
SCROLL = """async ([selector, rows, step, steps]) => {
  const box = document.querySelector(selector);
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const frames = [], seen = new Set();
  let jumps = 0, most = 0, last = performance.now();
  for (let n = 0; n < steps; n += 1) {
    const all = [...box.querySelectorAll(rows)];
    const edge = box.getBoundingClientRect();
    const middle = all.find((row) => row.getBoundingClientRect().bottom > edge.top + edge.height / 2);
    const before = middle?.getBoundingClientRect().top, from = box.scrollTop;
    box.scrollTop += step;
    const moved = from - box.scrollTop;
    await frame();
    if (middle?.isConnected && Math.abs(middle.getBoundingClientRect().top - before - moved) > 2) jumps += 1;
    for (const row of all) seen.add(row.dataset.seq ?? row.dataset.id);
    most = Math.max(most, document.getElementsByTagName("*").length);
    const now = performance.now();
    frames.push(now - last);
    last = now;
  }
  frames.sort((one, other) => one - other);
  const at = (part) => frames[Math.floor(frames.length * part)];
  const seqs = [...seen].map(Number).sort((one, other) => one - other);
  const holes = seqs.filter((seq, index) => index > 0 && seq !== seqs[index - 1] + 1).length;
  return { jumps, holes, seen: seen.size, nodes: most, median: at(0.5), p95: at(0.95), worst: frames.at(-1) };
}"""


def fill(database: Path, conversation: str, me: str, other: str) -> None:
    """Writes what would take long to say: the server is not running."""
    engine = create_engine(f"sqlite:///{database}")
    now = int(time.time() * 1000)
    with engine.begin() as connection:
        seqs = range(_head(connection, conversation) + 1, MESSAGES + 1)
        _say(connection, conversation, me, other, seqs, now)
        for number in range(ROOMS):
            room = f"room{number:04}"
            row = {"conversation": room, "kind": "group", "name": f"Room {number}", "members": 2, "head_rev": 1}
            row |= {"changed_rev": 1, "created_at": now, "touched_at": now}
            connection.execute(insert(schema.conversation), row)
            connection.execute(insert(schema.fanned), {"conversation": room, "rev": 1})
            for user in (me, other):
                row = {"conversation": room, "user": user, "role": "owner" if user == other else "member", "rev": 1}
                row |= {"joined_at": now, "activity": now - number * 60_000, "diffused": 1, "version": 1}
                connection.execute(insert(schema.member), row)
            _say(connection, room, me, other, range(1, 3), now - number * 60_000)
    engine.dispose()


def _head(connection: Connection, conversation: str) -> int:
    table = schema.conversation
    found: int = connection.execute(select(table.c.head_seq).where(table.c.conversation == conversation)).scalar_one()
    return found


def _say(connection: Connection, conversation: str, me: str, other: str, seqs: range, end: int) -> None:
    table = schema.conversation
    rev: int = connection.execute(select(table.c.head_rev).where(table.c.conversation == conversation)).scalar_one()
    connection.execute(
        insert(schema.message),
        [
            {
                "conversation": conversation,
                "seq": seq,
                "rev": rev + step,
                "sender": me if seq % 5 == 0 else other,
                "ref": f"{conversation}-{seq}",
                "hash": b"",
                "kind": "text",
                "body": json.dumps({"text": f"number {seq} " + "la " * (seq * 7 % 80)}),
                "time": end - (len(seqs) - step) * 60_000,
            }
            for step, seq in enumerate(seqs, 1)
        ],
    )
    head = {"head_seq": seqs[-1], "head_rev": rev + len(seqs), "head_time": end, "touched_at": end}
    connection.execute(update(table).where(table.c.conversation == conversation).values(head))
    fanned = schema.fanned
    connection.execute(update(fanned).where(fanned.c.conversation == conversation).values(rev=rev + len(seqs)))
    connection.execute(
        update(schema.member)
        .where(schema.member.c.conversation == conversation)
        .values(activity=end, diffused=rev + len(seqs), read_seq=seqs[-1])
    )


async def test_stays_fluid(browser: Browser, server: Server) -> None:
    bob = await (await Person.arrive(browser, server.url, "Bob")).log_in()
    ada = await (await Person.arrive(browser, server.url, "Ada")).log_in()
    await ada.find("Bob")
    await ada.say("the first")
    await bob.open("Ada")
    await bob.sees("the first")
    await bob.say("the second")
    await ada.sees("the second")
    conversation = ada.page.url.partition("#/")[2]
    me, other = await ada.id(), await bob.id()
    await bob.context.close()
    await ada.page.goto("about:blank")
    await server.stop()
    fill(server.database, conversation, me, other)
    await server.start()

    began = time.monotonic()
    await ada.page.goto(server.url)
    await ada.page.locator(".list-row").first.wait_for()
    usable = time.monotonic() - began
    painted = await ada.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    await expect(ada.page.locator(".list-row").first).to_have_attribute("aria-setsize", str(ROOMS + 1), timeout=WAIT)
    rooms = await ada.page.evaluate(SCROLL, [".list-scroll", ".list-row", 300, 260])
    assert await ada.page.locator(".list-row").last.text_content()
    began = time.monotonic()
    await ada.page.goto(f"{server.url}#/{conversation}")
    await ada.page.locator(".message").first.wait_for()
    opened = time.monotonic() - began
    await ada.sees(f"number {MESSAGES} ")
    up = await ada.page.evaluate(SCROLL, [".timeline", ".row[data-seq]", -120, 1200])
    down = await ada.page.evaluate(SCROLL, [".timeline", ".row[data-seq]", 120, 600])
    print(f"\nfirst paint {painted:.0f} ms, list usable {usable:.2f} s, conversation open {opened:.2f} s")
    for name, measured in (("1,000 rooms", rooms), ("100,000 messages up", up), ("and down", down)):
        print(name, {key: round(value, 1) for key, value in measured.items()})
        assert measured["nodes"] < NODES
        assert measured["jumps"] == 0
        assert measured["median"] < 34  # two frames: scrolling is seen as smooth
    assert rooms["seen"] >= ROOMS
    assert (up["holes"], down["holes"]) == (0, 0)
    assert up["seen"] > 1_000
    await ada.page.get_by_role("button", name="To the newest message").click()
    await ada.sees(f"number {MESSAGES} ")
    assert usable < 5
    assert ada.problems == []
