/**
 * Notifications while no page is open: this browser's subscription at its own push service, told to the server. Browsers are
 * asked for the permission elsewhere, after a press (`notify.js`); without it nothing here does anything.
 */
import { mayNotify } from "./notify.js";
import { settings } from "./settings.js";

const PROVIDER = "webpush";

async function registered() {
  if (!globalThis.PushManager) return undefined;
  return navigator.serviceWorker?.getRegistration().catch(() => undefined);
}

/** An iPhone or iPad shows notifications of pages on its home screen alone. */
export function needsHomeScreen() {
  return /iPhone|iPad/.test(navigator.userAgent) && !matchMedia("(display-mode: standalone)").matches;
}

/** Subscribes, renews or ends what this browser has, by what was chosen and allowed. Resolves to whether it is told. */
export async function keepPushed(client) {
  const registration = await registered();
  if (!registration || mayNotify() !== "granted") return false;
  if (settings.push === "off") {
    if (await stopped(registration)) await client.call("push.unsubscribe");
    return false;
  }
  const { addresses, providers } = await client.call("push.list");
  const key = providers.find(({ name }) => name === PROVIDER)?.public.key;
  if (!key) return false;
  let subscription = await registration.pushManager.getSubscription();
  if (subscription && keyOf(subscription) !== key) {
    await subscription.unsubscribe(); // the server has another key: nothing of it would come any more
    subscription = undefined;
  }
  subscription ??= await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  const known = addresses.some(({ current, provider }) => current && provider === PROVIDER);
  if (!known || settings.pushed !== subscription.endpoint) {
    await client.call("push.subscribe", { provider: PROVIDER, address: subscription.toJSON() });
    settings.pushed = subscription.endpoint;
  }
  return true;
}

function keyOf({ options }) {
  const bytes = new Uint8Array(options.applicationServerKey ?? []);
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** Nothing more comes to this browser, and nothing of it is left on the screen: for a logout. */
export async function stopPushing() {
  const registration = await registered();
  if (!registration) return;
  await stopped(registration);
  for (const shown of await registration.getNotifications()) shown.close();
}

async function stopped(registration) {
  settings.pushed = undefined;
  const subscription = await registration.pushManager.getSubscription().catch(() => undefined);
  return (await subscription?.unsubscribe()) ?? false;
}
