// node bot.mjs http://127.0.0.1:8080 echo        (Node 20: node --experimental-websocket bot.mjs …)
import { ChatClient } from "interesting-chat-client";

const [url = "http://127.0.0.1:8080", name = "echo"] = process.argv.slice(2);
const headers = { "content-type": "application/json" };
const login = await fetch(`${url}/api/auth.dev`, { method: "POST", headers, body: JSON.stringify({ name, device: "bot" }) });
const { token, user } = await login.json();
const client = new ChatClient({ url: `${url.replace(/^http/, "ws")}/ws`, token, device: { id: "bot", platform: "bot" } });
client.on("message", ({ conversation, seq, sender, kind, body }) => {
  if (sender === user.user || kind !== "text" || !body) return;
  // The ref comes from the message: a bot that starts again does not answer twice.
  client.sendText(conversation, `echo: ${body.text}`, { ref: `echo-${seq}-${conversation}`.slice(0, 64), reply_to: seq });
});
client.on("welcome", () => console.log(`${user.name} listens as ${user.user}`));
client.start();
