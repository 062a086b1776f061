"""Two people, two browsers, one server: what everybody tries in the first five minutes."""

from __future__ import annotations

from playwright.async_api import Browser, expect

from tests.e2e.person import WAIT, Person
from tests.e2e.server import Server


async def two(browser: Browser, server: Server) -> tuple[Person, Person]:
    ada = await (await Person.arrive(browser, server.url, "Ada")).log_in()
    bob = await (await Person.arrive(browser, server.url, "Bob")).log_in()
    return ada, bob


async def test_both_directions_unread_counts_and_reload(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    await ada.find("Bob")
    for n in range(3):
        await ada.say(f"hello {n}")
    row = bob.row("Ada")
    await expect(row.locator(".unread")).to_have_text("3", timeout=WAIT)
    await expect(row.locator(".list-preview")).to_have_text("hello 2")
    await expect(bob.page).to_have_title("(3) Interesting Chat")
    await bob.open("Ada")
    await expect(bob.page.locator(".new-line")).to_have_count(1)
    await expect(row.locator(".unread")).to_have_count(0)
    for n in range(3):
        await expect(ada.message(f"hello {n}").get_by_role("img", name="Read")).to_be_visible(timeout=WAIT)
    await bob.say("hello yourself")
    await ada.sees("hello yourself")
    await expect(ada.row("Bob").locator(".unread")).to_have_count(0)
    await bob.back()
    await ada.say("still there?")
    await expect(row.locator(".unread")).to_have_text("1")
    for person in (ada, bob):
        await person.page.reload()
    await expect(row.locator(".unread")).to_have_text("1", timeout=WAIT)
    await expect(ada.page.locator(".message")).to_have_count(5)
    assert list((await ada.screen()).values()) == ["hello 0", "hello 1", "hello 2", "hello yourself", "still there?"]
    assert ada.problems + bob.problems == []


async def test_text_is_never_markup(browser: Browser, server: Server) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    mallory = await (await Person.arrive(browser, server.url, "<b>Mal</b><img src=x onerror=alert(3)>")).log_in()
    ada = await (await Person.arrive(browser, server.url, "Ada")).log_in()
    await mallory.find("Ada")
    await mallory.say(evil)
    await mallory.say('javascript:alert(4) and https://example.org/"onmouseover=alert(5) and data:text/html,<b>')
    await ada.open(mallory.name)
    await ada.sees(evil)
    await ada.sees("javascript:alert(4)")
    assert await ada.page.locator(".text a").evaluate_all("links => links.map(({href}) => href)") == [
        "https://example.org/"
    ]
    await ada.page.get_by_role("button", name="New chat or group").click()
    await ada.page.get_by_role("menuitem", name="New group").click()
    await ada.page.get_by_label("Group name").fill("<i>group</i><svg onload=alert(6)>")
    await ada.page.get_by_label("Add people").fill("Mal")
    await ada.page.locator(".picker-results .person").first.click()
    await ada.page.get_by_role("button", name="Create group").click()
    await expect(ada.page.locator(".thread-head h1")).to_have_text("<i>group</i><svg onload=alert(6)>")
    await ada.say(evil)
    await expect(mallory.row("<i>group</i><svg onload=alert(6)>")).to_be_visible(timeout=WAIT)
    for person in (ada, mallory):
        assert await person.page.locator(".list-row b, .list-row i, .timeline script, .timeline img").count() == 0
        assert person.problems == []


async def test_recall_edit_reply_and_link(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    await ada.find("Bob")
    await ada.say("see https://example.org/a_(b)?c=d&e=f.")
    await ada.say("or www.example.org/x, not awww.example.org or me@www.example.org")
    await ada.say("a slip")
    await ada.say("a seceret")
    await bob.open("Ada")
    await bob.sees("or www.")
    assert await bob.page.locator(".text a").evaluate_all("links => links.map(({href}) => href)") == [
        "https://example.org/a_(b)?c=d&e=f",
        "https://www.example.org/x",
    ]
    await ada.act("a seceret", "Edit")
    await ada.say("a secret")
    await expect(bob.message("a secret").locator(".meta")).to_contain_text("edited", timeout=WAIT)
    await bob.act("a secret", "Reply")
    await bob.say("which one?")
    await expect(ada.message("which one?").locator(".quote-text")).to_have_text("a secret", timeout=WAIT)
    await ada.act("a slip", "Recall")
    await ada.page.get_by_role("dialog").get_by_role("button", name="Recall").click()
    await expect(bob.page.locator(".timeline").get_by_text("Ada recalled a message")).to_be_visible(timeout=WAIT)
    await expect(ada.page.locator(".timeline").get_by_text("You recalled a message")).to_be_visible()
    for person in (ada, bob):
        assert "a slip" not in await person.page.content()
        await person.page.reload()
        await expect(person.page.locator(".recalled")).to_have_count(1)
        assert "a slip" not in await person.page.content()
        assert person.problems == []


async def test_a_group_from_making_it_to_leaving_it(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    eve = await (await Person.arrive(browser, server.url, "Eve")).log_in()
    await ada.page.get_by_role("button", name="New chat or group").click()
    await ada.page.get_by_role("menuitem", name="New group").click()
    await ada.page.get_by_label("Group name").fill("Lunch")
    await ada.page.get_by_label("Add people").fill("Bob")
    await ada.page.locator(".picker-results .person", has_text="Bob").click()
    await ada.page.get_by_role("button", name="Create group").click()
    await ada.page.locator(".composer-input").fill("@Bo")
    await ada.page.get_by_role("option", name="Bob").wait_for()
    await ada.page.keyboard.press("Enter")
    await ada.page.keyboard.type("at noon?")
    await ada.page.keyboard.press("Enter")
    await expect(bob.row("Lunch").locator(".at")).to_be_visible(timeout=WAIT)
    await bob.open("Lunch")
    await expect(bob.page.locator(".mention")).to_have_text("@Bob")
    await expect(bob.row("Lunch").locator(".at")).to_have_count(0)
    await bob.page.locator(".composer-input").press_sequentially("typing")
    await expect(ada.page.locator(".thread-subtitle")).to_have_text("Bob is typing…", timeout=WAIT)

    await ada.details()
    await ada.page.get_by_role("button", name="Invite people").click()
    await ada.page.get_by_role("dialog", name="Invite people").get_by_label("Add people").fill("Eve")
    await ada.page.locator(".picker-results .person", has_text="Eve").click()
    await ada.page.get_by_role("button", name="Invite", exact=True).click()
    await expect(eve.row("Lunch")).to_be_visible(timeout=WAIT)
    await expect(ada.page.locator(".member")).to_have_count(3)
    await ada.page.locator(".member", has_text="Bob").get_by_role("button").click()
    await ada.page.get_by_role("menuitem", name="Remove").click()
    await ada.page.get_by_role("dialog", name="Remove Bob").get_by_role("button", name="Remove").click()
    await expect(ada.page.locator(".member")).to_have_count(2)
    await expect(bob.page.get_by_text("You are no longer in this group.")).to_be_visible(timeout=WAIT)
    await ada.details()
    await ada.say("only us now")
    await eve.open("Lunch")
    await expect(eve.page.locator(".timeline .system").first).to_have_text("Ada invited you")
    await eve.sees("only us now")
    await expect(eve.page.get_by_text("at noon?")).to_have_count(0)  # said before Eve came
    await eve.details()
    await eve.page.get_by_role("button", name="Leave group").click()
    await eve.page.get_by_role("dialog", name="Leave this group").get_by_role("button", name="Leave group").click()
    await expect(eve.page.get_by_text("You are no longer in this group.")).to_be_visible(timeout=WAIT)
    await expect(eve.page.locator(".member")).to_have_count(0)  # who is there is none of hers any more
    await expect(eve.page.locator(".thread-subtitle")).to_have_text("")
    await expect(ada.page.locator(".timeline .system").last).to_have_text("Eve left the group")
    assert "only us now" not in (await bob.screen()).values()
    assert ada.problems + bob.problems + eve.problems == []


async def test_a_group_changes_hands_and_ends(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    await ada.page.get_by_role("button", name="New chat or group").click()
    await ada.page.get_by_role("menuitem", name="New group").click()
    await ada.page.get_by_label("Group name").fill("Choir")
    await ada.page.get_by_label("Add people").fill("Bob")
    await ada.page.locator(".picker-results .person", has_text="Bob").click()
    await ada.page.get_by_role("button", name="Create group").click()
    await ada.say("welcome")
    await bob.open("Choir")
    await ada.details()
    await ada.page.locator(".member", has_text="Bob").get_by_role("button").click()
    await ada.page.get_by_role("menuitem", name="Make owner").click()
    await ada.page.get_by_role("dialog", name="Hand this group over").get_by_role("button", name="Make owner").click()
    await expect(ada.page.locator(".member", has_text="Bob")).to_contain_text("owner", timeout=WAIT)
    await expect(ada.page.get_by_role("button", name="Leave group")).to_be_visible()
    await bob.details()
    await bob.page.get_by_role("button", name="Pin to the top").click()
    await expect(bob.page.get_by_role("button", name="Unpin")).to_be_visible(timeout=WAIT)
    await bob.page.get_by_role("button", name="Mute", exact=True).click()
    await expect(bob.page.get_by_role("button", name="Unmute")).to_be_visible(timeout=WAIT)
    await bob.page.get_by_role("button", name="Rename").click()
    await bob.page.get_by_role("dialog", name="Rename").get_by_label("Group name").fill("Sunday choir")
    await bob.page.get_by_role("button", name="Save").click()
    await expect(ada.page.locator(".thread-head h1")).to_have_text("Sunday choir", timeout=WAIT)
    await expect(ada.row("Sunday choir")).to_be_visible()
    await bob.page.get_by_role("button", name="Dissolve group").click()
    await bob.page.get_by_role("dialog", name="Dissolve this").get_by_role("button", name="Dissolve group").click()
    for person in (ada, bob):
        await person.details()
        await expect(person.page.get_by_text("You are no longer in this group.")).to_be_visible(timeout=WAIT)
        await expect(person.page.locator(".timeline .system").last).to_contain_text("dissolved the group")
        await person.sees("welcome")
        assert person.problems == []


async def test_a_new_name_is_seen_everywhere(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    await ada.find("Bob")
    await ada.say("hello")
    await bob.open("Ada")
    await ada.page.get_by_role("button", name="My profile").click()
    await ada.page.get_by_role("dialog").get_by_label("Name").fill("Ada <i>Lovelace</i>")
    await ada.page.get_by_role("button", name="Save").click()
    await expect(ada.page.locator(".me-name")).to_have_text("Ada <i>Lovelace</i>", timeout=WAIT)
    await expect(bob.page.locator(".thread-head h1")).to_have_text("Ada <i>Lovelace</i>", timeout=WAIT)
    await expect(bob.row("Ada <i>Lovelace</i>")).to_be_visible()
    assert ada.problems + bob.problems == []


async def test_what_is_hidden_is_found_by_search_and_comes_back_with_a_message(
    browser: Browser, server: Server
) -> None:
    ada, bob = await two(browser, server)
    await ada.find("Bob")
    await ada.say("hello")
    await bob.open("Ada")

    async def hide() -> None:
        await ada.details()
        await ada.page.get_by_role("button", name="Hide from the list").click()
        await expect(ada.page.locator(".thread")).to_have_count(0)
        await expect(ada.row("Bob")).to_have_count(0)

    await hide()
    await ada.page.reload()
    await expect(ada.page.get_by_text("No chats yet")).to_be_visible()
    await bob.say("are you there?")
    await expect(ada.row("Bob").locator(".unread")).to_have_text("1")
    await ada.open("Bob")
    await hide()
    await ada.page.get_by_label("Search chats and people").fill("Bob")
    await ada.row("Bob").get_by_role("button").click()
    await ada.page.get_by_label("Search chats and people").fill("")
    await expect(ada.row("Bob")).to_be_visible()
    assert ada.problems + bob.problems == []


async def test_the_phone_is_told_which_browser_waits(browser: Browser, server: Server) -> None:
    ada = await Person.arrive(browser, server.url, "Ada")
    link = await ada.page.locator(".login-link").get_attribute("href")
    assert link is not None
    phone = await browser.new_page()
    await phone.goto(link)
    await expect(phone.get_by_text("Chrome on Linux")).to_be_visible()


async def test_a_quote_of_a_recalled_message_says_nothing_any_more(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    await ada.find("Bob")
    await ada.say("a secret")
    await bob.open("Ada")
    await bob.act("a secret", "Reply")
    await bob.say("which one?")
    for person in (ada, bob):
        await expect(person.message("which one?").locator(".quote-text")).to_have_text("a secret")
    await ada.act("a secret", "Recall")
    await ada.page.get_by_role("dialog").get_by_role("button", name="Recall").click()
    for person, told in ((ada, "You recalled a message"), (bob, "Ada recalled a message")):
        await expect(person.message("which one?").locator(".quote-text")).to_have_text(told)
        await person.page.reload()
        await expect(person.message("which one?").locator(".quote-text")).to_have_text(told)
        assert person.problems == []
