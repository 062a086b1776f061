/** Files before they leave: looked at, given a caption, or taken back. Nothing that was pasted or dropped goes by itself. */
import { useEffect, useMemo, useRef, useState } from "../../vendor/preact.js";
import { ask, Dialog } from "../views/dialog.js";
import { h, icon, iconButton } from "../views/h.js";
import { sizeOf, t } from "../words.js";

const POSTER_SIDE = 640;
const CAPTION = 2000;
const SIGNS = [
  ["image/png", (b) => b[0] === 0x89 && b[1] === 0x50 && b[2] === 0x4e],
  ["image/jpeg", (b) => b[0] === 0xff && b[1] === 0xd8],
  ["image/gif", (b) => b[0] === 0x47 && b[1] === 0x49 && b[2] === 0x46],
  ["image/webp", (b) => b[0] === 0x52 && b[1] === 0x49 && b[8] === 0x57 && b[9] === 0x45],
];

/** The files of a paste, unless it is text: cells of a spreadsheet come as text with a picture of themselves. */
export function pastedFiles(data) {
  const files = [...(data?.files ?? [])];
  return files.length > 0 && !data.getData("text/plain").trim() ? files : [];
}

/** What a file is by its first bytes: names lie. `{file, kind, damaged?}` */
export async function examined(file) {
  const first = new Uint8Array(await file.slice(0, 16).arrayBuffer().catch(() => new ArrayBuffer(0)));
  const type = SIGNS.find(([, is]) => is(first))?.[0];
  if (type) {
    const typed = type === file.type ? file : new File([file], file.name, { type });
    try {
      (await createImageBitmap(typed)).close();
      return { file: typed, kind: "image" };
    } catch {
      return { file, kind: "file", damaged: true };
    }
  }
  if (file.type.startsWith("image/")) return { file, kind: "file", damaged: ["image/png", "image/jpeg", "image/gif", "image/webp"].includes(file.type) };
  return { file, kind: file.type.startsWith("video/") ? "video" : "file" };
}

/** Duration, size and a poster of a video, as far as this browser can play it; else it is sent as a file. */
function videoFacts(file) {
  return new Promise((resolve) => {
    const url = URL.createObjectURL(file);
    const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true, preload: "auto" });
    const done = (facts) => {
      clearTimeout(limit);
      URL.revokeObjectURL(url);
      video.removeAttribute("src");
      resolve(facts);
    };
    const limit = setTimeout(() => done({ kind: "file" }), 8000);
    video.onerror = () => done({ kind: "file" });
    video.onloadeddata = () => {
      video.currentTime = Math.min(1, video.duration / 2 || 0);
    };
    video.onseeked = () => {
      const { videoWidth: width, videoHeight: height, duration } = video;
      if (!width || !Number.isFinite(duration)) return done({ kind: "file" });
      const scale = Math.min(1, POSTER_SIDE / Math.max(width, height));
      const canvas = Object.assign(document.createElement("canvas"), { width: Math.round(width * scale), height: Math.round(height * scale) });
      canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
      const body = { duration: Math.max(1, Math.round(duration * 1000)), width, height };
      return canvas.toBlob((poster) => done({ kind: "video", body, poster: poster ?? undefined }), "image/jpeg", 0.8);
    };
    video.src = url;
  });
}

/** Asks with a preview, then sends. Resolves to whether something was sent; the caption begins with what was typed. */
export async function sendFiles(client, conversation, files, typed) {
  const list = await Promise.all([...files].map(examined));
  const chosen = await ask((done) => h(Preview, { list, typed, done }));
  if (!chosen) return false;
  const { items, caption } = chosen;
  for (const [index, { file, kind }] of items.entries()) {
    const facts = kind === "video" ? await videoFacts(file) : { kind };
    const last = index === items.length - 1;
    client.attach(conversation, file, last && caption ? { ...facts, body: { ...facts.body, text: caption } } : facts);
  }
  return true;
}

function Preview({ list, typed, done }) {
  const [items, setItems] = useState(list);
  const [caption, setCaption] = useState(typed);
  const field = useRef();
  const pictures = items.some(({ kind }) => kind === "image");
  const plain = () => setItems(items.map(({ file, damaged }) => ({ file, kind: "file", damaged })));
  const send = () => items.length > 0 && done({ items, caption: caption.trim() });
  return h(
    Dialog,
    { title: t("send.files", items.length), close: () => done(), kind: ".outgoing" },
    h(
      "form.dialog-body",
      {
        onsubmit: (event) => {
          event.preventDefault();
          send();
        },
      },
      h(
        "ul.outgoing-items",
        items.map((item, index) => h(Item, { key: `${item.file.name}.${index}`, item, remove: () => (items.length > 1 ? setItems(items.filter((one) => one !== item)) : done()) })),
      ),
      pictures && h("button.link", { type: "button", onclick: plain }, t("send.as.files")),
      h("textarea.caption", {
        ref: field,
        rows: 2,
        value: caption,
        maxlength: CAPTION,
        placeholder: t("caption"),
        "aria-label": t("caption"),
        "data-autofocus": "",
        dir: "auto",
        oninput: (event) => setCaption(event.target.value),
        onkeydown: (event) => {
          if (event.key !== "Enter" || event.shiftKey) return;
          event.preventDefault();
          send();
        },
      }),
      h("div.dialog-buttons", h("button.secondary", { type: "button", onclick: () => done() }, t("cancel")), h("button.primary", { type: "submit" }, t("send"))),
    ),
  );
}

function Item({ item: { file, kind, damaged }, remove }) {
  const url = useMemo(() => (kind === "image" ? URL.createObjectURL(file) : undefined), [file, kind]);
  useEffect(() => () => url && URL.revokeObjectURL(url), [url]);
  return h(
    "li.outgoing-item",
    url ? h("img", { src: url, alt: "" }) : h("span.outgoing-file", icon(kind === "video" ? "play" : "file")),
    h("span.list-text", h("span.list-title", file.name), h("span.list-preview", damaged ? t("file.damaged") : sizeOf(file.size))),
    iconButton("close", t("remove", file.name), remove),
  );
}
