/** Names that can be mixed up. */

/** What a name looks like: the server says so where that is not the name in small letters. */
const looks = ({ name, skeleton }) => skeleton ?? name.toLowerCase();

/** Those among the people that a search has found who can be mixed up with one another, with whom one writes to, or with
 * oneself; looked for only where somebody was found. */
export function mixedUpFound(client, found) {
  return found?.length ? mixedUp([...found, ...client.list().flatMap(({ peer }) => peer ?? []), client.me]) : new Set();
}

/** The ids of those among these users who can be mixed up with another of them: their names look the same, or the name of
 * one is the login name of another. */
export function mixedUp(users) {
  const byLook = new Map();
  const byHandle = new Map();
  for (const one of users) {
    if (one.handle) byHandle.set(one.handle, one.user);
    byLook.set(looks(one), (byLook.get(looks(one)) ?? new Set()).add(one.user));
  }
  const found = new Set();
  for (const one of users) {
    if (byLook.get(looks(one)).size > 1) found.add(one.user);
    const other = byHandle.get(one.name.toLowerCase()) ?? byHandle.get(looks(one));
    if (other !== undefined && other !== one.user) found.add(one.user).add(other);
  }
  return found;
}
