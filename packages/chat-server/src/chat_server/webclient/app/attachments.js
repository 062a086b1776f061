/** Pictures, files, voice and video: how they are sent, shown and opened. */
import { h, icon, iconButton } from "./dom.js";
import { richText } from "./richtext.js";
import { t } from "./words.js";

const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
/** The longest side of a picture in a conversation, in CSS pixels. */
const SIDE = 320;
const POSTER_SIDE = 640;

/** Sends files as what they are: pictures, videos with a poster, anything else as a file. */
export async function attach(client, conversation, files) {
  for (const file of files) {
    if (PICTURES.has(file.type)) client.attach(conversation, file, { kind: "image" });
    else if (file.type.startsWith("video/")) client.attach(conversation, file, await videoFacts(file));
    else client.attach(conversation, file, { kind: "file" });
  }
}

/** Duration, size and a poster of a video, as far as this browser can play it; else it is sent as a file. */
function videoFacts(file) {
  return new Promise((resolve) => {
    const url = URL.createObjectURL(file);
    const video = h("video", { muted: true, playsinline: true, preload: "auto" });
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
      const canvas = h("canvas", { width: Math.round(width * scale), height: Math.round(height * scale) });
      canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
      const body = { duration: Math.max(1, Math.round(duration * 1000)), width, height };
      canvas.toBlob((poster) => done({ kind: "video", body, poster: poster ?? undefined }), "image/jpeg", 0.8);
    };
    video.src = url;
  });
}

// ---- in a bubble ----

/** @param said a message, or an upload that is to become one */
export function attachment(client, said, acts) {
  const { kind, body } = said;
  const show = { image: picture, video, voice }[kind] ?? fileCard;
  const box = h(`div.attachment.${kind}`, show(client, said, acts));
  if (said.blob) box.append(progressOf(said, acts));
  if (body.text) box.append(h("div.text", { dir: "auto" }, richText(body.text)));
  return box;
}

/** Several pictures of one sender, one after the other. */
export function album(client, messages, acts) {
  const tiles = messages.map((message) => {
    const tile = picture(client, { ...message, body: { ...message.body, width: 0 } }, acts);
    tile.dataset.seq = message.seq;
    return tile;
  });
  return h(`div.album${tiles.length > 4 || tiles.length === 3 ? ".three" : ""}`, tiles);
}

function progressOf(upload, acts) {
  if (upload.state === "failed") return "";
  const bar = h("progress", { max: "1", value: upload.progress, "aria-label": t("upload.progress", upload.name) });
  upload.told = (progress) => (bar.value = progress);
  return h("div.upload", bar, iconButton("close", t("upload.cancel"), () => acts.discard(upload.ref)));
}

/** An address for what is not uploaded yet; freed when the page has drawn it and drops it. */
function localUrl(upload) {
  upload.url ??= URL.createObjectURL(upload.blob);
  return upload.url;
}

async function address(client, said, size) {
  if (said.blob) return localUrl(said);
  const link = await client.link(size === "poster" ? said.body.poster : said.body.file);
  return link && (link[size] ?? link.url);
}

function reserve(element, { width, height }) {
  if (!(width > 0 && height > 0)) return;
  const scale = Math.min(1, SIDE / Math.max(width, height));
  element.style.width = `${Math.max(48, Math.round(width * scale))}px`;
  element.style.aspectRatio = `${width} / ${height}`;
}

function picture(client, said, acts) {
  const { body } = said;
  const image = h("img", { alt: body.text || body.name || t("kind.image"), decoding: "async", draggable: "false" });
  const button = h("button.picture", { type: "button", tabindex: "-1", "aria-label": `${t("view")}: ${image.alt}`, onclick: () => acts.view(said) }, image);
  reserve(button, body);
  image.onerror = () => button.classList.add("broken");
  address(client, said, body.animated ? "url" : "small").then((url) => {
    if (url) image.src = url;
    else button.classList.add("broken");
  });
  return button;
}

function video(client, said) {
  const player = h("video", { controls: true, preload: "none", playsinline: true, "aria-label": said.body.text || said.body.name || t("kind.video") });
  reserve(player, said.body);
  if (said.body.poster) address(client, said, "poster").then((url) => url && (player.poster = url));
  const load = async () => {
    player.src = (await address(client, said)) ?? "";
  };
  if (said.blob) load();
  else player.addEventListener("play", () => player.getAttribute("src") || load().then(() => player.play()), { once: true });
  // Without a source the controls are dead: the first press loads it.
  player.addEventListener("click", async (event) => {
    if (player.getAttribute("src")) return;
    event.preventDefault();
    await load();
    player.play().catch(() => {});
  });
  return player;
}

let playing;

function voice(client, said) {
  const { duration = 0, levels = [] } = said.body;
  const audio = new Audio();
  const time = h("span.voice-time", clockOf(duration));
  const bars = (levels.length ? levels : Array(24).fill(60)).map((level) => {
    const bar = h("span.voice-bar");
    bar.style.height = `${Math.max(3, Math.round((level / 255) * 26))}px`;
    return bar;
  });
  const toggle = iconButton("play", t("voice.play"), async () => {
    if (!audio.paused) {
      audio.pause();
      return;
    }
    if (!audio.src) {
      const url = await address(client, said);
      if (!url) return;
      audio.src = url;
    }
    if (playing !== audio) playing?.pause();
    playing = audio;
    audio.play().catch(() => {});
  });
  const draw = () => {
    toggle.replaceChildren(icon(audio.paused ? "play" : "pause"));
    toggle.setAttribute("aria-label", t(audio.paused ? "voice.play" : "voice.pause"));
    const part = duration ? (audio.currentTime * 1000) / duration : 0;
    bars.forEach((bar, index) => bar.classList.toggle("played", index / bars.length < part));
    time.textContent = clockOf(audio.currentTime > 0 && !audio.ended ? audio.currentTime * 1000 : duration);
  };
  for (const event of ["play", "pause", "ended", "timeupdate"]) audio.addEventListener(event, draw);
  return h("div.voice-player", toggle, h("span.voice-bars", { "aria-hidden": "true" }, bars), time);
}

function clockOf(milliseconds) {
  const seconds = Math.round(milliseconds / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

export function sizeOf(bytes) {
  const units = ["B", "kB", "MB", "GB"];
  let unit = 0;
  for (; bytes >= 1000 && unit < 3; unit += 1) bytes /= 1000;
  return `${bytes >= 10 || unit === 0 ? Math.round(bytes) : bytes.toFixed(1)} ${units[unit]}`;
}

function fileCard(client, said) {
  const { name = t("kind.file"), size } = said.body;
  const open = async () => {
    const url = await address(client, said);
    if (!url) return;
    const link = h("a", { href: url, download: name, rel: "noopener", target: "_blank" });
    document.body.append(link);
    link.click();
    link.remove();
  };
  return h(
    "button.card",
    { type: "button", tabindex: "-1", "aria-label": `${t("download")}: ${name}`, disabled: said.blob !== undefined, onclick: open },
    icon("file"),
    h("span", h("span.card-title", name), h("span.card-detail", Number.isFinite(size) ? sizeOf(size) : "")),
  );
}

// ---- the viewer: one picture, with its neighbours in the conversation ----

/** @param pictures messages of kind image, oldest first; answers a handle on the viewer */
export function showPicture(client, pictures, said) {
  let index = pictures.findIndex((one) => (one.seq ? one.seq === said.seq : one === said));
  const image = h("img.viewer-image", { alt: "" });
  const caption = h("p.viewer-caption", { role: "status" });
  const before = iconButton("back", t("viewer.previous"), () => step(-1));
  const after = iconButton("back", t("viewer.next"), () => step(1));
  after.classList.add("flip");
  const save = h("a.icon-button", { "aria-label": t("download"), title: t("download"), rel: "noopener", target: "_blank" }, icon("download"));
  const box = h(
    "dialog.viewer",
    { "aria-label": t("kind.image") },
    h("div.viewer-bar", caption, save, iconButton("close", t("close"), () => box.close())),
    h("div.viewer-stage", before, image, after),
  );
  function step(by) {
    if (!pictures[index + by]) return;
    index += by;
    show();
  }
  function place() {
    before.disabled = index <= 0;
    after.disabled = index >= pictures.length - 1;
    caption.textContent = [pictures[index].body.text, pictures.length > 1 ? `${index + 1} / ${pictures.length}` : ""].filter(Boolean).join(" · ");
  }
  async function show() {
    const one = pictures[index];
    place();
    image.alt = one.body.text || one.body.name || t("kind.image");
    image.removeAttribute("src");
    const url = await address(client, one, one.body.animated ? "url" : "large");
    if (pictures[index].seq !== one.seq) return;
    if (url) image.src = url;
    const whole = await address(client, one);
    if (whole) Object.assign(save, { href: whole, download: one.body.name ?? "" });
  }
  box.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) step(by);
  });
  box.addEventListener("click", (event) => (event.target === box || event.target.matches(".viewer-stage")) && box.close());
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
  show();
  return {
    get open() {
      return box.open;
    },
    /** These are left of what is known from `first` on: what was taken back is seen no longer. */
    only(left, first) {
      const { seq } = pictures[index];
      const at = left.findIndex((one) => one.seq === seq);
      if (at >= 0) {
        [pictures, index] = [left, at];
        place();
      } else if (seq >= first) {
        box.close();
      }
    },
  };
}

// ---- voice ----

const LEVELS = 48;

/** Whether this browser can record here: plain http has no microphone, but on localhost. */
export function canRecord() {
  return Boolean(navigator.mediaDevices?.getUserMedia && globalThis.MediaRecorder);
}

/** Records until `stop`, which resolves to `{blob, duration, levels}`, or `cancel`. */
export class Recording {
  #chunks = [];
  #levels = [];
  #timer;

  static async start(tick) {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    return new Recording(stream, tick);
  }

  constructor(stream, tick) {
    this.stream = stream;
    const type = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"].find((one) => MediaRecorder.isTypeSupported(one));
    this.recorder = new MediaRecorder(stream, type ? { mimeType: type } : {});
    this.recorder.ondataavailable = ({ data }) => data.size && this.#chunks.push(data);
    this.began = performance.now();
    this.audio = new AudioContext();
    const meter = this.audio.createAnalyser();
    this.audio.createMediaStreamSource(stream).connect(meter);
    const samples = new Uint8Array(meter.fftSize);
    this.#timer = setInterval(() => {
      meter.getByteTimeDomainData(samples);
      this.#levels.push(samples.reduce((most, sample) => Math.max(most, Math.abs(sample - 128)), 0) * 2);
      tick(clockOf(performance.now() - this.began));
    }, 100);
    this.recorder.start();
  }

  stop() {
    return new Promise((resolve) => {
      const duration = Math.max(1, Math.round(performance.now() - this.began));
      this.recorder.onstop = () => {
        const type = this.recorder.mimeType.split(";")[0];
        resolve({ blob: new Blob(this.#chunks, { type }), duration, levels: this.#summary() });
      };
      this.recorder.stop();
      this.#release();
    });
  }

  cancel() {
    this.recorder.onstop = null;
    this.recorder.stop();
    this.#release();
  }

  #release() {
    clearInterval(this.#timer);
    this.audio.close();
    for (const track of this.stream.getTracks()) track.stop();
  }

  #summary() {
    const all = this.#levels;
    if (all.length <= LEVELS) return all.map((level) => Math.min(255, level));
    return Array.from({ length: LEVELS }, (_, n) => {
      const part = all.slice(Math.floor((n * all.length) / LEVELS), Math.max(1, Math.floor(((n + 1) * all.length) / LEVELS)));
      return Math.min(255, Math.max(...part, 0));
    });
  }
}
