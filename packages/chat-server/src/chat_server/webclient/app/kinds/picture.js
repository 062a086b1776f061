/** Pictures: one, several together, and the viewer over the page. */
import { useEffect, useLayoutEffect, useRef, useState } from "../../vendor/preact.js";
import { t } from "../words.js";
import { h, icon, iconButton, overlay, useClient } from "../views/h.js";
import { useAddress } from "./address.js";

/** The longest side of a picture in a conversation, in CSS pixels. */
const SIDE = 320;

/** The space that it will take, so that nothing jumps when it comes. */
export function reserved({ width, height }) {
  if (!(width > 0 && height > 0)) return {};
  const scale = Math.min(1, SIDE / Math.max(width, height));
  return { width: `${Math.max(48, Math.round(width * scale))}px`, aspectRatio: `${width} / ${height}` };
}

export function Picture({ desk, said, acts, tile = false }) {
  const { body } = said;
  const { url, broken, refused } = useAddress(desk.client, said, body.animated ? "url" : "small");
  const alt = body.text || body.name || t("kind.image");
  return h(
    "button.picture",
    {
      type: "button",
      tabindex: -1,
      class: broken ? "broken" : "",
      "aria-label": `${t("view")}: ${alt}`,
      "data-seq": tile ? said.seq : undefined,
      style: tile ? {} : reserved(body),
      onclick: () => acts.view(said),
    },
    broken ? icon("picture") : h("img", { alt, src: url, decoding: "async", draggable: false, onerror: refused }),
  );
}

/** Several pictures of one sender, one after the other. */
export function Album({ desk, messages, acts }) {
  return h(
    "div.album",
    { class: messages.length > 4 || messages.length === 3 ? "three" : "" },
    messages.map((message) => h(Picture, { key: message.ref, desk, said: message, acts, tile: true })),
  );
}

const picturesOf = (messages) => messages.filter((one) => one.kind === "image" && one.body?.file && !one.recalled);

/** Opens the viewer at one picture, with its neighbours in the conversation. */
export function showPicture(desk, id, said) {
  const back = document.activeElement;
  const close = overlay(() =>
    h(Viewer, {
      desk,
      id,
      said,
      close: () => {
        close();
        if (document.activeElement === document.body) back?.focus?.();
      },
    }),
  );
}

function Viewer({ desk, id, said, close }) {
  const { client } = desk;
  const box = useRef();
  const [{ seq, last }, look] = useState({ seq: said.seq, last: said });
  const [zoom, setZoom] = useState({ scale: 1, x: 0, y: 0 });
  useClient(client, ["messages", "reset"], (changed, event) => event === "reset" || changed === id);
  useLayoutEffect(() => {
    box.current.showModal();
  }, []);
  const { messages } = client.messages(id);
  const pictures = said.blob ? [said] : picturesOf(messages);
  const index = said.blob ? 0 : pictures.findIndex((one) => one.seq === seq);
  const gone = index < 0 && (messages.length === 0 || seq >= messages[0].seq); // recalled, rather than scrolled away
  useEffect(() => {
    if (gone) close();
  }, [gone]);
  const one = pictures[index] ?? last;
  const step = (by) => {
    const next = pictures[index + by];
    if (!next) return;
    look({ seq: next.seq, last: next });
    setZoom({ scale: 1, x: 0, y: 0 });
  };
  const pointer = useRef();
  const onwheel = (event) => {
    event.preventDefault();
    setZoom(({ scale, x, y }) => {
      const to = Math.min(6, Math.max(1, scale * (event.deltaY < 0 ? 1.2 : 1 / 1.2)));
      return to === 1 ? { scale: 1, x: 0, y: 0 } : { scale: to, x, y };
    });
  };
  const onpointermove = (event) => {
    if (!pointer.current || zoom.scale === 1) return;
    const { x, y } = pointer.current;
    pointer.current = { x: event.clientX, y: event.clientY };
    setZoom((now) => ({ ...now, x: now.x + event.clientX - x, y: now.y + event.clientY - y }));
  };
  const caption = [one.body.text, pictures.length > 1 && index >= 0 ? `${index + 1} / ${pictures.length}` : ""].filter(Boolean).join(" · ");
  return h(
    "dialog.viewer",
    {
      ref: box,
      "aria-label": t("kind.image"),
      onclose: close,
      onclick: (event) => (event.target === box.current || event.target.matches(".viewer-stage")) && box.current.close(),
      onkeydown: (event) => {
        const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (by) step(by);
        event.stopPropagation();
      },
    },
    h(
      "div.viewer-bar",
      h("p.viewer-caption", { role: "status" }, caption),
      h(Save, { key: one.seq, client, said: one }),
      iconButton("close", t("close"), () => box.current.close(), { autofocus: true }),
    ),
    h(
      "div.viewer-stage",
      {
        onwheel,
        ondblclick: () => setZoom((now) => (now.scale > 1 ? { scale: 1, x: 0, y: 0 } : { scale: 2.5, x: 0, y: 0 })),
        onpointerdown: (event) => (pointer.current = { x: event.clientX, y: event.clientY, from: { x: event.clientX, y: event.clientY } }),
        onpointermove,
        onpointerup: () => (pointer.current = undefined),
        onpointercancel: () => (pointer.current = undefined),
      },
      iconButton("back", t("viewer.previous"), () => step(-1), { disabled: index <= 0 }),
      h(Whole, { key: one.seq ?? one.ref, client, said: one, zoom }),
      iconButton("back", t("viewer.next"), () => step(1), { disabled: index < 0 || index >= pictures.length - 1, class: "icon-button flip" }),
    ),
  );
}

function Whole({ client, said, zoom }) {
  const { url, broken, refused } = useAddress(client, said, said.body.animated ? "url" : "large");
  if (broken) return h("p.viewer-broken", t("file.gone"));
  const moved = zoom.scale === 1 ? "" : `translate(${zoom.x}px, ${zoom.y}px) scale(${zoom.scale})`;
  return h("img.viewer-image", { alt: said.body.text || said.body.name || t("kind.image"), src: url, draggable: false, style: { transform: moved }, onerror: refused });
}

function Save({ client, said }) {
  const { url } = useAddress(client, said, "url", !said.blob);
  return h("a.icon-button", { href: url, download: said.body.name ?? "", "aria-label": t("download"), title: t("download"), rel: "noopener", target: "_blank" }, icon("download"));
}
