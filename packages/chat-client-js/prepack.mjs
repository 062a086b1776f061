/** Copies the client's modules from where they live: the folder that chat-server serves. */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const from = join(here, "../chat-server/src/chat_server/webclient");
const lib = join(here, "lib");

rmSync(lib, { recursive: true, force: true });
mkdirSync(lib);
for (const name of ["client", "chat-client.js", "chat-client.d.ts"]) cpSync(join(from, name), join(lib, name), { recursive: true });
// All packages share one version: that of the Python ones.
const version = /^version = "([^"]+)"/m.exec(readFileSync(join(here, "../chat-server/pyproject.toml"), "utf-8"))?.[1];
const about = JSON.parse(readFileSync(join(here, "package.json"), "utf-8"));
if (version && about.version !== version) writeFileSync(join(here, "package.json"), `${JSON.stringify({ ...about, version }, undefined, 2)}\n`);
