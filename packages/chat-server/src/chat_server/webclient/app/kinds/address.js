/** Addresses of files for views: asked for when they are drawn, and anew when they were refused. */
import { useEffect, useRef, useState } from "../../vendor/preact.js";

/** Object addresses of what is not uploaded yet; they live a little longer than the view, until the real one is drawn. */
const LINGER = 10_000;

async function addressOf(client, said, size, again) {
  const file = size === "poster" ? said.body.poster : said.body.file;
  if (!file) return undefined;
  const link = await (again ? client.renewLink(file) : client.link(file));
  return link && (link[size] ?? link.url);
}

/**
 * `{url, broken, refused()}` of a file; `refused` is what an `error` event calls: the first time a new link is asked for,
 * the second time the file is given up.
 * @param size "url" (the whole), "small", "large", "poster"
 */
export function useAddress(client, said, size, wanted = true) {
  const [shown, show] = useState({});
  const tries = useRef(0);
  const file = size === "poster" ? said.body?.poster : said.body?.file;
  useEffect(() => {
    if (!wanted) return undefined;
    let current = true;
    if (said.blob && size !== "poster") {
      const url = URL.createObjectURL(said.blob);
      show({ url });
      return () => setTimeout(() => URL.revokeObjectURL(url), LINGER);
    }
    if (!file) return undefined;
    addressOf(client, said, size, false).then((url) => current && show(url ? { url } : { broken: true }));
    return () => (current = false);
  }, [said.blob, file, size, wanted]);
  const refused = async () => {
    tries.current += 1;
    if (said.blob || tries.current > 2) return show({ broken: true });
    const url = await addressOf(client, said, size, true);
    show(url ? { url } : { broken: true });
    return url;
  };
  return { ...shown, refused };
}

/** Asks for the address at once, for what is opened by a press. */
export const fetchAddress = (client, said, size = "url") => addressOf(client, said, size, false);
