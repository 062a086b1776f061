/** Members by name: those that are held, and in groups too large to be held, those that the server finds. */
import { useEffect, useState } from "../vendor/preact.js";
import { presentMembers } from "./people.js";
import { matches } from "./text/mentions.js";

const WAIT = 200;

/** Whether not all members of a group are held. */
export const isLarger = (one) => Boolean(one?.membersLoaded && one.count > presentMembers(one).length);

/** Asks the server; an answer that comes too late, or none, is an empty one. */
export async function findMembers(client, conversation, query) {
  try {
    const { members } = await client.call("group.members", { conversation, query, limit: 50 });
    return members;
  } catch {
    return [];
  }
}

/** Those held whose name fits, and soon those whom the server finds. */
export function useMembers(client, one, query) {
  const [found, setFound] = useState([]);
  const held = presentMembers(one);
  const asks = query && isLarger(one);
  useEffect(() => {
    setFound([]);
    if (!asks) return undefined;
    let current = true;
    const timer = setTimeout(() => findMembers(client, one.id, query).then((members) => current && setFound(members)), WAIT);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [query, asks]);
  if (!query) return held;
  const near = held.filter(({ user }) => matches(user.name, query));
  const ids = new Set(near.map(({ user }) => user.user));
  return [...near, ...found.filter(({ user }) => !ids.has(user.user))];
}
