/**
 * The service worker: the page opens without a network, a push shows a notification, a press on it leads there.
 *
 * Kept are the page (the network first, for two seconds) and what lies under a digest (never asked for again). Never kept:
 * the socket, commands, files of messages.
 */
const SCOPE = new URL("./", self.location.href);
const PAGE = "page";
const PATIENCE = 2000;
const DIGEST = /^static\/([0-9a-f]{16})\//;

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== SCOPE.origin || !url.pathname.startsWith(SCOPE.pathname)) return;
  const path = url.pathname.slice(SCOPE.pathname.length);
  const digest = DIGEST.exec(path)?.[1];
  if (digest) event.respondWith(kept(request, digest));
  else if (path === "") event.respondWith(page(request));
});

async function kept(request, digest) {
  const cache = await caches.open(digest);
  const known = await cache.match(request);
  if (known) return known;
  const answer = await fetch(request);
  if (answer.ok) await cache.put(request, answer.clone());
  return answer;
}

async function page(request) {
  const cache = await caches.open(PAGE);
  const fetched = fetch(request).then(async (answer) => {
    if (answer.ok) await renew(cache, request, answer.clone());
    return answer;
  });
  fetched.catch(() => {}); // it may end after the page was answered
  const late = new Promise((_, reject) => setTimeout(reject, PATIENCE));
  try {
    return await Promise.race([fetched, late]);
  } catch {
    return (await cache.match(new URL("./", request.url).href)) ?? fetched;
  }
}

/** Keeps the page; of another version's files nothing stays. */
async function renew(cache, request, answer) {
  const digest = /static\/([0-9a-f]{16})\//.exec(await answer.clone().text())?.[1];
  await cache.put(new URL("./", request.url).href, answer);
  for (const name of await caches.keys()) if (name !== PAGE && name !== digest) await caches.delete(name);
}

self.addEventListener("push", (event) => event.waitUntil(pushed(event.data)));

/** `{notification: {title, body, tag, data: {conversation, seq}}, app_badge}`: the form that Safari reads without a worker. */
async function pushed(data) {
  let told = {};
  try {
    told = data.json();
  } catch {
    // not ours: a word that something came is better than none
  }
  const { title = "Interesting Chat", body = "", tag = "chat", data: about = {} } = told.notification ?? {};
  const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const hash = `#/${encodeURIComponent(about.conversation ?? "")}`;
  if (windows.some((one) => one.focused && new URL(one.url).hash.startsWith(hash))) return; // somebody looks at it
  if ("setAppBadge" in navigator && Number.isInteger(told.app_badge)) await navigator.setAppBadge(told.app_badge).catch(() => {});
  await self.registration.showNotification(title, { body, tag, renotify: true, icon: "static/icons/192.png", badge: "static/icons/badge.png", data: about });
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(opened(event.notification.data ?? {}));
});

async function opened({ conversation, seq }) {
  const [one] = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  if (one) {
    if (conversation) one.postMessage({ open: conversation, seq });
    await one.focus().catch(() => {});
  } else await self.clients.openWindow(conversation ? `./#/${encodeURIComponent(conversation)}${seq ? `/${seq}` : ""}` : "./");
}
