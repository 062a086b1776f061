"""Where the microseconds go: one loaded window with py-spy beside it.

    python bench/stacks.py fanout          # or: single, durable

Prints the share of samples by function (self) and by what it was called for (inclusive). py-spy has to be on the
PATH; it stops the server for each sample, so the rates of such a run are not results.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import crowd, process

SHAPES = {"fanout": 8, "single": 1, "durable": 1}


def summary(lines: Iterable[str], top: int = 40) -> str:
    """Two tables in text: self and inclusive shares, of stacks as py-spy's raw format has them."""
    leaf: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    total = 0
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = [re.sub(r"^.*/(?=[^/]+/[^/]+$)", "", f.strip()) for f in stack.split(";")]
        if any("_worker (concurrent" in f for f in frames[-1:]) or not count.strip().isdigit():
            continue
        total += int(count)
        leaf[frames[-1]] += int(count)
        for frame in set(frames):
            inside[frame] += int(count)
    if not total:
        return "no samples"
    text = [f"{total} samples", "", "self"]
    text += [f"{100 * n / total:6.2f} %  {name}" for name, n in leaf.most_common(top)]
    text += ["", "inclusive"]
    text += [f"{100 * n / total:6.2f} %  {name}" for name, n in inside.most_common(2 * top)]
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--members", type=int, default=1000)
    options = parser.parse_args()
    process.compile_programs()
    data = process.BUILD / "data" / "profile"
    process.emptied(data)
    with process.chat_server(data) as server:
        api = crowd.Api(server)
        if options.shape == "durable":
            users = crowd.users(api, 200)
            chats = crowd.pairs(api, users)
            lines = [(user, chats[i // 2]) for i, user in enumerate(users)]
            more = {"release": "receipt", "senders": 2}
        else:
            users = crowd.users(api, options.members)
            conversation = crowd.room(api, users)
            lines = [(user, conversation) for user in users]
            more = {}
    tokens = crowd.write_tokens(data / "tokens", lines)
    stacks = data / "stacks"
    with process.chat_server(data) as server:
        inflight = SHAPES[options.shape]
        result = process.load(server, "room", tokens, stacks=stacks, inflight=inflight, seconds=options.seconds, **more)
        for _ in range(100):
            if stacks.exists() and stacks.stat().st_size:
                break
            time.sleep(0.1)
    print(result["window"], file=sys.stderr)
    print(summary(stacks.read_text().splitlines()))


if __name__ == "__main__":
    main()
