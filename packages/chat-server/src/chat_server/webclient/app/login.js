/** The way in: a code for the phone, a name in development mode, a password, a new account. */
import { useEffect, useRef, useState } from "../vendor/preact.js";
import { ChatClient } from "../chat-client.js";
import { device, settings } from "./settings.js";
import { h, icon, useSignal } from "./views/h.js";
import { errorText, language, speak, t } from "./words.js";

const SHORTEST_PASSWORD = 8;

/** @param props `url` of the socket; `notice`: why one is here again; `done(token)` */
export function Login({ url, notice, done }) {
  useSignal(language);
  const [{ client, methods, registration, live }, setState] = useState({});
  useEffect(() => {
    const guest = new ChatClient({ url, device: device() });
    let asked = false;
    guest.on("state", ({ state }) => setState((before) => ({ ...before, live: state === "live", waiting: state === "waiting" })));
    guest.on("welcome", async () => {
      if (asked) return;
      asked = true;
      const answer = await guest.call("auth.methods");
      setState((before) => ({ ...before, client: guest, ...answer }));
    });
    guest.start();
    return () => guest.stop();
  }, []);
  const names = new Set(methods?.map(({ name }) => name));
  // Every method beside these two works like the code: begin, show a link, wait.
  const ticketed = methods?.filter(({ name }) => !["dev", "password"].includes(name)) ?? [];
  const finish = ({ token }) => done(token);
  const other = language.peek() === "zh" ? "en" : "zh";
  return h(
    "main.login",
    h(
      "div.login-card",
      h("div.login-brand", h("img", { src: "static/icon.svg", alt: "", width: 56, height: 56 }), h("h1", t("name")), h("p", t("tagline"))),
      notice && h("p.login-notice", { role: "alert" }, notice),
      !(live && methods) && h("p.login-net", { role: "status" }, methods ? t("net.reconnecting") : t("loading")),
      client &&
        h(
          "div.login-ways",
          ticketed.length > 0 && h(CodeLogin, { client, methods: ticketed, done: finish }),
          (names.has("dev") || names.has("password") || names.size === 0) &&
            h(
              "div.login-forms",
              names.has("dev") && h(NameForm, { client, done: finish }),
              names.has("password") && h(PasswordForm, { client, registration, done: finish, first: !names.has("dev") }),
              names.size === 0 && h("p", t("login.none")),
            ),
        ),
      h(
        "button.link.login-language",
        {
          type: "button",
          lang: other,
          onclick: () => {
            settings.language = other;
            speak();
          },
        },
        icon("globe"),
        t("language.other"),
      ),
    ),
  );
}

function CodeLogin({ client, methods, done }) {
  const [provider, setProvider] = useState((methods.find(({ name }) => name === "qr") ?? methods[0]).name);
  const [state, setState] = useState({ said: "login.wait" });
  const now = useRef({}).current; // what listeners see: the ticket and its end
  const begin = async () => {
    setState({ said: "login.wait" });
    now.ticket = undefined;
    try {
      const begun = await client.call("auth.begin", { provider, device: device() });
      if (now.closed || now.provider !== provider) return;
      now.ticket = begun.ticket;
      clearTimeout(now.expiry);
      now.expiry = setTimeout(() => told({ state: "expired" }), begun.expires_in * 1000);
      setState({ said: "login.qr", begun });
    } catch (error) {
      if (!now.closed) setState({ error });
    }
  };
  const told = (data) => {
    if (!now.ticket || now.closed) return;
    if (data.state === "succeeded") done(data);
    else if (data.state === "scanned") setState((before) => ({ ...before, said: "login.scanned" }));
    else if (data.state === "refused" || data.state === "expired") {
      now.ticket = undefined;
      setState({ said: `login.${data.state}` });
    }
  };
  useEffect(() => {
    now.provider = provider;
    begin();
  }, [provider]);
  useEffect(() => {
    now.closed = false;
    const stops = [
      client.on("push", ({ event, data }) => event === "login" && data.ticket === now.ticket && told(data)),
      // A new session pushes nothing of the old one's ticket.
      client.on("welcome", ({ resumed }) => !resumed && now.ticket && client.call("auth.poll", { ticket: now.ticket }).then(told, begin)),
    ];
    return () => {
      now.closed = true; // nothing is shown or read out after the login
      clearTimeout(now.expiry);
      stops.forEach((stop) => stop());
    };
  }, []);
  const { begun, said, error } = state;
  const shown = typeof begun?.picture === "string" && begun.picture.startsWith("data:image/");
  return h(
    "section.login-qr",
    { "aria-label": t("login.title") },
    shown && h("img.qr", { class: said === "login.scanned" ? "dimmed" : "", src: begun.picture, alt: t("login.qr.alt"), width: 220, height: 220 }),
    h("p", { role: "status" }, error ? errorText(error) : t(said)),
    begun && h("a.login-link", { href: /^https?:/i.test(begun.url) ? begun.url : undefined, target: "_blank", rel: "noopener" }, shown ? t("login.link") : begun.url),
    begun?.warning && h("p.login-warning", { role: "alert" }, begun.warning),
    (error || said === "login.refused" || said === "login.expired") && h("button.primary", { type: "button", onclick: begin }, t("login.again")),
    methods.filter(({ name }) => name !== provider).map(({ name, title }) => h("button.link", { key: name, type: "button", onclick: () => setProvider(name) }, title)),
  );
}

function Form({ title, hint, children, submit, yes = t("login.enter") }) {
  const [{ error, busy, devices = [] }, setState] = useState({});
  const run = async (replace) => {
    if (busy) return;
    setState({ busy: true });
    try {
      await submit(replace);
      setState({});
    } catch (problem) {
      // Where so many devices may be logged in and no more, one of them has to make room.
      setState({ error: typeof problem === "string" ? problem : errorText(problem), devices: problem.details?.devices });
    }
  };
  return h(
    "form.login-form",
    {
      "aria-label": title,
      onsubmit: (event) => {
        event.preventDefault();
        run();
      },
    },
    h("h2", title),
    hint && h("p.login-hint", hint),
    children,
    h("p.form-error", { role: "alert" }, devices.length > 0 ? t("login.full") : error),
    devices.map(({ login, device: id, name, platform }) => h("button.secondary", { key: login ?? id, type: "button", onclick: () => run(login ?? id) }, t("login.replace", name || platform))),
    h("button.primary", { type: "submit", disabled: busy }, yes),
  );
}

const fine = () => matchMedia("(pointer: fine)").matches;

function Field({ label, value, change, first, ...rest }) {
  const input = useRef();
  useEffect(() => {
    if (first && fine()) input.current.focus({ preventScroll: true });
  }, []);
  return h("input", { ref: input, type: "text", placeholder: label, "aria-label": label, required: true, value, oninput: (event) => change(event.target.value), ...rest });
}

function NameForm({ client, done }) {
  const [name, setName] = useState("");
  return h(
    Form,
    { title: t("login.dev"), hint: t("login.dev.hint"), submit: async (replace) => done(await client.call("auth.dev", { name: name.trim(), device: device(), replace })) },
    h(Field, { label: t("login.name"), name: "name", value: name, change: setName, maxlength: 64, autocomplete: "nickname", first: true }),
  );
}

/** Takes the code of an invitation out of the address: it is spent, and who logs out here wants to log in again. */
function forgetInvitation() {
  const here = new URL(location.href);
  here.searchParams.delete("invite");
  history.replaceState(history.state, "", here);
}

/** @param props `registration`: who may make an account, as `auth.methods` says; who brings a code may try it anyhow */
function PasswordForm({ client, registration, done, first }) {
  const brought = useState(() => new URLSearchParams(location.search).get("invite") ?? "")[0];
  const [making, setMaking] = useState(brought !== "");
  const [{ name, handle, password, again, invite }, setState] = useState({ name: "", handle: "", password: "", again: "", invite: brought });
  const change = (field) => (value) => setState((before) => ({ ...before, [field]: value }));
  const asked = registration === "invite" || brought !== "";
  const submit = async (replace) => {
    if (!making) return done(await client.call("auth.password", { name: name.trim(), password, device: device(), replace }));
    if (password.length < SHORTEST_PASSWORD) throw t("error.invalid.password");
    if (password !== again) throw t("login.password.differs");
    const made = await client.call("auth.register", { name: name.trim(), handle: handle.trim() || undefined, password, invite: invite.trim() || undefined, device: device() });
    forgetInvitation();
    return done(made);
  };
  const title = t(making ? "login.register" : "login.password.title");
  const own = making && handle.trim() !== ""; // one logs in by that, and a keeper of passwords should know it
  return [
    h(
      Form,
      { key: making ? "make" : "enter", title, submit, yes: t(making ? "login.register.do" : "login.enter") },
      h(Field, { label: t(making ? "login.name" : "login.name.or"), name: "username", value: name, change: change("name"), maxlength: 64, autocomplete: own ? "nickname" : "username", first }),
      making && h(Field, { label: t("login.handle"), name: "handle", value: handle, change: change("handle"), maxlength: 64, required: false, autocapitalize: "none", spellcheck: false, autocomplete: own ? "username" : "off" }),
      h(Field, { label: t("login.password"), name: "password", type: "password", value: password, change: change("password"), maxlength: 256, autocomplete: making ? "new-password" : "current-password" }),
      making && h(Field, { label: t("login.password.again"), name: "again", type: "password", value: again, change: change("again"), maxlength: 256, autocomplete: "new-password" }),
      making && asked && h(Field, { label: t("login.invite"), name: "invite", value: invite, change: change("invite"), maxlength: 256, autocomplete: "off" }),
    ),
    (making || registration !== "closed") && h("button.link", { key: "other", type: "button", onclick: () => setMaking(!making) }, t(making ? "login.have" : "login.register")),
  ];
}
