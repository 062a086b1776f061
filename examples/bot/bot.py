"""An echo bot: says again whatever it is told, exactly once, whatever is restarted in between.

python examples/bot/bot.py http://127.0.0.1:8080 --name echo
"""

from __future__ import annotations

import argparse
import asyncio

from chat_common.bot import Bot, Context
from chat_common.client import dev_login

bot = Bot()


@bot.command("help", about="what I can do")
async def tell(context: Context) -> None:
    await context.reply(bot.help())


@bot.message(lambda message: message.kind == "text" and bool(message.body))
async def echo(context: Context) -> None:
    await context.reply(f"echo: {context.message.body['text']}")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8080")
    parser.add_argument("--name", default="echo", help="the bot's name (the server runs with --dev)")
    options = parser.parse_args()
    login = await dev_login(options.url, options.name)
    print(f"{login.user.name} listens as {login.user.user}", flush=True)
    await bot.run(options.url, login.token)


if __name__ == "__main__":
    asyncio.run(main())
