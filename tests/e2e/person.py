"""Somebody who sits before the page: what one can do and see there."""

from __future__ import annotations

from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

PHONE = {"viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
DESKTOP = {"viewport": {"width": 1180, "height": 760}}
WAIT = 20_000
BACK = 60_000
"""For what waits until a page has found back: it tries again after up to half a minute."""
expect.set_options(timeout=WAIT)  # 5 s by default, which a busy machine does not keep

# Walks from the newest message to the first one and collects what is on the screen on the way.
COLLECT = """async () => {
  const box = document.querySelector(".timeline");
  const found = new Map();
  const frame = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  const down = document.querySelector(".jumps .jump:last-child");
  if (down) { down.click(); await frame(); }
  for (let still = 0; still < 200; ) {
    for (const row of box.querySelectorAll(".row[data-seq]")) {
      found.set(Number(row.dataset.seq), row.querySelector(".text, .system")?.textContent ?? "");
    }
    const before = box.scrollTop;
    if (box.scrollTop === 0 && !box.querySelector("[data-key=older]")) break;
    box.scrollTop -= box.clientHeight / 2;
    await frame();
    still = box.scrollTop === before ? still + 1 : 0;
  }
  return [...found].sort(([one], [other]) => one - other);
}"""


# The log as the server tells it to somebody who asks for it page by page: no push, no cache, no merging.
LOG = """async (conversation) => {
  const token = localStorage.getItem("interesting-chat.token");
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const log = [];
  for (let after = 0; ; after = log.at(-1)[0]) {
    const body = JSON.stringify({ conversation, after, limit: 100 });
    const answer = await fetch("api/history", { method: "POST", headers, body });
    if (!answer.ok) throw new Error(await answer.text());
    const { messages } = await answer.json();
    if (messages.length === 0) return log;
    log.push(...messages.map(({ seq, kind, body, sender }) => [seq, kind === "text" ? body.text : "", sender]));
  }
}"""


# Who one is, asked over HTTP with the page's token.
ME = """async () => {
  const token = localStorage.getItem("interesting-chat.token");
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const answer = await fetch("api/user.me", { method: "POST", headers, body: "{}" });
  return (await answer.json()).user;
}"""


class Person:
    """One browser context with the page open."""

    def __init__(self, name: str, context: BrowserContext, page: Page, *, phone: bool = False) -> None:
        self.name = name
        self.context = context
        self.page = page
        self.problems: list[str] = []
        self.phone = phone
        page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        page.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))
        page.on("console", lambda message: self._console(message.type, message.text))

    def _console(self, kind: str, text: str) -> None:
        # A refused connection is what several tests provoke.
        if kind == "error" and "WebSocket connection" not in text and "net::ERR" not in text:
            self.problems.append(f"console: {text}")

    @classmethod
    async def arrive(cls, browser: Browser, url: str, name: str, *, phone: bool = False, **options: object) -> Person:
        context = await browser.new_context(**{"locale": "en-GB", **(PHONE if phone else DESKTOP), **options})  # type: ignore[arg-type]
        context.set_default_timeout(WAIT)
        person = cls(name, context, await context.new_page(), phone=phone)
        await person.page.goto(url)
        return person

    async def log_in(self) -> Person:
        """By name, in development mode."""
        await self.page.locator("input[name=name]").fill(self.name)
        await self.page.locator("input[name=name]").press("Enter")
        await expect(self.page.locator(".me-name")).to_have_text(self.name, timeout=WAIT)
        return self

    def row(self, title: str) -> Locator:
        """The conversation of that title in the list."""
        return self.page.locator(".list-row", has=self.page.get_by_text(title, exact=True))

    async def find(self, name: str) -> None:
        """Opens the direct chat with somebody by search."""
        await self.page.get_by_label("Search chats and people").fill(name)
        await self.page.locator(".person", has_text=name).first.click()
        await expect(self.page.get_by_role("heading", name=name, exact=True)).to_be_visible()

    async def open(self, title: str) -> None:
        await self.row(title).get_by_role("button").click()
        await expect(self.page.locator(".thread-head h1")).to_have_text(title)

    async def back(self) -> None:
        await self.page.keyboard.press("Escape")
        await expect(self.page.locator(".thread")).to_have_count(0)

    async def say(self, text: str) -> None:
        await self.page.locator(".composer-input").fill(text)
        if self.phone:
            await self.page.locator(".composer .send").tap()
        else:
            await self.page.locator(".composer-input").press("Enter")

    def message(self, text: str) -> Locator:
        return self.page.locator(".message", has=self.page.locator(".text", has_text=text))

    async def sees(self, text: str, timeout: int = WAIT) -> None:
        await expect(self.page.locator(".text", has_text=text)).to_have_count(1, timeout=timeout)

    async def has_sent(self, text: str) -> None:
        """Until the server has acknowledged it."""
        await expect(self.page.locator(".row[data-seq]").filter(has=self.message(text))).to_have_count(1)

    async def details(self) -> None:
        """Opens what stands beside the conversation (on a phone: over it), or closes it."""
        sheet = self.page.locator("dialog.sheet").get_by_role("button", name="Close")
        if await sheet.count():
            await sheet.click()
        else:
            await self.page.get_by_role("button", name="Chat details", exact=True).click()

    async def send_files(self) -> None:
        """Agrees to what the preview shows."""
        await self.page.locator("dialog.outgoing").get_by_role("button").last.click()
        await expect(self.page.locator("dialog.outgoing")).to_have_count(0)

    async def act(self, text: str, item: str) -> None:
        """Chooses an item of a message's menu."""
        await self.message(text).click(button="right")
        await self.page.get_by_role("menuitem", name=item).click()

    async def screen(self) -> dict[int, str]:
        """Everything the open conversation shows, by seq, read by scrolling through it; nothing is on its way then."""
        await expect(self.page.locator(".row:not([data-seq]) > .message:not(.failed)")).to_have_count(0)
        return {int(seq): text for seq, text in await self.page.evaluate(COLLECT)}

    async def log(self) -> list[tuple[int, str, str]]:
        """What the server keeps of the open conversation: seq, text and sender of each message."""
        conversation = self.page.url.partition("#/")[2]
        return [(int(seq), text, sender) for seq, text, sender in await self.page.evaluate(LOG, conversation)]

    async def id(self) -> str:
        user: str = await self.page.evaluate(ME)
        return user

    async def nodes(self) -> int:
        count: int = await self.page.evaluate("document.getElementsByTagName('*').length")
        return count
