"""The page as a whole: what it may do, how it comes, its settings, its regions at any width."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from playwright.async_api import Browser, Request, expect

from tests.e2e.person import Person
from tests.e2e.server import Server
from tests.e2e.test_access import serious
from tests.e2e.test_marks import CALL, two

EVIL = [
    "<img src=x onerror=window.hit=1>",
    "<script>window.hit=1</script>",
    '"><svg onload=window.hit=1>',
    "javascript:window.hit=1",
    "{{constructor.constructor('window.hit=1')()}}",
    "[x](javascript:window.hit=1)",
]
# Whether anything that scrolls can be scrolled sideways.
WIDE = """() => [document.scrollingElement, ...document.querySelectorAll("body *")].some((one) => {
  const { overflowX, display } = getComputedStyle(one);
  const scrolls = one === document.scrollingElement || overflowX === "auto" || overflowX === "scroll";
  const meant = one.matches(".filters, .code, .suggestions, textarea, input");
  return scrolls && display !== "none" && !meant && one.scrollWidth > one.clientWidth + 1;
})"""

# In how many lines the text of each button stands.
LINES = """(buttons) => buttons.map((button) => {
  const text = document.createRange();
  text.selectNodeContents(button);
  return text.getClientRects().length;
})"""


async def test_nothing_that_is_said_is_executed(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    for n, evil in enumerate(EVIL):
        name = evil[:60]
        if n == 0:
            await ada.page.evaluate(CALL, ["user.rename", {"name": name}])
        await ada.page.evaluate(CALL, ["group.create", {"name": name, "members": [await bob.id()]}])
        await ada.open(name)
        room = ada.page.url.partition("#/")[2]
        for kind, body in (
            ("text", {"text": f"{evil} **{evil}** `{evil}` {n}", "format": "markup"}),
            ("location", {"lat": 1, "lon": 2, "label": evil}),
            ("emoji", {"emoji": evil[:60]}),
        ):
            await ada.page.evaluate(CALL, ["submit", {"conversation": room, "kind": kind, "body": body}])
        await ada.page.evaluate(CALL, ["group.update", {"conversation": room, "announcement": evil}])
        await bob.open(name)
        await bob.details()
        await expect(bob.page.locator(".announcement")).to_have_text(evil)
        await bob.details()
        await expect(bob.page.locator(".row[data-seq] .message")).to_have_count(3)
    for person in (ada, bob):
        assert await person.page.evaluate("window.hit") is None
        assert (
            await person.page.locator(".timeline script, .timeline img, .timeline a[href^='javascript']").count() == 0
        )
        assert person.problems == []


async def test_no_code_can_make_markup_of_text(browser: Browser, server: Server) -> None:
    ada = await Person.arrive(browser, server.url, "Ada")
    for act in ("document.body.innerHTML = '<b>x</b>'", "new DOMParser().parseFromString('<b>', 'text/html')"):
        refused = await ada.page.evaluate(
            f"() => {{ try {{ {act}; return ''; }} catch (error) {{ return error.name; }} }}"
        )
        assert refused == "TypeError"
    assert (
        await ada.page.evaluate(
            "() => { try { return String(trustedTypes.createPolicy('mine', {})); } catch { return ''; } }"
        )
        == ""
    )


async def test_it_comes_in_few_requests_and_never_again(browser: Browser, server: Server) -> None:
    ada = await Person.arrive(browser, server.url, "Ada", service_workers="block")
    await ada.log_in()
    asked: list[str] = []
    fetched: list[Request] = []
    ada.page.on("request", lambda request: asked.append(request.url))
    ada.page.on("requestfinished", lambda request: fetched.append(request))
    await ada.page.reload()
    await expect(ada.page.locator(".me-name")).to_have_text("Ada")
    over_the_net = [
        request.url
        for request in fetched
        if (await request.sizes())["responseHeadersSize"] > 0 and "/ws" not in request.url
    ]
    cached = await ada.page.evaluate(
        "performance.getEntriesByType('resource').filter((one) => one.transferSize > 0).map((one) => one.name)"
    )
    assert over_the_net
    assert len(cached) <= 2, cached
    painted = await ada.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    print(f"first paint of the second load {painted:.0f} ms, {len(cached)} requests beside the page and the socket")


async def test_settings_devices_language_and_theme_without_a_reload(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    phone = await (await Person.arrive(browser, server.url, "Ada", phone=True)).log_in()
    await bob.find("Ada")
    await bob.say("hello")
    await ada.open("Bob")
    await ada.page.evaluate("window.mark = 1")
    await ada.page.keyboard.press("Control+,")
    await ada.page.get_by_role("button", name="Devices").click()
    await expect(ada.page.locator(".settings .member")).to_have_count(2)
    await expect(ada.page.locator(".settings .member").first).to_contain_text("This device")
    await ada.page.get_by_role("button", name="Log out: ").click()
    await ada.page.get_by_role("dialog", name="out?").get_by_role("button", name="Log out").click()
    await expect(phone.page.locator(".login-notice")).to_have_text(
        "You have been logged out by another device or a new login."
    )
    await expect(ada.page.locator(".settings .member")).to_have_count(1)
    await ada.page.get_by_role("button", name="Appearance").click()
    await ada.page.get_by_label("中文").check()
    await ada.page.get_by_label("深色").check()
    await ada.page.get_by_label("平铺，全部靠左").check()
    await ada.page.keyboard.press("Escape")
    await expect(ada.page.locator(".composer-input")).to_have_attribute("placeholder", "输入消息")
    await expect(ada.page.locator("html")).to_have_attribute("data-theme", "dark")
    await expect(ada.page.locator(".thread")).to_have_count(1)  # what lay under the settings is still open
    assert await ada.page.evaluate("window.mark") == 1
    assert ada.problems + bob.problems == []


async def test_axe_finds_nothing_in_settings_contacts_and_the_jump_dialog(browser: Browser, server: Server) -> None:
    for scheme in ("light", "dark"):
        ada = await (await Person.arrive(browser, server.url, f"Ada {scheme}", color_scheme=scheme)).log_in()
        for page in ("profile", "notifications", "appearance", "chat", "devices", "privacy", "keyboard", "about"):
            await ada.page.goto(f"{server.url}#/settings/{page}")
            await ada.page.locator(".settings").wait_for()
            assert await serious(ada.page) == [], page
        await ada.page.goto(f"{server.url}#/contacts")
        await ada.page.get_by_role("dialog", name="Contacts").wait_for()
        assert await serious(ada.page) == []
        await ada.page.keyboard.press("Escape")
        await ada.page.keyboard.press("Control+k")
        await ada.page.get_by_role("dialog", name="Jump to").wait_for()
        assert await serious(ada.page) == []
        assert ada.problems == []


async def test_messages_are_found_marked_and_jumped_to(browser: Browser, server: Server) -> None:
    """Ctrl+K over everything, Ctrl+F in one chat: by keyboard, with an input method, on a phone."""
    ada, bob = await two(browser, server)
    keys, page = ada.page.keyboard, ada.page
    await ada.find("Bob")
    chat = page.url.partition("#/")[2]
    for text in (
        "see https://example.org/menu",
        "the noodle place",
        *(f"filler {number}" for number in range(90)),
        "面条 at twelve",
    ):
        await page.evaluate(CALL, ["submit", {"conversation": chat, "kind": "text", "body": {"text": text}}])
    await page.reload()
    await ada.sees("面条 at twelve")
    await expect(ada.message("the noodle place")).to_have_count(0)  # far above what is loaded
    await keys.press("Control+k")
    mark = page.locator(".jump-list mark")
    # The index follows within a second; whoever types again asks again.
    for _ in range(100):
        await page.get_by_role("combobox").fill("")
        await page.get_by_role("combobox").fill("noodle")
        await page.wait_for_timeout(400)
        if await mark.count():
            break
    await expect(mark).to_have_text("noodle")
    assert await serious(page) == []
    await keys.press("Enter")
    await expect(ada.message("the noodle place")).to_be_focused()
    await keys.press("Control+f")
    field = page.locator(".find").get_by_role("combobox", name="Words in the messages")
    await expect(field).to_be_focused()
    await keys.type("面")
    await expect(page.locator(".found mark")).to_have_text("面")
    assert await serious(page) == []
    # Enter that ends a composition belongs to the input method.
    await field.evaluate("""(field) => field.dispatchEvent(
      new KeyboardEvent("keydown", { key: "Enter", isComposing: true, bubbles: true, cancelable: true }))""")
    await expect(ada.message("the noodle place")).to_have_count(1)
    await keys.press("Enter")
    await expect(ada.message("面条 at twelve")).to_be_focused()
    await page.locator(".find").get_by_label("Kind").select_option("link")
    await expect(page.locator(".find").get_by_role("status")).to_have_text("No message found")  # with this character
    await field.fill("")
    await expect(page.locator(".found-text")).to_have_text("see https://example.org/menu")
    await ada.details()  # in the place of the search
    await page.get_by_role("tab", name="Links").click()
    await page.locator(".shared-line").click()
    await expect(ada.message("see https://example.org/menu")).to_be_focused()
    assert await serious(page) == []
    await ada.details()
    phone = await (await Person.arrive(browser, server.url, bob.name, phone=True, color_scheme="dark")).log_in()
    await phone.open(ada.name)
    await phone.page.get_by_role("button", name="Search in this chat").tap()
    await phone.page.locator(".find").get_by_role("combobox", name="Words in the messages").fill("noodle")
    await expect(phone.page.locator(".found mark")).to_have_text("noodle")
    assert await serious(phone.page) == []
    assert not await phone.page.evaluate(WIDE)
    await phone.page.locator(".found-row").tap()
    await phone.sees("the noodle place")
    assert ada.problems + bob.problems + phone.problems == []


async def test_narrow_screens_do_not_scroll_sideways(browser: Browser, server: Server) -> None:
    ada = await Person.arrive(browser, server.url, "A" * 64, viewport={"width": 320, "height": 640})
    await ada.log_in()
    bob = await (await Person.arrive(browser, server.url, "Zed" + "w" * 60)).log_in()
    await ada.page.get_by_label("Search chats and people").fill("Zed")
    await ada.page.locator(".person").first.click()
    await ada.say("https://example.org/" + "long" * 60)
    await ada.say("word" * 80)
    await bob.open(ada.name)
    await bob.say("hello")
    await ada.sees("hello")
    assert not await ada.page.evaluate(WIDE)
    for page in ("settings", "settings/appearance", "settings/keyboard", "contacts"):
        await ada.page.goto(f"{server.url}#/{page}")
        await ada.page.locator("dialog").wait_for()
        assert not await ada.page.evaluate(WIDE), page
    assert ada.problems + bob.problems == []


async def test_the_first_steps_have_buttons_of_one_line(browser: Browser, server: Server) -> None:
    ada = await Person.arrive(browser, server.url, "Ada", viewport={"width": 1280, "height": 800})
    await ada.log_in()
    buttons = ada.page.locator(".first-step button")
    await expect(buttons).to_have_count(6)
    assert await buttons.evaluate_all(LINES) == [1] * 6
    assert ada.problems == []


async def test_a_new_contact_is_asked_accepted_and_blocked(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    await ada.find("Bob")
    await ada.say("hello")
    await ada.details()
    await ada.page.get_by_role("complementary").get_by_role("button", name="Profile").click()
    await ada.page.get_by_role("button", name="Add to contacts").click()
    await ada.page.get_by_role("dialog", name="Ask to be").get_by_role("button", name="Send").click()
    await expect(ada.page.get_by_text("Asked, not answered yet")).to_be_visible()
    await bob.page.locator(".requests").click()
    await bob.page.get_by_role("button", name="Accept").click()
    await expect(bob.page.locator("dialog .person", has_text="Ada")).to_be_visible()
    await expect(ada.page.get_by_role("button", name="Remove from contacts")).to_be_visible()
    await ada.page.get_by_role("button", name="Block").click()
    await ada.page.get_by_role("dialog", name="Block Bob").get_by_role("button", name="Block").click()
    await expect(ada.page.get_by_role("button", name="Unblock")).to_be_visible()
    assert ada.problems + bob.problems == []


async def test_a_browser_that_is_too_old_is_told_so(browser: Browser, server: Server) -> None:
    context = await browser.new_context()
    page = await context.new_page()
    await page.add_init_script("delete URL.canParse")
    await page.goto(server.url)
    await expect(page.get_by_role("alert")).to_contain_text("too old")
    await expect(page.get_by_role("alert")).to_contain_text("URL.canParse")


async def test_a_picture_of_oneself_is_cut_square_and_seen_by_others(
    browser: Browser, server: Server, tmp_path: Path
) -> None:
    ada, bob = await two(browser, server)
    await ada.find("Bob")
    await ada.say("hello")
    await bob.open("Ada")
    Image.new("RGB", (600, 400), "teal").save(tmp_path / "me.jpg")
    await ada.page.goto(f"{server.url}#/settings/profile")
    await ada.page.get_by_label("Choose a picture").last.set_input_files(tmp_path / "me.jpg")
    await expect(ada.page.locator(".me .avatar-picture")).to_have_count(1)
    await expect(bob.page.locator(".thread-head .avatar-picture")).to_have_count(1)
    sides = await bob.page.locator(".thread-head .avatar-picture").evaluate(
        "async (image) => { await image.decode(); return [image.naturalWidth, image.naturalHeight]; }"
    )
    assert sides[0] == sides[1] > 0
    assert ada.problems + bob.problems == []
