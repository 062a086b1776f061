/**
 * Files on their way out: announced, put straight into the store, finished, and then sent as a message.
 *
 * What may pass (a lost connection, a store that is away) is tried again; an upload in parts goes on with the parts
 * that are missing. Uploads live as long as the page: a browser does not let a page keep a file for later.
 */
import { facts } from "./queue.js";
import { newRef } from "./session.js";

const PASSING = new Set(["unavailable", "internal", "rate_limited"]);
const LONGEST_WAIT = 30000;
/** Being too quick passes; the day's quota does not, and is told. */
const passes = (error) => PASSING.has(error.code) && (error.retryAfter ?? 0) * 1000 <= LONGEST_WAIT;
/** The store is away or full, or a former try has not ended there yet: the same link works later. */
const comesBack = ({ status }) => status === 0 || status === 408 || status === 429 || status >= 500;
/** The type that the browser or the user's system gave it is not taken, or its content is another one. */
const isOfType = (error) => error.code === "invalid" && error.field === "type";
const BYTES = "application/octet-stream";
/** What a server takes in no name: control characters, what turns the direction of writing, what is not seen. */
const UNNAMEABLE = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
/** Links for so many parts are asked for at a time. */
const PARTS = 8;

/** The store has answered, or nobody has (status 0). */
export class PutError extends Error {
  constructor(status) {
    super(status ? `the store answered ${status}` : "the store cannot be reached");
    this.name = "PutError";
    this.status = status;
  }
}

/** `({method, url, headers}, blob, {progress(bytes), signal})`; XMLHttpRequest, because fetch tells no progress. */
export function xhrPut({ method, url, headers }, blob, { progress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    for (const [name, value] of Object.entries(headers)) {
      if (!["host", "content-length"].includes(name.toLowerCase())) request.setRequestHeader(name, value);
    }
    request.upload.onprogress = ({ loaded }) => progress(loaded);
    request.onload = () => (request.status < 300 ? resolve() : reject(new PutError(request.status)));
    request.onerror = () => reject(new PutError(0));
    request.onabort = () => reject(new DOMException("canceled", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(blob);
  });
}

export class Uploads {
  #call;
  #put;
  #clock;
  #base;
  #changed;
  #finished;
  #lines = new Map(); // conversation → when the last of its uploads is through
  #waiting = new Map(); // upload → {timer, go}

  /**
   * @param call a command; @param base address that relative links are relative to
   * @param changed told the conversation; @param finished told the upload, whose `file` may now be sent
   */
  constructor({ call, base, clock, changed, finished, put = xhrPut }) {
    this.#call = call;
    this.#base = base;
    this.#clock = clock;
    this.#changed = changed;
    this.#finished = finished;
    this.#put = put;
    this.all = new Map(); // ref → upload
  }

  /** @param parts `{kind, body, poster?}`: what is sent beside the file; `poster`: a picture to be sent with it */
  add(conversation, blob, { name, kind = "file", body = {}, poster } = {}) {
    const upload = { ref: newRef(), conversation, blob, kind, at: Date.now(), state: "uploading", progress: 0, poster };
    upload.name = name ?? blob.name ?? "file";
    upload.body = { ...body, name: upload.name, type: blob.type, size: blob.size };
    upload.extra = body;
    this.all.set(upload.ref, upload);
    if (blob.size) this.#enqueue(upload);
    else this.#fail(upload, { code: "empty" });
    return upload;
  }

  /** Brings a file into the store that belongs to no conversation; resolves to its id, rejects where it is refused. */
  send(blob, name = blob.name ?? "file") {
    return this.#transfer({ blob, name }, new AbortController().signal, () => {});
  }

  of(conversation) {
    return [...this.all.values()].filter((upload) => upload.conversation === conversation);
  }

  cancel(ref) {
    const upload = this.all.get(ref);
    if (!upload) return;
    this.all.delete(ref);
    this.#forget(upload);
    upload.abort?.abort();
    if (upload.file) this.#call("upload.cancel", { file: upload.file }).catch(() => {}); // it would be swept anyway
    this.#changed(upload.conversation);
  }

  retry(ref) {
    const upload = this.all.get(ref);
    if (upload?.state !== "failed" || !upload.blob.size) return;
    upload.error = undefined;
    upload.state = "uploading";
    this.#enqueue(upload);
  }

  /** Sends as a file what was refused as what it calls itself. */
  asFile(ref) {
    const upload = this.all.get(ref);
    if (upload?.state !== "failed") return;
    Object.assign(upload, { plain: true, file: undefined, kind: "file", extra: upload.extra.text ? { text: upload.extra.text } : {} });
    this.retry(ref);
  }

  /** The connection is back: what waits is tried now. */
  wake() {
    for (const { go } of [...this.#waiting.values()]) go();
  }

  /** One at a time per conversation: pictures arrive in the order in which they were chosen. */
  #enqueue(upload) {
    this.#changed(upload.conversation);
    const before = this.#lines.get(upload.conversation) ?? Promise.resolve();
    const line = before.then(() => this.#run(upload));
    this.#lines.set(upload.conversation, line);
  }

  async #run(upload) {
    for (let tries = 0; this.all.has(upload.ref); tries += 1) {
      upload.abort = new AbortController();
      try {
        if (upload.poster && !upload.posterFile) {
          upload.posterPart ??= { conversation: upload.conversation, blob: upload.poster, name: "poster.jpg" };
          upload.posterFile = await this.#transfer(upload.posterPart, upload.abort.signal, () => {});
        }
        const file = await this.#transfer(upload, upload.abort.signal, (done) => this.#progress(upload, done));
        if (!this.all.delete(upload.ref)) return;
        const body = { ...upload.extra, file };
        if (upload.posterFile) body.poster = upload.posterFile;
        this.#finished({ ...upload, body });
        return;
      } catch (error) {
        if (!this.all.has(upload.ref)) return;
        if (isOfType(error) && !upload.plain && ["file", "image"].includes(upload.kind)) {
          // Then it goes as what every server takes: some bytes, which nobody shows.
          Object.assign(upload, { plain: true, file: undefined, kind: "file" });
          upload.extra = upload.extra.text ? { text: upload.extra.text } : {};
          this.#changed(upload.conversation);
          continue;
        }
        // A link that has expired, or an upload that was swept, begins anew; a second time it is refused.
        if (error instanceof PutError && !comesBack(error) && tries < 2) {
          upload.file = undefined;
          upload.posterPart = undefined;
        } else if (!(error instanceof PutError && comesBack(error)) && !passes(error)) {
          this.#fail(upload, error);
          return;
        }
        upload.state = "waiting";
        this.#changed(upload.conversation);
        await this.#pause(upload, (error.retryAfter ?? 1) * 1000 * 2 ** Math.min(tries, 5));
        upload.state = "uploading";
        this.#changed(upload.conversation);
      }
    }
  }

  #fail(upload, error) {
    upload.state = "failed";
    upload.error = facts(error, Date.now());
    this.#changed(upload.conversation);
  }

  #pause(upload, wait) {
    return new Promise((resolve) => {
      const go = () => {
        this.#forget(upload);
        resolve();
      };
      this.#waiting.set(upload, { go, timer: this.#clock.after(Math.min(wait, LONGEST_WAIT), go) });
    });
  }

  #forget(upload) {
    const waiting = this.#waiting.get(upload);
    if (!waiting) return;
    this.#clock.cancel(waiting.timer);
    this.#waiting.delete(upload);
  }

  #progress(upload, done) {
    upload.progress = upload.blob.size ? Math.min(1, done / upload.blob.size) : 1;
    upload.told?.(upload.progress);
  }

  /** Brings one blob into the store; answers its file id. What is there already is not sent again. */
  async #transfer(upload, signal, progress) {
    const { blob, conversation, name } = upload;
    if (!upload.file) {
      const begun = await this.#call("upload.begin", {
        conversation,
        name: [...name.replace(UNNAMEABLE, "_")].slice(0, 255).join(""),
        type: (!upload.plain && blob.type.split(";")[0]) || BYTES,
        size: blob.size,
      });
      Object.assign(upload, { file: begun.file, begun, there: false });
    }
    if (!upload.there) {
      if (upload.begun.put) await this.#put(this.#absolute(upload.begun.put), blob, { progress, signal });
      else await this.#parts(upload, signal, progress);
      upload.there = true;
    }
    await this.#call("upload.finish", { file: upload.file });
    return upload.file;
  }

  async #parts({ file, blob, begun }, signal, progress) {
    const size = begun.part_size;
    const { have } = await this.#call("upload.parts", { file, numbers: [] });
    const missing = Array.from({ length: begun.parts }, (_, n) => n + 1).filter((n) => !have.includes(n));
    let done = have.length * size;
    while (missing.length > 0) {
      const { links } = await this.#call("upload.parts", { file, numbers: missing.splice(0, PARTS) });
      for (const { number, put } of links) {
        const part = blob.slice((number - 1) * size, number * size);
        const before = done;
        await this.#put(this.#absolute(put), part, { progress: (bytes) => progress(before + bytes), signal });
        done += part.size;
        progress(done);
      }
    }
  }

  #absolute(request) {
    return { ...request, url: new URL(request.url, this.#base).href };
  }
}

/** Addresses of files, asked for in one call for all that are wanted at the moment, and kept while they are valid. */
export class Links {
  #call;
  #base;
  #now;
  #known = new Map(); // file → {link, until}
  #asked = new Map(); // file → promise
  #batch;

  /** @param now the server's time: links end by its clock */
  constructor({ call, base, now = () => Date.now() }) {
    this.#call = call;
    this.#base = base;
    this.#now = now;
  }

  /** The link of a file, or undefined where it may not be read (any more). */
  get(file) {
    const known = this.#known.get(file);
    if (known && known.until > this.#now() + 60_000) return Promise.resolve(known.link);
    if (!this.#asked.has(file)) {
      this.#batch ??= this.#ask();
      this.#batch.files.push(file);
      this.#asked.set(file, this.#batch.answer.then((links) => links.get(file)));
    }
    return this.#asked.get(file);
  }

  /** Another link: the one that is known was refused. */
  renew(file) {
    this.#known.delete(file);
    return this.get(file);
  }

  #ask() {
    const batch = { files: [] };
    batch.answer = new Promise((resolve) => setTimeout(resolve, 20)).then(async () => {
      this.#batch = undefined;
      const links = new Map();
      try {
        for (let at = 0; at < batch.files.length; at += 50) {
          const { files } = await this.#call("file.links", { files: batch.files.slice(at, at + 50) });
          for (const link of files) {
            for (const name of ["url", "small", "large"]) if (link[name]) link[name] = new URL(link[name], this.#base).href;
            links.set(link.file, link);
            this.#known.set(link.file, { link, until: link.expires_at });
          }
        }
      } catch {
        // not told now; asked again when it is wanted again
      }
      for (const file of batch.files) this.#asked.delete(file);
      return links;
    });
    return batch;
  }
}
