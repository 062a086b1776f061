/**
 * Makes `webclient/vendor/` anew: run it to take a newer version of what the web client uses of others.
 *
 *     node scripts/vendor.mjs
 *
 * Nothing else in the web client is built. The versions stand here; `vendor/manifest.json` records them with the SHA-256
 * of each file that was made, and a test compares. npm fetches the packages into a temporary folder.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const PACKAGES = { preact: "11.2.0", "@preact/signals-core": "1.14.5", "emoji-picker-element-data": "1.8.0" };
const ESBUILD = "0.28.2";
const LANGUAGES = ["en", "zh"];
const ENTRY = `
export { Component, Fragment, createContext, createElement, options, render } from "preact";
export { useContext, useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState } from "preact/hooks";
export { batch, computed, effect, signal, untracked } from "@preact/signals-core";
`;
/** What people look for in Chinese and the data does not know. */
const TAGS = {
  zh: { "❤️": ["爱心", "比心"], "👍️": ["强", "666"], "💪": ["加油"], "🙏": ["抱拳"], "🤙": ["666"], "🧧": ["红包"] },
};

const target = join(dirname(fileURLToPath(import.meta.url)), "../packages/chat-server/src/chat_server/webclient/vendor");
const work = mkdtempSync(join(tmpdir(), "vendor-"));
const modules = join(work, "node_modules");
try {
  const wanted = Object.entries({ ...PACKAGES, esbuild: ESBUILD }).map(([name, version]) => `${name}@${version}`);
  writeFileSync(join(work, "package.json"), "{}");
  execFileSync("npm", ["install", "--no-audit", "--no-fund", "--no-package-lock", ...wanted], { cwd: work, stdio: "inherit" });
  writeFileSync(join(work, "entry.js"), ENTRY);
  const preact = join(work, "preact.js");
  const flags = ["--bundle", "--format=esm", "--minify", "--target=es2022", "--legal-comments=none", `--outfile=${preact}`];
  execFileSync(join(modules, ".bin/esbuild"), ["entry.js", ...flags], { cwd: work, stdio: "inherit" });
  const files = { "preact.js": readFileSync(preact, "utf-8"), LICENSES: licences() };
  for (const language of LANGUAGES) files[`emoji-${language}.json`] = emoji(language);
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  for (const [name, content] of Object.entries(files)) writeFileSync(join(target, name), content);
  const sha256 = (content) => createHash("sha256").update(content).digest("hex");
  const manifest = {
    made_by: "scripts/vendor.mjs",
    packages: { ...PACKAGES, esbuild: ESBUILD },
    sha256: Object.fromEntries(Object.entries(files).map(([name, content]) => [name, sha256(content)])),
  };
  writeFileSync(join(target, "manifest.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
} finally {
  rmSync(work, { recursive: true, force: true });
}

/** `[[group, emoji, name, tags, skins?], …]`: what the picker needs, 1,900 emoji as one line each. */
function emoji(language) {
  const all = JSON.parse(readFileSync(join(modules, "emoji-picker-element-data", language, "emojibase/data.json"), "utf-8"));
  const more = TAGS[language] ?? {};
  const plain = (text) => text.replaceAll("\ufe0f", "");
  const extra = new Map(Object.entries(more).map(([key, tags]) => [plain(key), tags]));
  const rows = all
    .filter(({ group }) => group !== undefined && group !== 2) // 2: parts of others, no emoji by themselves
    .sort((a, b) => a.order - b.order)
    .map((one) => {
      const row = [one.group, one.emoji, one.annotation, [...(one.tags ?? []), ...(extra.get(plain(one.emoji)) ?? [])].join(" ")];
      if (one.skins) row.push(one.skins.slice(0, 5).map(({ emoji: skin }) => skin));
      return JSON.stringify(row);
    });
  return `[\n${rows.join(",\n")}\n]\n`;
}

function licences() {
  return Object.entries(PACKAGES)
    .map(([name, version]) => `${name} ${version}\n${"=".repeat(60)}\n\n${readFileSync(join(modules, name, "LICENSE"), "utf-8")}`)
    .join("\n\n");
}
