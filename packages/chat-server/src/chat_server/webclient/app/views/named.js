/** A user's name, beside which the login name stands where that is needed. */
import { h } from "./h.js";

/** A user's name in a list; with the login name where `mixed` has the user. */
export function named(user, mixed, label = user.name) {
  return h("span.list-title", label, mixed.has(user.user) && user.handle && h("bdi.handle", `@${user.handle}`));
}
