/** Messages that the server finds: asked for when one has stopped typing, page by page; and one of them as a line. */
import { useEffect, useRef, useState } from "../../vendor/preact.js";
import { h } from "../views/h.js";
import { errorText } from "../words.js";

const PAUSE = 250;
const EMPTY = 5;

/**
 * @param wanted what is looked for (see `MessageSearch`), or undefined for nothing
 * @returns `{hits, more, busy, error, none}`: `more()` asks for the next page, where there is one
 */
export function useMessages(client, wanted) {
  const [found, setFound] = useState({ hits: [] });
  const asked = useRef(0);
  const key = JSON.stringify(wanted);
  const ask = async (number, before, cursor) => {
    let answer;
    try {
      answer = await client.search({ ...wanted, cursor });
      // A page may be empty without being the last one; after some of them one is asked whether to go on.
      for (let empty = 1; empty < EMPTY && answer.cursor && answer.hits.length === 0 && number === asked.current; empty += 1) {
        answer = await client.search({ ...wanted, cursor: answer.cursor });
      }
    } catch (error) {
      if (number === asked.current) setFound({ hits: before, off: error.code === "unavailable" && client.state === "live", error: errorText(error) });
      return;
    }
    if (number !== asked.current) return;
    const hits = [...before, ...answer.hits];
    setFound({ hits, cursor: answer.cursor, none: hits.length === 0 && !answer.cursor });
  };
  useEffect(() => {
    const number = (asked.current += 1);
    if (!wanted) {
      setFound({ hits: [] });
      return undefined;
    }
    setFound(({ hits }) => ({ hits, busy: true }));
    const timer = setTimeout(() => ask(number, []), PAUSE);
    return () => clearTimeout(timer);
  }, [key]);
  useEffect(() => () => (asked.current += 1), []);
  const more = found.cursor && !found.busy ? () => {
    setFound((now) => ({ ...now, busy: true }));
    ask(asked.current, found.hits, found.cursor);
  } : undefined;
  return { ...found, more };
}

/** The line of a hit, its marks marked. Marks count code points, JavaScript counts halves of some. */
export function Marked({ text, marks }) {
  const points = [...text];
  const parts = [];
  let at = 0;
  for (const [from, to] of marks) {
    if (from > at) parts.push(points.slice(at, from).join(""));
    parts.push(h("mark", { key: from }, points.slice(from, to).join("")));
    at = to;
  }
  parts.push(points.slice(at).join(""));
  return h("span.found-text", { dir: "auto" }, parts);
}
