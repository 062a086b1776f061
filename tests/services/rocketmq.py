"""A real RocketMQ 5.4.0 on free ports of 127.0.0.1: name server, and broker and proxy in one process.

From the jars of Maven Central on Java 17, fetched once by Maven into the user's cache folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.services.absent import absent
from tests.services.once import alone
from tests.services.process import Child, free_port, listens

VERSION = "5.4.0"  # 5.3.4 is incomplete on Maven Central

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>test</groupId><artifactId>rocketmq</artifactId><version>1</version><dependencies>{}</dependencies></project>
"""
_DEPENDENCY = (
    "<dependency><groupId>org.apache.rocketmq</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"
)


def cache_folder() -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "interesting-chat" / f"rocketmq-{VERSION}"


def find_jars() -> Path:
    """The folder with the jars; fetched by Maven when nobody has yet."""
    folder = cache_folder()
    with alone(folder):
        if not (folder / "complete").exists():
            _fetch(folder)
    return folder / "lib"


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None or shutil.which("java") is None:
        absent("no RocketMQ: neither its jars in the cache nor Maven and Java to get and run them")
    wanted = ("rocketmq-namesrv", "rocketmq-proxy", "rocketmq-tools")
    (folder / "pom.xml").write_text(_POM.format("".join(_DEPENDENCY.format(name, VERSION) for name in wanted)))
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder / 'lib'}"]
    subprocess.run([maven, "-q", "-B", "-f", folder / "pom.xml", *goal], check=True, timeout=600)
    (folder / "complete").touch()


class RocketMQ:
    """A broker of one's own in ``folder``: may be killed, started again, emptied."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("java") is None:
            absent("no RocketMQ: no java on PATH")
        self._jars = find_jars()
        self._folder = folder
        self._store = folder / "store"
        conf = folder / "conf"
        conf.mkdir(parents=True)
        names, self.proxy_port, remoting = free_port(), free_port(), free_port()
        broker = free_port(-2, 1)  # A broker also listens two below its port, and one above.
        self._names = f"127.0.0.1:{names}"
        self.endpoint = f"127.0.0.1:{self.proxy_port}"
        self._ports = names, broker
        (conf / "rmq-proxy.json").write_text(
            json.dumps(
                {
                    "rocketMQClusterName": "DefaultCluster",
                    "grpcServerPort": self.proxy_port,
                    "remotingListenPort": remoting,
                    # A killed consumer is missed, and what it had in hand goes to another: two minutes and one unless
                    # told. Clients show that they live every ten seconds.
                    "channelExpiredTimeout": 25_000,
                    "defaultInvisibleTimeMills": 20_000,
                }
            )
        )
        (conf / "namesrv.conf").write_text(f"bindAddress=127.0.0.1\nlistenPort={names}\n")
        (conf / "broker.conf").write_text(
            "\n".join(
                (
                    "brokerClusterName=DefaultCluster",
                    "brokerName=broker-a",
                    "brokerId=0",
                    "brokerIP1=127.0.0.1",
                    "bindAddress=127.0.0.1",
                    f"listenPort={broker}",
                    f"namesrvAddr={self._names}",
                    f"storePathRootDir={self._store}",
                    "mappedFileSizeCommitLog=67108864",
                    "diskMaxUsedSpaceRatio=95",
                    "channelExpiredTimeout=25000",
                )
            )
        )
        self._environment = {**os.environ, "ROCKETMQ_HOME": str(folder)}
        self._nameserver = Child(
            self._java(
                *("-Xms128m", "-Xmx256m", "-Drmq.logback.configurationFile=rmq.namesrv.logback.xml"),
                *("org.apache.rocketmq.namesrv.NamesrvStartup", "-c", str(conf / "namesrv.conf")),
            ),
            folder / "namesrv.log",
            environment=self._environment,
        )
        self._proxy = Child(
            self._java(
                *("-Xms512m", "-Xmx1g", "-XX:MaxDirectMemorySize=512m", "-Dtls.server.mode=permissive"),
                *("-Drmq.logback.configurationFile=rmq.proxy.logback.xml", "org.apache.rocketmq.proxy.ProxyStartup"),
                *("-pm", "local", "-n", self._names, "-bc", str(conf / "broker.conf")),
            ),
            folder / "proxy.log",
            environment=self._environment,
        )

    def _java(self, *arguments: str) -> list[str]:
        return [
            "java",
            f"-Duser.home={self._folder}",
            "-Djava.net.preferIPv4Stack=true",
            *("-cp", f"{self._jars}/*", "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED"),
            *arguments,
        ]

    def start(self) -> None:
        if not self._nameserver.alive:
            self._nameserver.start(lambda: listens(self._ports[0]), 90)
        self.start_broker()

    def start_broker(self) -> None:
        log = self._folder / "proxy.log"
        seen = log.stat().st_size if log.exists() else 0
        said = b"startup successfully"
        self._proxy.start(lambda: said in log.read_bytes()[seen:] and listens(self.proxy_port), 120)

    def kill_broker(self) -> None:
        self._proxy.kill()

    def wipe(self) -> None:
        """Delete everything that the (killed) broker had accepted: its commit log and queues, not its topics."""
        for name in ("commitlog", "consumequeue", "index", "timerwheel", "timerlog", "checkpoint", "abort", "lock"):
            path = self._store / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        (self._store / "config" / "consumerOffset.json").unlink(missing_ok=True)
        (self._store / "config" / "consumerOffset.json.bak").unlink(missing_ok=True)

    def stop(self) -> None:
        self._proxy.kill()
        self._nameserver.kill()

    def create(self, topics: Sequence[Mapping[str, object]], groups: Sequence[Mapping[str, object]] = ()) -> None:
        """Create topics and groups (as ``chat-server rocketmq topics`` prints them). Some seconds a call."""
        for call, content in (("updateTopicList", topics), ("updateSubGroupList", groups)):
            if content:
                path = self._folder / f"{call}.json"
                path.write_text(json.dumps(list(content)))
                self._admin(call, "-c", "DefaultCluster", "-f", str(path))

    def _admin(self, *arguments: str) -> None:
        """A tool that ends with 0 whatever happened. A broker registers itself some time after it has started, and
        until then its cluster does not exist."""
        command = self._java("org.apache.rocketmq.tools.command.MQAdminStartup", *arguments, "-n", self._names)
        until = time.monotonic() + 90
        while True:
            result = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=120)
            said = result.stdout + result.stderr
            if not result.returncode and " success, please check the result later" in said:
                return
            if "Make sure the specified clusterName exists" not in said or time.monotonic() > until:
                raise RuntimeError(f"{arguments[0]}: {result.stdout[-1500:]}{result.stderr[-1500:]}")


@contextlib.contextmanager
def running_rocketmq(folder: Path) -> Iterator[RocketMQ]:
    server = RocketMQ(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
