"""An echo bot: says again whatever it is told, exactly once, whatever is restarted in between.

python examples/bot/bot.py http://127.0.0.1:8080 --name echo
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib

from chat_common.client import ChatClient, MessageReceived, dev_login
from chat_common.errors import ChatError, RefConflict
from chat_common.wire import Message


async def answer(client: ChatClient, message: Message) -> None:
    """Echo one message and mark it as read: what is read is answered, also for the bot's next life.

    The ref comes from the message, so a bot that dies between answering and marking does not answer twice.
    """
    me = client.state.me
    if me is None or message.sender == me.user or message.kind != "text" or not message.body:
        return
    ref = hashlib.sha256(f"echo {message.conversation} {message.seq}".encode()).hexdigest()[:32]
    try:
        await client.submit(message.conversation, f"echo: {message.body['text']}", ref=ref, reply_to=message.seq)
    except RefConflict:
        pass  # answered in an earlier life, and edited since
    except ChatError as error:
        print(f"no answer in {message.conversation}: {error.code}", flush=True)
        return
    await client.call("read", {"conversation": message.conversation, "seq": message.seq})


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8080")
    parser.add_argument("--name", default="echo", help="the bot's name (the server runs with --dev)")
    options = parser.parse_args()
    login = await dev_login(options.url, options.name)
    client = ChatClient(options.url, login.token)
    events = client.events()  # from before the first connection, so that what was said meanwhile is heard
    async with client:
        print(f"{login.user.name} listens as {login.user.user}", flush=True)
        async for event in events:
            if isinstance(event, MessageReceived):
                await answer(client, event.message)


if __name__ == "__main__":
    asyncio.run(main())
