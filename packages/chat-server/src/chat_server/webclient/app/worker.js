/** The service worker beside the page, and what it tells. */
import { open } from "./route.js";

/** Only this one address may become a worker: the page's policy for Trusted Types says so. */
export function startWorker() {
  if (!navigator.serviceWorker) return; // plain http, or a private window
  const address = new URL("sw.js", document.baseURI).href.replace(/#.*/, "");
  const createScriptURL = (url) => {
    if (url !== address) throw new TypeError("no worker but the page's own");
    return url;
  };
  const policy = globalThis.trustedTypes?.createPolicy("chat-worker", { createScriptURL }) ?? { createScriptURL };
  navigator.serviceWorker.register(policy.createScriptURL(address)).catch(() => {}); // the page works without
  navigator.serviceWorker.addEventListener("message", ({ data }) => data?.open && open(data.open, data.seq));
}
