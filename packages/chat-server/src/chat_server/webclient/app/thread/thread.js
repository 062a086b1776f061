/** One open conversation: its head, its messages, and where one writes. */
import { useEffect, useLayoutEffect, useRef, useState } from "../../vendor/preact.js";
import { preview } from "../../chat-client.js";
import { day } from "../clock.js";
import { showPicture } from "../kinds/picture.js";
import { nameOf, presentMembers, summaryOf, titleOf } from "../people.js";
import { changed } from "../settings.js";
import { Avatar } from "../views/avatar.js";
import { confirmDialog } from "../views/dialog.js";
import { announce, h, icon, iconButton, overlay, useAgain, useClient, useListener, useSignal } from "../views/h.js";
import { showMenu } from "../views/menu.js";
import { language, shortTime, t } from "../words.js";
import { forwardDialog, readersDialog } from "./dialogs.js";
import { reportDialog } from "./report.js";
import { EmojiPanel } from "./emoji-panel.js";
import { Composer } from "./composer.js";
import { quickEmoji } from "./row.js";
import { Scroller } from "./scroller.js";
import { settings } from "../settings.js";

/** What is seen is read after so long at most. */
const READ_AFTER = 500;
/** From so many unread messages on the page around the first one is loaded instead of the newest. */
const FAR = 40;
/** A finger that rests so long asks for the menu. */
const PRESS = 500;

const looking = () => document.visibilityState === "visible" && document.hasFocus();
const WHERE = ["conversation", "messages", "list", "users", "presence"];

/** Opens the conversation in the client: where its first unread message is, or its end. */
function begin({ client }, id, seq) {
  const { unread, floor, head } = client.conversation(id);
  const first = unread > 0 && settings.opening === "unread" ? floor + 1 : undefined;
  client.open(id, 50, seq ?? (unread > FAR ? first : undefined));
  return { first, newest: head.seq };
}

/** @param props `friend`: the peer of a direct chat is a contact, so that presence is told */
export function Thread({ desk, id, seq, back, panel, friend }) {
  const { client } = desk;
  const again = useAgain();
  useClient(client, WHERE, (which, event) => !["conversation", "messages"].includes(event) || which === id);
  useSignal(desk.typed);
  const page = [useSignal(language), useSignal(day), useSignal(changed)].join();
  const [{ first, newest }] = useState(() => begin(desk, id, seq));
  const scroller = useRef();
  const composer = useRef();
  const menu = useRef(() => {});
  const place = useRef({ seen: 0, newest, since: 0, atBottom: true, newsAt: undefined }).current;
  const conversation = client.conversation(id);

  useLayoutEffect(() => {
    if (!matchMedia("(pointer: coarse)").matches) composer.current.focus(); // a keyboard that slides up is not asked for
    if (conversation?.kind === "group") client.loadMembers(id);
    if (conversation?.marked_unread) client.setInbox(id, { unread: false }).catch(() => {});
  }, []);
  useEffect(() => {
    if (seq !== undefined && scroller.current.target?.seq !== seq) scroller.current.toMessage(seq);
  }, [seq]);
  useLayoutEffect(() => menu.current());

  // ---- what is read ----

  const reading = useRef();
  const read = () => {
    // A pause that has begun goes on: if each message began it anew, a busy chat would never be read.
    reading.current ??= setTimeout(() => {
      reading.current = undefined;
      const one = client.conversation(id);
      // Of what others have said: one's own messages move the floor, and say nothing of what was seen before them.
      const theirs = one?.timeline?.messages.findLast(({ seq: at, sender }) => at <= place.seen && sender !== client.me.user);
      if (looking() && theirs?.seq > (one.read ?? 0)) client.read(id, place.seen);
    }, READ_AFTER);
  };
  useEffect(() => () => clearTimeout(reading.current), []);
  useListener(document, "visibilitychange", read);
  useListener(globalThis, "focus", read);
  const told = useRef({
    seen: (last) => {
      place.seen = Math.max(place.seen, last);
      read();
    },
    bottom: (atBottom, newsAt) => {
      if (atBottom) place.since = 0;
      if (atBottom === place.atBottom && newsAt === place.newsAt) return;
      Object.assign(place, { atBottom, newsAt });
      again();
    },
  }).current;
  useEffect(
    () =>
      client.on("message", (message) => {
        if (message.conversation !== id || message.seq <= place.newest) return; // another one's, or a new state of an old one
        place.newest = message.seq;
        if (message.sender === client.me.user) return scroller.current.clearNew();
        announce(`${nameOf(client, message.sender)}: ${summaryOf(client, preview(message))}`);
        if (scroller.current.atBottom && looking()) return undefined;
        scroller.current.markNew(message.seq, client.conversation(id)?.floor ?? 0);
        place.since += 1;
        return again();
      }),
    [],
  );

  // ---- what can be done with a message ----

  /** A row as it is now: what was on its way has perhaps arrived. */
  const current = ({ message, entry, mine }) => {
    const { messages, pending } = client.messages(id);
    if (message) return { message: client.conversation(id)?.timeline?.get(message.seq) ?? message, mine };
    const arrived = messages.findLast(({ ref, sender }) => ref === entry.ref && sender === client.me.user);
    return { message: arrived, entry: pending.find(({ ref }) => ref === entry.ref), mine };
  };
  const withMessage = (row, act) => {
    const { message } = current(row);
    if (message && !message.recalled) act(message);
  };
  const react = (message, emoji) => {
    settings.used(emoji);
    desk.attempt(() => desk.reactions.toggle(client.conversation(id).timeline?.get(message.seq) ?? message, emoji));
  };
  const pick = (message, trigger) => {
    const box = (trigger ?? scroller.current.elementOf({ message }))?.getBoundingClientRect();
    const close = overlay(() =>
      h(FloatingPicker, {
        box,
        pick: (emoji) => {
          close();
          react(message, emoji);
        },
        close: () => {
          close();
          scroller.current?.elementOf({ message })?.focus({ preventScroll: true });
        },
      }),
    );
  };
  const copy = async (text) => {
    await putOnClipboard(text);
    desk.say(t("copied"));
    composer.current?.focus();
  };
  const recall = async (message) => {
    if (!(await confirmDialog(t("recall.ask"), t("recall"), { quoted: summaryOf(client, preview(message)), danger: true }))) return;
    await desk.attempt(() => client.recall(id, message.seq));
    composer.current?.focus();
  };
  const link = (message) => new URL(`#/${encodeURIComponent(id)}/${message.seq}`, document.baseURI).href;

  /** What can be done follows the message while the menu is open: it is acknowledged, edited, recalled. */
  const itemsOf = (row) => {
    const { message, entry, mine } = current(row);
    const said = message ?? entry;
    if (!said || said.blob || said.recalled || said.kind === "system") return [];
    const here = !client.conversation(id)?.left && entry?.state !== "failed";
    const text = said.body?.text;
    const disabled = !message; // until the server has it
    const group = client.conversation(id)?.kind === "group";
    return [
      here && { label: t("reply"), symbol: "reply", disabled, act: () => withMessage(row, (one) => composer.current.reply(one)) },
      text && { label: t("copy"), symbol: "copy", act: () => copy(text) },
      here && { label: t("react"), symbol: "smile", disabled, act: () => withMessage(row, (one) => pick(one)) },
      here && mine && said.kind === "text" && { label: t("edit"), symbol: "edit", disabled, act: () => withMessage(row, (one) => composer.current.edit(one)) },
      ["text", "emoji", "location", "card"].includes(said.kind) && { label: t("forward"), symbol: "forward", disabled, act: () => withMessage(row, (one) => forwardDialog(desk, one)) },
      { label: t("copy.link"), symbol: "link", disabled, act: () => withMessage(row, (one) => copy(link(one))) },
      here && mine && group && { label: t("readers"), symbol: "eye", disabled, act: () => withMessage(row, (one) => readersDialog(desk, one)) },
      !mine && { label: t("report"), symbol: "alert", disabled, act: () => withMessage(row, (one) => reportDialog(desk, one, summaryOf(client, preview(one)))) },
      here && mine && { label: t("recall"), symbol: "recall", danger: true, disabled, act: () => withMessage(row, recall) },
    ];
  };
  const openMenu = (row, { point, trigger } = {}) => {
    if (itemsOf(row).filter(Boolean).length === 0) return;
    const { message } = current(row);
    const here = !client.conversation(id)?.left;
    const quick = (close) =>
      message &&
      here &&
      h(
        "div.menu-emoji",
        quickEmoji(6).map((emoji) =>
          h(
            "button.hover-emoji",
            {
              key: emoji,
              type: "button",
              role: "menuitem",
              tabindex: -1,
              "aria-label": `${t("react")} ${emoji}`,
              onclick: () => {
                close(true);
                react(message, emoji);
              },
            },
            emoji,
          ),
        ),
      );
    const above = matchMedia("(pointer: coarse)").matches ? quick : undefined;
    menu.current = showMenu(() => trigger?.isConnected ? trigger : scroller.current?.elementOf(current(row)), () => itemsOf(row), { point, above });
  };

  const rowOf = (element) => {
    const holder = element.closest?.(".row [data-seq], .row"); // a picture among others, or the whole row
    if (!holder) return undefined;
    const message = client.conversation(id)?.timeline?.get(Number(holder.dataset.seq));
    if (message) return { message, mine: message.sender === client.me.user };
    const entry = client.messages(id).pending.find(({ ref }) => holder.dataset.key === `ref:${ref}`);
    return entry && { entry, mine: true };
  };

  const acts = {
    menu: (row, trigger) => openMenu(row, { trigger, point: corner(trigger) }),
    quote: (target) => scroller.current.toMessage(target),
    view: (said) => showPicture(desk, id, said),
    retry: (ref) => client.retry(ref),
    discard: (ref) => client.discard(ref),
    asFile: (ref) => client.sendAsFile(ref),
    reply: (message) => withMessage({ message }, (one) => composer.current.reply(one)),
    react,
    pick,
  };

  function oncontextmenu(event) {
    const row = rowOf(event.target);
    if (!row || event.target.closest("a") || !getSelection().isCollapsed) return;
    event.preventDefault();
    openMenu(row, { point: { x: event.clientX, y: event.clientY } });
  }

  const pressing = useRef();
  const touch = {
    ontouchstart: (event) => {
      const { target, touches } = event;
      const row = rowOf(target);
      if (!row || touches.length > 1) return;
      const { clientX: x, clientY: y } = touches[0];
      pressing.current = setTimeout(() => openMenu(row, { point: { x, y } }), PRESS);
    },
    ontouchmove: () => clearTimeout(pressing.current),
    ontouchend: () => clearTimeout(pressing.current),
    ontouchcancel: () => clearTimeout(pressing.current),
  };
  useEffect(() => () => clearTimeout(pressing.current), []);

  const lastOf = (wanted) => client.conversation(id)?.timeline?.messages.findLast((one) => !one.recalled && wanted(one));
  /** Not an older one while the last is still on its way. */
  const editLast = () => {
    if (client.messages(id).pending.length > 0) return;
    const last = lastOf((one) => one.sender === client.me.user && one.kind === "text");
    if (last) composer.current.edit(last);
  };
  const replyLast = () => {
    const last = lastOf((one) => one.sender !== client.me.user && one.kind !== "system");
    if (last) composer.current.reply(last);
  };

  function onkeydown(event) {
    if (!event.target.matches?.(".row > [tabindex]")) return;
    const row = rowOf(event.target);
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if (event.key === "Escape") {
      composer.current.focus();
      event.stopPropagation();
      return;
    }
    if (!row || !plain) return;
    const { message, mine } = row;
    const alive = message && !message.recalled && message.kind !== "system";
    const key = event.key.toLowerCase();
    const act =
      { enter: () => openMenu(row), " ": () => openMenu(row) }[key] ??
      (mine && key === "delete" ? () => withMessage(row, recall) : undefined) ??
      (alive &&
        {
          r: () => composer.current.reply(message),
          e: () => mine && message.kind === "text" && composer.current.edit(message),
          c: () => message.body.text && copy(message.body.text),
          "+": () => react(message, "👍️"),
          ":": () => pick(message),
          1: () => react(message, quickEmoji()[0]),
          2: () => react(message, quickEmoji()[1]),
          3: () => react(message, quickEmoji()[2]),
        }[key]);
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  // Escape where nothing else is open: down and read, or back to the list. From anywhere: the first unread, the next mention.
  useListener(globalThis, "keydown", (event) => {
    if (document.querySelector("dialog[open]") || event.defaultPrevented) return;
    if (event.key === "Escape") {
      if (panel.peek()) panel.value = false;
      else if (!scroller.current.atBottom) down();
      else back();
    } else if (event.key === "PageUp" && event.shiftKey && !event.ctrlKey) {
      event.preventDefault();
      toNews();
    } else if ((event.ctrlKey || event.metaKey) && event.shiftKey && event.key.toLowerCase() === "m") {
      event.preventDefault();
      toMention();
    } else if ((event.ctrlKey || event.metaKey) && event.key === ".") {
      event.preventDefault();
      turn("info");
    } else if ((event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "f") {
      if (panel.peek() === "search" && document.activeElement?.closest(".find")) return; // again: the browser's own
      event.preventDefault();
      if (panel.peek() === "search") document.querySelector(".find input").focus();
      else panel.value = "search";
    }
  });
  const turn = (to) => (panel.value = panel.peek() === to ? false : to);
  const down = () => {
    scroller.current.clearNew();
    scroller.current.toNewest();
    composer.current?.focus();
  };
  const toNews = () => scroller.current.newFrom !== undefined && scroller.current.toMessage(scroller.current.newFrom, "new");
  const toMention = () => {
    const { mentioned } = client.conversation(id) ?? {};
    if (mentioned) scroller.current.toMessage(mentioned);
  };

  const drop = useDrops((files) => composer.current?.files(files), () => !conversation?.left);
  if (!conversation) return null;
  const title = titleOf(client, conversation);
  const direct = conversation.kind === "direct";
  const online = direct && client.online.has(conversation.peer?.user);
  const since = place.newsAt === "above" ? conversation.timeline?.get(scroller.current?.newFrom) : undefined;
  return h(
    "section.thread",
    { "aria-label": title, onkeydown, ...drop.props },
    h(
      "header.thread-head",
      iconButton("back", t("back"), back, { class: "icon-button back" }),
      h(
        "div.thread-who",
        { onclick: () => turn("info") }, // by keyboard: the button at the end
        h(Avatar, { id: direct ? (conversation.peer?.user ?? id) : id, name: title, picture: direct ? conversation.peer?.avatar : conversation.avatar, online, group: !direct }),
      ),
      h("div.thread-title", h("h1", title), h("p.thread-subtitle", { "aria-live": "polite" }, subtitleOf(desk, conversation, online, friend))),
      iconButton("search", t("search.here"), () => turn("search"), { "aria-expanded": String(panel.peek() === "search") }),
      iconButton("info", t("info"), () => turn("info"), { "aria-expanded": String(panel.peek() === "info") }),
    ),
    h(
      "div.thread-body",
      { oncontextmenu, ...touch },
      h(Scroller, { handle: scroller, desk, id, first, seq, page, acts, told }),
      place.newsAt === "above" &&
        h(
          "div.news-pill",
          h("button", { type: "button", onclick: toNews }, icon("up"), since ? t("news.since", conversation.unread, shortTime(since.time)) : t("news", conversation.unread)),
          h("button", { type: "button", onclick: down }, t("mark.read")),
        ),
      h(
        "div.jumps",
        conversation.mentioned > 0 && !place.atBottom && h("button.jump", { type: "button", "aria-label": t("jump.mention"), title: t("jump.mention"), onclick: toMention }, icon("at")),
        !place.atBottom &&
          h("button.jump", { type: "button", "aria-label": t("jump.new"), title: t("jump.new"), onclick: down }, icon("down"), h("span.jump-count", place.since > 0 ? String(place.since) : "")),
      ),
    ),
    h(Composer, {
      handle: composer,
      desk,
      id,
      editLast,
      replyLast,
      toMessages: () => scroller.current.focusLast(),
      sent: () => {
        scroller.current.clearNew();
        scroller.current.toNewest();
      },
    }),
    drop.hint && h("div.drop-hint", icon("clip"), t("drop")),
  );
}

function subtitleOf(desk, conversation, online, friend) {
  const typing = desk.typing(conversation.id);
  if (typing) return typing;
  if (conversation.kind === "direct") {
    if (desk.client.state !== "live") return "";
    if (online) return t("online");
    // Of a stranger who has not written the server tells nothing, which says nothing.
    return conversation.peerSpoke || friend ? t("offline") : "";
  }
  if (conversation.left) return "";
  const count = conversation.count ?? (conversation.membersLoaded && presentMembers(conversation).length);
  return count ? t("members", count) : "";
}

const corner = (element) => {
  const box = element.getBoundingClientRect();
  return { x: box.left, y: box.bottom + 4, above: box.top - 4 };
};

function FloatingPicker({ box, pick, close }) {
  const place = useRef();
  useLayoutEffect(() => {
    const { width, height } = place.current.getBoundingClientRect();
    const top = box && box.bottom + height + 8 < innerHeight ? box.bottom + 4 : Math.max(8, (box?.top ?? innerHeight) - height - 4);
    place.current.style.left = `${Math.max(8, Math.min(box?.left ?? 8, innerWidth - width - 8))}px`;
    place.current.style.top = `${top}px`;
  });
  return h("div.floating", { ref: place }, h(EmojiPanel, { pick, close }));
}

/** Files may be dropped anywhere on the conversation; they are looked at before they leave. */
function useDrops(take, may) {
  const [inside, setInside] = useState(0);
  const files = (event) => event.dataTransfer?.types.includes("Files") && may();
  return {
    hint: inside > 0,
    props: {
      ondragenter: (event) => files(event) && setInside((n) => n + 1),
      ondragleave: (event) => files(event) && setInside((n) => Math.max(0, n - 1)),
      ondragover: (event) => files(event) && event.preventDefault(),
      ondrop: (event) => {
        if (!files(event)) return;
        event.preventDefault();
        setInside(0);
        take([...event.dataTransfer.files]);
      },
    },
  };
}

async function putOnClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = Object.assign(document.createElement("textarea"), { value: text }); // plain http has no clipboard of its own
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}
