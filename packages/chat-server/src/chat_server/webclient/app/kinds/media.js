/** Video and voice, which go on playing whatever happens around them; files and uploads. */
import { useEffect, useRef, useState } from "../../vendor/preact.js";
import { lengthOf, sizeOf, t } from "../words.js";
import { h, icon, iconButton } from "../views/h.js";
import { fetchAddress, useAddress } from "./address.js";
import { reserved } from "./picture.js";

/** A new address in the place of one that has ended: goes on where it was. */
async function goOn(player, refused) {
  const { currentTime } = player;
  const url = await refused();
  if (!url) return;
  player.src = url;
  player.currentTime = currentTime;
  player.play().catch(() => {});
}

export function Video({ desk, said }) {
  const { client } = desk;
  const player = useRef();
  const [wanted, want] = useState(Boolean(said.blob));
  const { url, broken, refused } = useAddress(client, said, "url", wanted);
  const poster = useAddress(client, said, "poster");
  const asked = useRef(false);
  useEffect(() => {
    if (!url || !asked.current) return;
    asked.current = false;
    player.current.play().catch(() => {});
  }, [url]);
  if (broken) return h("p.file-gone", t("file.gone"));
  const begin = (event) => {
    if (url) return;
    event.preventDefault(); // without a source the controls are dead: the first press loads it
    asked.current = true;
    want(true);
  };
  return h("video", {
    ref: player,
    controls: true,
    preload: "none",
    playsinline: true,
    src: url,
    poster: poster.url,
    style: reserved(said.body),
    "aria-label": said.body.text || said.body.name || t("kind.video"),
    onclick: begin,
    onplay: begin,
    onerror: () => url && goOn(player.current, refused),
  });
}

let playing; // one voice at a time

export function Voice({ desk, said }) {
  const { duration = 0, levels = [] } = said.body;
  const audio = useRef();
  const [{ paused, at }, look] = useState({ paused: true, at: 0 });
  const { refused } = useAddress(desk.client, said, "url", false);
  useEffect(() => {
    const player = new Audio();
    audio.current = player;
    const draw = () => look({ paused: player.paused, at: player.ended ? 0 : player.currentTime * 1000 });
    for (const event of ["play", "pause", "ended", "timeupdate"]) player.addEventListener(event, draw);
    player.addEventListener("error", () => player.src && goOn(player, refused));
    return () => player.pause();
  }, []);
  const toggle = async () => {
    const player = audio.current;
    if (!player.paused) return player.pause();
    if (!player.src) {
      const url = said.blob ? URL.createObjectURL(said.blob) : await fetchAddress(desk.client, said);
      if (!url) return undefined;
      player.src = url;
    }
    if (playing !== player) playing?.pause();
    playing = player;
    return player.play().catch(() => {});
  };
  const seek = (event) => {
    if (!audio.current.duration && !duration) return;
    const box = event.currentTarget.getBoundingClientRect();
    audio.current.currentTime = (((event.clientX - box.left) / box.width) * duration) / 1000;
  };
  const bars = levels.length ? levels : Array(24).fill(60);
  const part = duration ? at / duration : 0;
  return h(
    "div.voice-player",
    iconButton(paused ? "play" : "pause", t(paused ? "voice.play" : "voice.pause"), toggle),
    h(
      "span.voice-bars",
      { "aria-hidden": "true", onclick: seek },
      bars.map((level, index) =>
        h("span.voice-bar", {
          key: index,
          class: index / bars.length < part ? "played" : "",
          style: { height: `${Math.max(3, Math.round((Math.min(255, Number(level) || 0) / 255) * 26))}px` },
        }),
      ),
    ),
    h("span.voice-time", lengthOf(at > 0 ? at : duration)),
  );
}

export function FileCard({ desk, said }) {
  const { name = t("kind.file"), size } = said.body;
  const open = async () => {
    const url = await fetchAddress(desk.client, said);
    if (!url) return desk.say(t("file.gone"));
    const link = Object.assign(document.createElement("a"), { href: url, download: name, rel: "noopener", target: "_blank" });
    document.body.append(link);
    link.click();
    link.remove();
    return undefined;
  };
  return h(
    "button.card",
    { type: "button", tabindex: -1, "aria-label": `${t("download")}: ${name}`, disabled: said.blob !== undefined, onclick: open },
    icon("file"),
    h("span", h("span.card-title", name), h("span.card-detail", Number.isFinite(size) ? sizeOf(size) : "")),
  );
}

export function Progress({ upload, acts }) {
  const bar = useRef();
  useEffect(() => {
    upload.told = (progress) => {
      if (bar.current) bar.current.value = progress;
    };
    return () => (upload.told = undefined);
  }, [upload]);
  if (upload.state === "failed") return null;
  return h(
    "div.upload",
    h("progress", { ref: bar, max: 1, value: upload.progress, "aria-label": t("upload.progress", upload.name) }),
    iconButton("close", t("upload.cancel"), () => acts.discard(upload.ref)),
  );
}
