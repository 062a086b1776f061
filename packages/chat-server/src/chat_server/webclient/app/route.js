/** What is open: the address says it, so that reload, back and a link work. `#/ID`, `#/ID/SEQ`, `#/settings/PAGE`, `#/contacts`. */
import { signal } from "../vendor/preact.js";

const PAGES = new Set(["settings", "contacts"]);

export const route = signal(parse(location.hash, undefined));

/** A page lies over the conversation that was open. */
function parse(hash, before) {
  let first, second;
  try {
    [first, second] = hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  } catch {
    first = ""; // no address of ours
  }
  if (PAGES.has(first)) return { conversation: before?.conversation, page: first, sub: second };
  return { conversation: first || undefined, seq: /^\d{1,15}$/.test(second ?? "") ? Number(second) : undefined };
}

addEventListener("hashchange", () => (route.value = parse(location.hash, route.peek())));

export function go(...parts) {
  const hash = `#/${parts.filter((part) => part !== undefined).map(encodeURIComponent).join("/")}`;
  if (location.hash !== hash) location.hash = hash;
  else route.value = parse(hash, route.peek()); // once more to the same message
}

/** To a conversation, or to none. */
export const open = (id, seq) => (id ? go(id, seq) : go());

/** Away from a page, back to what lies under it. */
export const leavePage = () => open(route.peek().conversation);
