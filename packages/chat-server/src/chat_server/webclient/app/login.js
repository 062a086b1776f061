/** The way in: a code for the phone, a name in development mode, a password. */
import { ChatClient } from "../chat-client.js";
import { announce, fill, h, icon } from "./dom.js";
import { device, settings } from "./settings.js";
import { t } from "./words.js";

/**
 * @param root where to draw; @param url of the socket; @param notice why one is here again, or undefined
 * Resolves to a token.
 */
export function login(root, url, notice) {
  return new Promise((resolve) => {
    const client = new ChatClient({ url, device: device() });
    const qr = h("section.login-qr", { hidden: true, "aria-label": t("login.title") });
    const forms = h("div.login-forms", { hidden: true });
    const net = h("p.login-net", { role: "status" }, t("loading"));
    fill(
      root,
      h(
        "main.login",
        h(
          "div.login-card",
          h("div.login-brand", h("img", { src: "static/icon.svg", alt: "", width: "56", height: "56" }), h("h1", t("name")), h("p", t("tagline"))),
          notice ? h("p.login-notice", { role: "alert" }, notice) : null,
          net,
          h("div.login-ways", qr, forms),
          h(
            "button.link.login-language",
            {
              type: "button",
              onclick: () => {
                settings.language = t("language") === "中文" ? "zh" : "en";
                location.reload();
              },
            },
            icon("globe"),
            t("language"),
          ),
        ),
      ),
    );

    const done = ({ token }) => {
      client.stop();
      resolve(token);
    };
    const code = new QrLogin(client, qr, done);
    client.on("state", ({ state }) => {
      net.hidden = state === "live";
      if (state === "waiting") net.textContent = t("net.reconnecting");
    });
    let shown = false;
    client.on("welcome", async ({ resumed }) => {
      if (shown) {
        if (!resumed) code.check();
        return;
      }
      shown = true;
      const { methods } = await client.call("auth.methods");
      const names = new Set(methods.map(({ name }) => name));
      // Every method beside these two works like the code: begin, show a link, wait.
      const ticketed = methods.filter(({ name }) => !["dev", "password"].includes(name));
      if (ticketed.length > 0) code.offer(ticketed);
      if (names.has("dev")) forms.append(nameForm(client, done));
      if (names.has("password")) forms.append(passwordForm(client, done));
      if (names.size === 0) forms.append(h("p", t("login.none")));
      forms.hidden = !forms.hasChildNodes();
      if (matchMedia("(pointer: fine)").matches) forms.querySelector("input")?.focus({ preventScroll: true });
    });
    client.start();
  });
}

class QrLogin {
  #client;
  #root;
  #done;
  #ticket;
  #expiry;
  #begun;
  #methods = [];
  #provider = "qr";

  constructor(client, root, done) {
    this.#client = client;
    this.#root = root;
    this.#done = done;
    client.on("push", ({ event, data }) => event === "login" && data.ticket === this.#ticket && this.#state(data));
  }

  /** Begins the first of these methods; the others are a press away. */
  offer(methods) {
    this.#methods = methods;
    this.#provider = (methods.find(({ name }) => name === "qr") ?? methods[0]).name;
    this.begin();
  }

  async begin() {
    this.#root.hidden = false;
    this.#show(t("login.wait"));
    try {
      const begun = await this.#client.call("auth.begin", { provider: this.#provider, device: device() });
      this.#ticket = begun.ticket;
      this.#begun = begun;
      clearTimeout(this.#expiry);
      this.#expiry = setTimeout(() => this.#state({ state: "expired" }), begun.expires_in * 1000);
      this.#show(t("login.qr"), this.#picture());
    } catch (error) {
      this.#show(error.message, this.#again());
    }
  }

  /** After a new session, which pushes nothing of the old one's ticket. */
  async check() {
    if (!this.#ticket) return;
    try {
      this.#state(await this.#client.call("auth.poll", { ticket: this.#ticket }));
    } catch {
      this.begin();
    }
  }

  #state(data) {
    if (!this.#ticket) return;
    if (data.state === "succeeded") {
      clearTimeout(this.#expiry);
      this.#done(data);
    } else if (data.state === "scanned") this.#show(t("login.scanned"), this.#picture(true));
    else if (data.state === "refused" || data.state === "expired") {
      this.#ticket = undefined;
      this.#show(t(`login.${data.state}`), this.#again());
    }
  }

  #picture(dimmed = false) {
    const { picture, url, warning } = this.#begun;
    const shown = typeof picture === "string" && picture.startsWith("data:image/");
    return [
      shown ? h(`img.qr${dimmed ? ".dimmed" : ""}`, { src: picture, alt: t("login.qr.alt"), width: "220", height: "220" }) : null,
      h("a.login-link", { href: /^https?:/i.test(url) ? url : undefined, target: "_blank", rel: "noopener" }, shown ? t("login.link") : url),
      warning ? h("p.login-warning", { role: "alert" }, warning) : null,
    ];
  }

  #again() {
    return h("button.primary", { type: "button", onclick: () => this.begin() }, t("login.again"));
  }

  #show(text, ...below) {
    const [picture, ...rest] = below.flat();
    const others = this.#methods.filter(({ name }) => name !== this.#provider);
    const other = ({ name, title }) => {
      const choose = () => {
        this.#provider = name;
        this.#ticket = undefined;
        this.begin();
      };
      return h("button.link", { type: "button", onclick: choose }, title);
    };
    fill(this.#root, picture, h("p", { role: "status" }, text), rest, others.map(other));
    announce(text);
  }
}

function form(title, hint, fields, submit) {
  const error = h("p.form-error", { role: "alert" });
  const button = h("button.primary", { type: "submit" }, t("login.enter"));
  return h(
    "form.login-form",
    {
      "aria-label": title,
      onsubmit: async (event) => {
        event.preventDefault();
        button.disabled = true;
        error.textContent = "";
        try {
          await submit();
        } catch (problem) {
          error.textContent = problem.message;
        }
        button.disabled = false;
      },
    },
    h("h2", title),
    hint ? h("p.login-hint", hint) : null,
    fields,
    error,
    button,
  );
}

function nameForm(client, done) {
  const name = h("input", { type: "text", name: "name", placeholder: t("login.name"), "aria-label": t("login.name"), required: true, maxlength: "64", autocomplete: "nickname" });
  return form(t("login.dev"), t("login.dev.hint"), [name], async () => done(await client.call("auth.dev", { name: name.value.trim() })));
}

function passwordForm(client, done) {
  const name = h("input", { type: "text", name: "username", placeholder: t("login.name"), "aria-label": t("login.name"), required: true, autocomplete: "username" });
  const password = h("input", { type: "password", name: "password", placeholder: t("login.password"), "aria-label": t("login.password"), required: true, autocomplete: "current-password" });
  return form(t("login.password.title"), undefined, [name, password], async () =>
    done(await client.call("auth.password", { name: name.value.trim(), password: password.value })),
  );
}
