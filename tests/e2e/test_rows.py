"""What somebody looks at stays as it is, whatever is said around it."""

from __future__ import annotations

from playwright.async_api import Browser, expect

from tests.e2e.person import Person
from tests.e2e.server import Server
from tests.e2e.test_marks import CALL, two

# Elements that are made below a place while `act` runs.
COUNT = """(selector) => {
  window.made = 0;
  window.counting = new MutationObserver((records) => {
    for (const { addedNodes } of records) {
      for (const node of addedNodes) if (node.nodeType === 1) window.made += 1 + node.querySelectorAll("*").length;
    }
  });
  window.counting.observe(document.querySelector(selector), { childList: true, subtree: true });
}"""
SELECT = """() => {
  const text = document.querySelector(".message .text").firstChild;
  getSelection().setBaseAndExtent(text, 7, text, 18);
  window.row = document.querySelector(".message");
}"""
# Whether the bar lies inside its row and the conversation, and whether it leaves the bubble free.
COVERED = """(element) => {
  const bar = element.getBoundingClientRect();
  const row = element.closest(".row").getBoundingClientRect();
  const room = element.closest(".timeline").getBoundingClientRect();
  const bubble = element.closest(".message").querySelector(".bubble").getBoundingClientRect();
  return [
    bar.top >= row.top && bar.bottom <= row.bottom && bar.left >= room.left && bar.right <= room.right,
    bar.left >= bubble.right || bar.right <= bubble.left,
  ];
}"""
SAME = "document.querySelector('.message') === window.row"
GROW = """async () => {
  const box = document.querySelector(".timeline");
  const frame = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  box.scrollTop = box.scrollHeight / 2;
  await frame();
  await frame();
  const rows = [...box.querySelectorAll(".row[data-seq]")];
  const seen = rows.find((row) => row.getBoundingClientRect().top > box.getBoundingClientRect().top + 60);
  const before = seen.getBoundingClientRect().top;
  rows[rows.indexOf(seen) - 4].style.paddingBottom = "150px";
  await frame();
  await frame();
  return seen.getBoundingClientRect().top - before;
}"""
LEAVE = """async () => {
  const box = document.querySelector(".timeline");
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  await frame();
  const rows = [...box.querySelectorAll(".row[data-seq]")];
  const seen = rows.at(-12);
  const before = seen.getBoundingClientRect().top, from = box.scrollTop;
  box.scrollTop -= 200; // nobody is told before the next frame
  const moved = from - box.scrollTop;
  rows.at(-1).style.paddingBottom = rows[0].style.paddingBottom = "90px"; // and in this one, rows grow
  await frame();
  await frame();
  await frame();
  return seen.getBoundingClientRect().top - before - moved;
}"""
FAST = """async () => {
  const box = document.querySelector(".timeline");
  const frame = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  const first = () => Number(box.querySelector(".row[data-seq]").dataset.seq);
  for (let n = 0; n < 200 && first() > 1; n += 1) {
    box.scrollTop = 0; // a wheel at full speed, or the bar pulled to its end: no event comes after it
    await frame();
  }
  return first();
}"""


async def say_many(person: Person, other: Person, count: int) -> str:
    """Says so much in a group of both by the API; answers the group's title."""
    await person.page.evaluate(CALL, ["group.create", {"name": "Many", "members": [await other.id()]}])
    await person.open("Many")
    room = person.page.url.partition("#/")[2]
    for n in range(count):
        await person.page.evaluate(
            CALL, ["submit", {"conversation": room, "kind": "text", "body": {"text": f"number {n}"}}]
        )
    return "Many"


async def test_the_bar_of_a_row_covers_no_other_row(browser: Browser, server: Server) -> None:
    """It lies beside the bubble, whoever wrote it, or over its end where there is no room, always inside."""
    ada, bob = await two(browser, server)
    await ada.find("Bob")
    await bob.find("Ada")
    for text in ("one", "two", "long " * 60):
        await ada.say(text)
        await ada.has_sent(text.strip())
    await bob.page.set_viewport_size({"width": 560, "height": 760})
    for person in (ada, bob):
        await person.sees("long")
        for text in ("one", "two", "long"):
            await person.message(text).hover()
            row = person.page.locator(".row[data-seq]").filter(has=person.message(text))
            inside, free = await row.locator(".hover-bar").evaluate(COVERED)
            assert inside
            assert free == (person is ada or text != "long")
    assert ada.problems + bob.problems == []


async def test_selection_and_elements_stay(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    await ada.find("Bob")
    await ada.say("select these words please")
    await bob.open("Ada")
    await bob.sees("select these words")
    await bob.page.evaluate(SELECT)
    await ada.say("the next message of the same sender")
    await bob.sees("the next message")
    await bob.page.evaluate(
        CALL, ["message.react", {"conversation": bob.page.url.partition("#/")[2], "seq": 1, "emoji": "👍", "on": True}]
    )
    await expect(bob.page.locator(".reaction")).to_have_count(1)
    assert await bob.page.evaluate("String(getSelection())") == "these words"
    assert await bob.page.evaluate(SAME)
    assert ada.problems + bob.problems == []


async def test_few_elements_are_made_for_a_message(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    await ada.find("Bob")
    await ada.say("one")
    await bob.open("Ada")
    await bob.sees("one")
    await ada.page.evaluate(COUNT, ".list-rows")
    for n in range(5):
        await bob.say(f"more {n}")
        await ada.sees(f"more {n}")
    assert await ada.page.evaluate("window.made") <= 12 * 5
    assert ada.problems + bob.problems == []


async def test_text_does_not_jump_and_scrolling_fast_does_not_stick(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    title = await say_many(ada, bob, 150)
    await ada.sees("number 149")
    assert abs(await ada.page.evaluate(LEAVE)) <= 1
    assert abs(await ada.page.evaluate(GROW)) <= 1
    await ada.page.reload()
    await ada.open(title) if await ada.page.locator(".thread").count() == 0 else None
    await ada.sees("number 149")
    assert await ada.page.evaluate(FAST) == 1
    assert ada.problems == []


async def test_a_row_that_cannot_be_drawn_stops_nothing(browser: Browser, server: Server) -> None:
    """As in a browser without something that the page needs."""
    ada, bob = await two(browser, server)
    await ada.find("Bob")
    await ada.say("before")
    await bob.open("Ada")
    await ada.page.evaluate("() => { URL.canParse = () => { throw new Error('no such thing'); }; }")
    await bob.say("see https://example.org")
    await expect(ada.page.locator(".bubble", has_text="[Text]")).to_have_count(1)
    await ada.say("after")
    await bob.sees("after")
    await bob.say("and on")
    await ada.sees("and on")
    assert [problem for problem in ada.problems if "no such thing" not in problem] == []


async def test_the_list_is_read_in_the_order_in_which_it_is_seen(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    for name in ("one", "two", "three"):
        await ada.page.evaluate(CALL, ["group.create", {"name": name, "members": [await bob.id()]}])
        await bob.row(name).wait_for()
    order = "rows => rows.map((row) => row.getBoundingClientRect().top)"
    await bob.row("one").get_by_role("button").focus()
    await bob.page.evaluate("window.row = document.activeElement")
    for name in ("one", "two", "one"):
        await ada.open(name)
        await ada.say(f"to {name}")
        await expect(bob.page.locator(".list-row").first).to_contain_text(f"to {name}")
        tops = await bob.page.locator(".list-row").evaluate_all(order)
        assert tops == sorted(tops)
        assert await bob.page.evaluate("document.activeElement === window.row")  # the focused row is the same element
    assert ada.problems + bob.problems == []
