/**
 * The chat protocol, version 1, for browsers and every other JavaScript with WebSockets. Plain modules, no build step.
 *
 *     import { ChatClient } from "./chat-client.js";
 *     const client = new ChatClient({ url: "wss://chat.example/ws", token, device: { id: "laptop", platform: "web" } });
 *     client.on("message", (message) => console.log(message.sender, message.body));
 *     client.start();
 */
export { ChatClient } from "./client/client.js";
export { Connection, systemClock, webSocketTransport } from "./client/connection.js";
export { SendQueue } from "./client/queue.js";
export { links } from "./client/links.js";
export { isMarked, parse, plain, plainPieces } from "./client/markup.js";
export { preview } from "./client/preview.js";
export { Replica } from "./client/replica.js";
export { CallError, newRef, Session } from "./client/session.js";
export { defaultStorage, IndexedDbStorage, MemoryStorage } from "./client/storage.js";
export { Timeline } from "./client/timeline.js";
export { Links, PutError, Uploads, xhrPut } from "./client/uploads.js";
