/** A voice message while it is spoken. */
import { useEffect, useRef, useState } from "../../vendor/preact.js";
import { h, icon, iconButton } from "../views/h.js";
import { lengthOf, t } from "../words.js";

const LEVELS = 48;

/** Whether this browser can record here: plain http has no microphone, but on localhost. */
export function canRecord() {
  return Boolean(navigator.mediaDevices?.getUserMedia && globalThis.MediaRecorder);
}

/** Records until `stop`, which resolves to `{blob, duration, levels}`, or `cancel`. */
class Recording {
  #chunks = [];
  #levels = [];
  #timer;
  #ended = false;

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
      tick(performance.now() - this.began);
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
    if (this.#ended) return;
    this.recorder.onstop = null;
    this.recorder.stop();
    this.#release();
  }

  #release() {
    this.#ended = true;
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

/** Records for as long as it is drawn: leaving the conversation, or the end of the session, closes the microphone. */
export function RecordingLine({ sent, ended, denied }) {
  const recording = useRef();
  const [time, setTime] = useState(0);
  useEffect(() => {
    let open = true;
    navigator.mediaDevices.getUserMedia({ audio: true }).then(
      (stream) => {
        if (open) recording.current = new Recording(stream, setTime);
        else for (const track of stream.getTracks()) track.stop();
      },
      () => open && denied(),
    );
    return () => {
      open = false;
      recording.current?.cancel();
    };
  }, []);
  const send = async () => {
    if (!recording.current) return;
    const { blob, duration, levels } = await recording.current.stop();
    sent(blob, { kind: "voice", name: `voice.${blob.type.split("/")[1]}`, body: { duration, levels } });
  };
  return h(
    "div.composer-line.recording",
    {
      onkeydown: (event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        ended();
      },
    },
    iconButton("trash", t("cancel"), ended),
    h("span.recording-dot", { "aria-hidden": "true" }),
    h("span", { role: "status" }, t("voice.recording")),
    h("span.voice-time", lengthOf(time)),
    h("button.send", { type: "button", "aria-label": t("send"), ref: (button) => time === 0 && button?.focus(), onclick: send }, icon("send")),
  );
}
