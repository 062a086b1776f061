"""Measures the server beside the C baseline in one run and prints the figures with their bars.

    python bench/run.py                     # everything
    python bench/run.py fanout durable      # some of it
    python bench/run.py --quick             # short windows, one round: does it work?
    python bench/run.py --baseline          # the baseline and the generator alone, planted defects too
    python bench/run.py fanout --against HEAD~20     # old and new in turn in one run, and their ratios
    python bench/run.py fanout --write      # also into the page docs/performance-results.md

Raw answers go to bench/results/, the table to stdout. No figure fails the run; what the server did wrong (a message
lost, doubled, swapped) does: exit status 2.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from typing import Any

from attrs import asdict, define, field

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import against, crowd, page, process, report, seed
from bench.against import Tree
from bench.process import Running
from bench.report import Row

RESULTS = process.HERE / "results"


@define
class Bench:
    """One run: how long and how often, where the stores are, what came out."""

    rounds: int
    seconds: float
    folder: Path
    tree: Tree
    small: bool = False
    raw: dict[str, Any] = field(factory=dict)
    rows: list[Row] = field(factory=list)
    wrong: list[str] = field(factory=list)

    def data(self, name: str) -> Path:
        """An empty data folder."""
        return process.emptied(self.folder / name)

    def server(self, data: Path) -> AbstractContextManager[Running]:
        """The server under test, with its store in ``data``."""
        return process.chat_server(data, self.tree.program)

    def keep(self, name: str, results: Sequence[dict[str, Any]], *, gaps: bool = False) -> None:
        """Takes results into the raw file, and what was wrong in the server's into the verdict."""
        self.raw.setdefault(name, []).extend(results)
        if fault := report.faults([r for r in results if r["server"] != "csend"], gaps=gaps):
            self.wrong.append(f"{name}: {fault}")
        print(f"  {name}: {len(results)} runs {fault}", file=sys.stderr)


def _room_of(bench: Bench, data: Path, count: int) -> tuple[Path, str, list[crowd.User]]:
    with bench.server(data) as server:
        api = crowd.Api(server)
        users = crowd.users(api, count)
        conversation = crowd.room(api, users)
    tokens = crowd.write_tokens(data / "tokens", [(user, conversation) for user in users])
    return tokens, conversation, users


def fanout(bench: Bench) -> None:
    """A room of 1,000 connected members: 8 in flight, 1 in flight, 20 messages a second."""
    members = 200 if bench.small else 1000
    data = bench.data("fanout")
    tokens, _, _ = _room_of(bench, data, members)
    plain = crowd.baseline_tokens(data / "plain", {"room": members})
    ways: dict[str, dict[str, Any]] = {
        "8 in flight": {"inflight": 8, "seconds": bench.seconds},
        "1 in flight": {"inflight": 1, "seconds": bench.seconds},
        "20 a second": {"rate": 20, "seconds": max(bench.seconds, 3)},
    }
    ours: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    base: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for _ in range(bench.rounds):
        for way, options in ways.items():
            with bench.server(data) as server:
                ours[way].append(process.load(server, "room", tokens, **options))
            with process.csend() as server:
                base[way].append(process.load(server, "room", plain, **options))
    for way in ways:
        bench.keep(f"fanout, {way}", ours[way] + base[way])
        mine = report.middle(ours[way], "window", "server_us_per_delivery")
        theirs = report.middle(base[way], "window", "server_us_per_delivery")
        ratio = mine / theirs
        rate = report.middle(ours[way], "window", "deliveries_per_second")
        shown = f"{mine:.2f} µs, {ratio:.2f} × of {theirs:.2f} µs, {rate / 1000:.0f} k/s"
        figures = {"µs CPU a delivery": mine, "× of C": ratio, "k deliveries/s": rate / 1000}
        if way == "8 in flight":
            met = mine <= 3 and ratio <= 0.35
            bench.rows.append(Row(f"fan-out, {members} members, {way}", shown, "≤ 3 µs and ≤ 0.35 ×", met, figures))
        elif way == "1 in flight":
            bench.rows.append(Row(f"fan-out, {members} members, {way}", shown, "≤ 1.3 ×", ratio <= 1.3, figures))
        else:
            p50 = report.middle(ours[way], "delivery_ms", "p50")
            p99 = report.middle(ours[way], "delivery_ms", "p99")
            last50 = report.middle(ours[way], "every_member_ms", "p50")
            last99 = report.middle(ours[way], "every_member_ms", "p99")
            shown = (
                f"p50 {last50:.1f} ms, p99 {last99:.1f} ms to the last member"
                f" (each member: {p50:.1f}, {p99:.1f}); {mine:.2f} µs a delivery"
            )
            bench.rows.append(
                Row(f"the same room, {way}, submit to every member", shown, "p50 ≤ 5 ms, p99 ≤ 10 ms",
                    last50 <= 5 and last99 <= 10, {**figures, "p50 ms": last50, "p99 ms": last99})
            )  # fmt: skip


def mounted(bench: Bench) -> None:
    """The room of 1,000 where the chat is mounted in a FastAPI application: a task and a queue a connection."""
    members = 200 if bench.small else 1000
    data = bench.data("mounted")
    tokens, _, _ = _room_of(bench, data, members)
    results = []
    for _ in range(bench.rounds):
        with process.mounted(data, bench.tree.python) as server:
            results.append(process.load(server, "room", tokens, inflight=8, seconds=bench.seconds))
    bench.keep("mounted", results)
    took = report.middle(results, "window", "server_us_per_delivery")
    rate = report.middle(results, "window", "deliveries_per_second")
    bench.rows.append(
        Row(f"fan-out, {members} members, 8 in flight, mounted in FastAPI", f"{took:.1f} µs, {rate / 1000:.0f} k/s",
            "≤ 40 µs", took <= 40, {"µs CPU a delivery": took, "k deliveries/s": rate / 1000})
    )  # fmt: skip


def durable(bench: Bench) -> None:
    """Direct chats, receipts after commit; afterwards the whole history is read and compared with the receipts."""
    count = 20 if bench.small else 100
    data = bench.data("durable")
    with bench.server(data) as server:
        api = crowd.Api(server)
        users = crowd.users(api, 2 * count)
        chats = crowd.pairs(api, users)
    everyone = [(user, chats[i // 2]) for i, user in enumerate(users)]
    token_of = {chat: user.token for user, chat in everyone}
    shapes: dict[str, tuple[int, dict[str, Any]]] = {
        f"{count} pairs, both ways, one in flight each": (count, {"senders": 2, "inflight": 1}),
        "50 pairs, one way, one in flight": (min(50, count), {"senders": 1, "inflight": 1}),
        "one pair, one in flight": (1, {"senders": 1, "inflight": 1}),
    }
    for shape, (pairs, options) in shapes.items():
        tokens = crowd.write_tokens(data / "tokens", everyone[: 2 * pairs])
        results, audits = [], []
        for number in range(bench.rounds if shape.startswith(str(count)) else 1):
            refs = data / f"refs-{number}"
            with bench.server(data) as server:
                results.append(
                    process.load(server, "room", tokens, release="receipt", seconds=bench.seconds, refs=refs, **options)
                )
                audits.append(asdict(crowd.audit(crowd.Api(server), refs, token_of)))
        bench.keep(f"durable, {shape}", results)
        bench.raw[f"audit, {shape}"] = audits
        bad = [a for a in audits if a["missing"] or a["unreceipted"] or a["doubled"] or a["holes"]]
        if bad:
            bench.wrong.append(f"durable, {shape}: {bad}")
        rate = report.middle(results, "window", "receipts_per_second")
        p50 = report.middle(results, "receipt_ms", "p50")
        p99 = report.middle(results, "receipt_ms", "p99")
        arrived = report.middle(results, "every_member_ms", "p99")
        us = report.middle(results, "window", "server_us_per_receipt")
        shown = (
            f"{rate:,.0f}/s, receipt p50 {p50:.1f} ms, p99 {p99:.1f} ms, both members p99 {arrived:.1f} ms;"
            f" {us:.0f} µs CPU a submit; {'every one stored, delivered, acknowledged' if not bad else 'AUDIT FAILED'}"
        )
        barred = shape.startswith(str(count))
        figures = {"submits/s": rate, "µs CPU a submit": us, "receipt p50 ms": p50, "receipt p99 ms": p99}
        bench.rows.append(
            Row(f"durable 1:1, {shape}", shown, "≥ 5,000/s, p99 ≤ 50 ms" if barred else "",
                (rate >= 5000 and p99 <= 50 and not bad) if barred else None, figures)
        )  # fmt: skip


def abuser(bench: Bench) -> None:
    """One abuser, 100 people: what people wait for a receipt, with and without him, in turn on one server with its
    limits."""
    people, rate = 100, 25
    data = bench.data("abuser")
    limited = {"CHAT__LIMITS__POINTS": "50"}
    with bench.server(data) as server:
        api = crowd.Api(server)
        users = crowd.users(api, people)
        chats = crowd.pairs(api, users)
        evil = crowd.users(api, 1, "abuser")[0]
        conversation = crowd.room(api, [evil], "abuse")
    tokens = crowd.write_tokens(data / "tokens", [(user, chats[i // 2]) for i, user in enumerate(users)])
    options: dict[str, Any] = {"release": "receipt", "senders": 2, "rate": rate, "seconds": bench.seconds}
    alone, beside = [], []
    with process.chat_server(data, bench.tree.program, limited) as server:
        for _ in range(bench.rounds):
            alone.append(process.load(server, "room", tokens, **options))
            with process.abuser(server, evil.token, conversation):
                beside.append(process.load(server, "room", tokens, **options))
    bench.keep("abuser, without", alone)
    bench.keep("abuser, with", beside)
    without = report.middle(alone, "receipt_ms", "p99")
    with_him = report.middle(beside, "receipt_ms", "p99")
    ratio = with_him / without
    bench.rows.append(
        Row(f"one abuser, {people} people, {rate} messages a second, receipt p99",
            f"{with_him:.1f} ms, {ratio:.2f} × of {without:.1f} ms without him", "≤ 2 ×", ratio <= 2,
            {"p99 ms": with_him, "× of without": ratio})
    )  # fmt: skip


def _crowds(bench: Bench, data: Path, count: int, size: int) -> Path:
    """`count` users in rooms of `size`."""
    with bench.server(data) as server:
        api = crowd.Api(server)
        users = crowd.users(api, count)
        groups = [users[at : at + size] for at in range(0, count, size)]
        rooms = api.each(lambda group: crowd.room(api, group), groups)
    lines = [(user, room) for group, room in zip(groups, rooms, strict=True) for user in group]
    return crowd.write_tokens(data / "tokens", lines)


def idle(bench: Bench) -> None:
    """Authenticated connections that only answer beats."""
    count = 500 if bench.small else 10_000
    data = bench.data("idle")
    tokens = _crowds(bench, data, count, 100)
    with bench.server(data) as server:
        result = process.load(server, "idle", tokens, seconds=bench.seconds if bench.small else 90)
    bench.keep("idle", [result])
    kilobytes = result["window"]["rss_per_connection"] / 1024
    percent = result["window"]["percent_of_core_per_10000"]
    bench.rows.append(
        Row(f"idle, {count:,} connections", f"{kilobytes:.1f} KB RSS each, {percent:.2f} % of a core per 10,000",
            "≤ 8 KB, ≤ 1 %", kilobytes <= 8 and percent <= 1, {"KB each": kilobytes, "% of a core": percent})
    )  # fmt: skip


def storm(bench: Bench) -> None:
    """Everybody falls off, misses messages, and comes back at the same moment."""
    count = 500 if bench.small else 10_000
    data = bench.data("storm")
    tokens = _crowds(bench, data, count + count // 100, 101)
    for resume in (1, 0):
        with bench.server(data) as server:
            result = process.load(server, "storm", tokens, resume=resume, parallel=count)
        way = "resume" if resume else "sync"
        bench.keep(f"storm, {way}", [result], gaps=not resume)
        window = result["window"]
        back = window["all_back_s"]
        shown = (
            f"all back in {back:.1f} s (welcomed {window['all_welcome_s']:.1f} s, resumed {window['resumed']}),"
            f" {window['server_us_per_client']:.0f} µs CPU each, lost {result['defects']['lost']}"
        )
        bench.rows.append(
            Row(f"{window['dropped']:,} clients reconnect at once and {way}", shown, "≤ 10 s, nothing lost",
                0 < back <= 10 and not result["defects"]["lost"],
                {"s until all are back": back, "µs CPU each": window["server_us_per_client"]})
        )  # fmt: skip


def bigroom(bench: Bench) -> None:
    """The same 5,000 online; 95,000 more members who are not."""
    online, members = (200, 2000) if bench.small else (5000, 100_000)
    small = bench.data("room")
    tokens, conversation, _ = _room_of(bench, small, online)
    big = bench.data("bigroom")
    shutil.rmtree(big)
    shutil.copytree(small, big)
    seed.add_members(big, conversation, members - online)
    costs: dict[Path, list[dict[str, Any]]] = {small: [], big: []}
    for _ in range(bench.rounds):
        for data, results in costs.items():
            with bench.server(data) as server:
                results.append(process.load(server, "room", tokens, inflight=2, seconds=bench.seconds, parallel=64))
    bench.keep(f"room of {online}", costs[small])
    bench.keep(f"room of {members}", costs[big])
    of_small = report.middle(costs[small], "window", "server_us_per_receipt") / 1000
    of_big = report.middle(costs[big], "window", "server_us_per_receipt") / 1000
    bench.rows.append(
        Row(f"room of {members:,}, {online:,} online", f"{of_big:.2f} ms CPU a message, {of_big / of_small:.2f} × of a"
            f" room of {online:,} all online ({of_small:.2f} ms)", "≤ 1.2 ×", of_big <= 1.2 * of_small)
    )  # fmt: skip


def history(bench: Bench) -> None:
    """Pages of a conversation of a million messages, read at random depths, over HTTP."""
    count = 20_000 if bench.small else 1_000_000
    data = bench.data("history")
    with bench.server(data) as server:
        api = crowd.Api(server)
        users = crowd.users(api, 2)
        chat = crowd.pairs(api, users)[0]
        api("submit", {"conversation": chat, "kind": "text", "body": {"text": "first"}}, users[0].token)
    head = seed.add_messages(data, chat, users[0].user, count)
    with bench.server(data) as server:
        api = crowd.Api(server)

        def page(before: int | None) -> float:
            params = {"conversation": chat, "limit": 50, **({"before": before} if before else {})}
            began = time.perf_counter()
            answer = api("history", params, users[1].token)
            took = time.perf_counter() - began
            seqs = [m["seq"] for m in answer["messages"]]
            last = (before or head + 1) - 1
            if seqs != list(range(last - 49, last + 1)):
                bench.wrong.append(f"history before {before}: {seqs[:1]}…{seqs[-1:]} instead of …{last}")
            return took

        depths = [None, head - head // 10, head // 2, head // 10, 60]
        times: dict[int | None, list[float]] = {depth: [] for depth in depths}
        for turn in range(5 + 60):
            for depth in depths:
                took = page(depth)
                if turn >= 5:
                    times[depth].append(took)
    middles = {depth: median(values) * 1000 for depth, values in times.items()}
    bench.raw["history"] = [{"server": "chat-server", "ms": {str(k): v for k, v in middles.items()}}]
    first, worst = middles[None], max(middles.values())
    bench.rows.append(
        Row(f"history of {count:,} messages", f"first page {first:.2f} ms, the slowest of four depths {worst:.2f} ms,"
            f" {worst / first:.2f} ×", "≤ 1.5 ×", worst <= 1.5 * first)
    )  # fmt: skip


def start(bench: Bench) -> None:
    """From exec to the first accepted connection, with a store that exists, and with a new one; bytecode is there."""
    data = bench.data("start")
    with bench.server(bench.data("compiled")):
        pass
    with bench.server(data) as server:
        fresh = server.start
    times, cpus = [], []
    for _ in range(5):
        with bench.server(data) as server:
            times.append(server.start)
            cpus.append(server.start_cpu)
    bench.raw["start"] = [{"server": "chat-server", "fresh": fresh, "again": times, "cpu": cpus}]
    took, cpu = median(times), median(cpus)
    bench.rows.append(
        Row("import and start to first accepted connection",
            f"{took:.2f} s, {cpu:.2f} s of CPU (with a new store {fresh:.2f} s)",
            "≤ 1.0 s", took <= 1.0, {"s": took, "s of CPU": cpu, "s with a new store": fresh})
    )  # fmt: skip


def baseline(bench: Bench) -> None:
    """The baseline alone, the floor without its limit, and whether the generator finds what is planted."""
    data = bench.data("baseline")
    plain = crowd.baseline_tokens(data / "plain", {"room": 1000})
    for way, flags in {"one send() per delivery": (), "joined": ("--joined", "1")}.items():
        results = []
        for _ in range(bench.rounds):
            with process.csend(*flags) as server:
                results.append(process.load(server, "room", plain, inflight=8, seconds=bench.seconds))
        bench.keep(f"baseline, {way}", results)
        server_us = report.middle(results, "window", "server_us_per_delivery")
        load_us = report.middle(results, "window", "load_us_per_delivery")
        rate = report.middle(results, "window", "deliveries_per_second")
        shown = f"{server_us:.2f} µs, {rate / 1000:.0f} k/s; the generator {load_us:.2f} µs {report.faults(results)}"
        bench.rows.append(Row(f"C, {way}, 8 in flight", shown))
    plants = {"drop": ("lost", 9973), "double": ("doubled", 9973), "swap": ("swapped", 9973),
              "renumber": ("renumbered", 31), "mute": ("unreceipted", 31)}  # fmt: skip
    for plant, (defect, every) in plants.items():
        with process.csend(f"--{plant}", str(every)) as server:
            result = process.load(server, "room", plain, inflight=8, seconds=2, warmup=0.5)
        planted = result["tally"]["submits"] * (1000 if every > 1000 else 1) // every
        found = {name: count for name, count in result["defects"].items() if count}
        bench.raw.setdefault("planted", []).append(result)
        bench.rows.append(
            Row(f"planted: {plant}", f"{planted} planted, found {found}", "each found, nothing else",
                set(found) == {defect} and abs(found[defect] - planted) <= 1)
        )  # fmt: skip


SCENARIOS: dict[str, Callable[[Bench], None]] = {
    "start": start,
    "fanout": fanout,
    "mounted": mounted,
    "durable": durable,
    "abuser": abuser,
    "idle": idle,
    "storm": storm,
    "bigroom": bigroom,
    "history": history,
}


SEEDED = {"bigroom", "history"}
"""Write into a store by this tree's tables."""
INSTALLED = {"start"}
"""Depend on what else is installed."""


@define
class Measuring:
    """What all scenarios of one call share: machine, lengths, verdict."""

    where: dict[str, Any]
    folder: Path
    rounds: int
    seconds: float
    small: bool
    wrong: list[str] = field(factory=list)

    def alone(self, name: str, scenario: Callable[[Bench], None], tree: Tree) -> list[Row]:
        """The rows of one scenario; its rounds give medians."""
        return self._once(name, scenario, tree, self.rounds)

    def in_turn(
        self, name: str, scenario: Callable[[Bench], None], new: Tree, old: Tree
    ) -> tuple[list[list[Row]], list[list[Row]]]:
        """The rows of each round of both trees, old and new in turn, so that both meet the same machine."""
        olds, news = [], []
        for _ in range(self.rounds):
            olds.append(self._once(name, scenario, old, 1))
            news.append(self._once(name, scenario, new, 1))
        return news, olds

    def _once(self, name: str, scenario: Callable[[Bench], None], tree: Tree, rounds: int) -> list[Row]:
        bench = Bench(rounds, self.seconds, self.folder, tree, self.small)
        try:
            scenario(bench)
        finally:
            RESULTS.mkdir(exist_ok=True)
            path = RESULTS / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{name}-{tree.commit}.json"
            about = {"machine": self.where, "commit": tree.commit, "rows": [asdict(row) for row in bench.rows]}
            path.write_text(json.dumps({**about, "raw": bench.raw}))
            self.wrong += [f"{tree.commit}: {line}" for line in bench.wrong]
        return bench.rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="*", help=f"of {', '.join(SCENARIOS)}; default: all")
    parser.add_argument("--rounds", type=int, default=3, help="windows of each kind, alternating (the median counts)")
    parser.add_argument("--seconds", type=float, default=6, help="length of a window")
    parser.add_argument("--quick", action="store_true", help="one round of one second, small crowds")
    parser.add_argument("--baseline", action="store_true", help="measure and check the measuring side alone")
    parser.add_argument("--against", metavar="COMMIT", help="measure this commit too, in turn, and give the ratios")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance-results.md")
    options = parser.parse_args()
    if unknown := set(options.scenario) - set(SCENARIOS):
        parser.error(f"unknown scenario {', '.join(sorted(unknown))}; known: {', '.join(SCENARIOS)}")
    if options.against and (seeded := set(options.scenario or SCENARIOS) & SEEDED):
        parser.error(f"{', '.join(sorted(seeded))}: writes into the store by this tree's tables; not with --against")
    process.compile_programs()
    folder = process.BUILD / "data"
    folder.mkdir(parents=True, exist_ok=True)
    run = Measuring(
        where=report.machine(folder),
        folder=folder,
        rounds=1 if options.quick else options.rounds,
        seconds=1 if options.quick else options.seconds,
        small=options.quick,
    )
    new = against.installed() if options.against else against.this_tree()
    old = against.tree_of(options.against) if options.against else None
    chosen = {"baseline": baseline} if options.baseline else {n: SCENARIOS[n] for n in options.scenario or SCENARIOS}
    print(report.caption(run.where, new.commit, old.commit if old else ""))
    for name, scenario in chosen.items():
        print(f"{name}: {scenario.__doc__}", file=sys.stderr)
        if old is None:
            tree = against.installed() if name in INSTALLED else new
            text = report.table(run.alone(name, scenario, tree))
        else:
            text = against.table(*run.in_turn(name, scenario, new, old))
        caption = report.caption(run.where, new.commit, old.commit if old else "")
        print(f"\n{text}", flush=True)
        if options.write:
            page.write(f"{name} against" if old else name, f"{caption}\n\n{text}")
    for line in run.wrong:
        print(f"\nWRONG: {line}")
    return 2 if run.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
