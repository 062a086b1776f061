/** The check of `converges` is itself checked: each defect that is planted here has to be found. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Replica, Session, Timeline } from "../../packages/chat-server/src/chat_server/webclient/chat-client.js";
import { run } from "./model.js";

const DEFECTS = {
  "a lagged that is not believed": [Replica.prototype, "lagged", () => function () {}],
  "a jump that is passed over": [
    Timeline.prototype,
    "step",
    () =>
      function (rev) {
        this.rev = Math.max(this.rev ?? 0, rev);
        return true;
      },
  ],
  "an older state that replaces a newer one": [
    Timeline.prototype,
    "apply",
    (apply) =>
      function (message) {
        return apply.call(this, { ...message, rev: message.rev - 2 });
      },
  ],
  "one push too many acknowledged": [
    Session.prototype,
    "receive",
    (receive) =>
      function (text, now) {
        if (text.includes('"push"') && this.received === 20) this.received += 1;
        receive.call(this, text, now);
      },
  ],
  "calls that are forgotten when the line is cut": [
    Session.prototype,
    "lost",
    (lost) =>
      function (code) {
        this.calls.clear();
        return lost.call(this, code);
      },
  ],
  "a message that is repeated under another ref": [
    Session.prototype,
    "lost",
    (lost) =>
      function (code) {
        for (const frame of this.calls.values()) if (frame.command === "submit") frame.ref += "x";
        return lost.call(this, code);
      },
  ],
  "a refused resume that is taken for granted": [
    Replica.prototype,
    "welcomed",
    (welcomed) =>
      function (welcome) {
        welcomed.call(this, { ...welcome, resumed: true });
      },
  ],
};

for (const [name, [target, method, plant]] of Object.entries(DEFECTS)) {
  test(`found: ${name}`, async () => {
    const sound = target[method];
    target[method] = plant(sound);
    try {
      let found = 0;
      for (let seed = 1; seed <= 15; seed += 1) await run(seed).catch(() => (found += 1));
      assert.ok(found > 0, "no run has noticed it");
    } finally {
      target[method] = sound;
    }
  });
}
