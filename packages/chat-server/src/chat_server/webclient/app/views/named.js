/** A user's name, beside which the login name stands where that is needed. */
import { h } from "./h.js";

/** The login name as it is shown where `mixed` has the user; otherwise nothing. */
export const handleAmong = (mixed, user) => (mixed.has(user.user) && user.handle ? `@${user.handle}` : "");

/** A user's name in a list; with the login name where `mixed` has the user. */
export function named(user, mixed, label = user.name) {
  const handle = handleAmong(mixed, user);
  return h("span.list-title", label, handle && h("bdi.handle", handle));
}
