"""The project's chores. `uv run nox` runs the tests; `uv run nox -l` lists the rest.

Most sessions use the environment that `uv run` has synced; only `wheels` makes clean ones.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["tests"]

PACKAGES = {
    "chat-common": "chat_common",
    "chat-transaction": "chat_transaction",
    "chat-oss": "chat_oss",
    "chat-server": "chat_server",
}
WINDOWS = sys.platform == "win32"


def _python(session: nox.Session, *words: str, **options: object) -> None:
    """Run a module of the synced environment, which is the one that nox itself runs in."""
    session.run(sys.executable, "-m", *words, external=True, **options)  # type: ignore[arg-type]


WORKERS = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "--durations", "10")
"""Two workers; see tests/conftest.py for what they share and what comes first."""
FLUID = "tests/e2e/test_large.py"
FLOOR = 82
"""Per cent of statements and branches that the quick tests alone must reach; they reached 87 when this was set. A
tracer costs 1.8 times the CPU on Python 3.11, so whole servers and kill runs are not traced."""
COVERAGE = ("--cov", "--cov-branch", "--cov-report", "", "--cov-fail-under", str(FLOOR))


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Everything under tests/: `nox -s tests -- tests/chat_oss -k window` for a part, in one process."""
    _python(session, "pytest", *(session.posargs or (*WORKERS, *COVERAGE, f"--ignore={FLUID}")))


@nox.session(venv_backend="none")
def fluid(session: nox.Session) -> None:
    """100,000 messages in a browser, frame by frame; it asks for a machine that does nothing else."""
    _python(session, "pytest", FLUID, "-s", *session.posargs)


@nox.session(venv_backend="none")
def quick(session: nox.Session) -> None:
    """What needs no server: for the minute between two edits."""
    _python(session, "pytest", "-m", "quick", *WORKERS, *session.posargs)


@nox.session(venv_backend="none")
def coverage(session: nox.Session) -> None:
    """Branch coverage of the quick tests, file by file, into htmlcov/."""
    report = ("--cov-report", "term-missing", "--cov-report", "html")
    _python(session, "pytest", "-m", "quick", *WORKERS, "--cov", "--cov-branch", *report, *session.posargs)


@nox.session(venv_backend="none")
def pins(session: nox.Session) -> None:
    """Exact versions into pyproject.toml: of new packages, or with `-- --renew` the newest of everything."""
    session.run(sys.executable, ".ci/pins.py", *session.posargs, external=True)


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Style and formatting."""
    _python(session, "ruff", "check", ".")
    _python(session, "ruff", "format", "--check", ".")


@nox.session(venv_backend="none")
def typing(session: nox.Session) -> None:
    """mypy --strict over the packages."""
    _python(session, "mypy", *(f"packages/{folder}/src" for folder in PACKAGES))


@nox.session(venv_backend="none")
def faults(session: nox.Session) -> None:
    """The failure list and the kill run alone."""
    _python(session, "pytest", "tests/faults", "tests/test_faults_proxy.py", "-s", *session.posargs)


@nox.session(venv_backend="none")
def integration(session: nox.Session) -> None:
    """What speaks to real servers: databases, brokers, object stores."""
    folders = ["tests/contracts", "tests/chat_transaction", "tests/chat_oss", "tests/integration"]
    _python(session, "pytest", *(folder for folder in folders if Path(folder).exists()), *session.posargs)


@nox.session(venv_backend="none")
def fuzz(session: nox.Session) -> None:
    """Five minutes of calls that the OpenAPI document allows, or does not: none of them may be our fault."""
    _python(session, "pytest", "tests/fuzz", *session.posargs, env={"CHAT_FUZZ_EXAMPLES": "150"})


@nox.session(venv_backend="none")
def soak(session: nox.Session) -> None:
    """A long kill run on every stand: `nox -s soak -- 500` for that many kills, a fifth of them beside a broker and
    as many over three nodes."""
    kills, *rest = session.posargs or ["300"]
    files = ("faults/test_kill_run.py", "faults/test_kill_run_scaled.py", "nodes/test_kills.py")
    where = [*(f"tests/{name}" for name in files), "-s", *rest]
    fewer = str(max(12, int(kills) // 5))
    env = {"CHAT_FAULT_KILLS": kills, "CHAT_FAULT_KILLS_SCALED": fewer, "CHAT_FAULT_KILLS_NODES": fewer}
    _python(session, "pytest", *where, env=env)


@nox.session(venv_backend="none")
def campaign(session: nox.Session) -> None:
    """Rooms that turn hot and back: 200 kill runs over different seeds and 40 over one. `-- --seconds 200` makes as
    many as fit; the next call goes on with the rest. Writes docs/reports/hot-rooms.md."""
    _python(session, "tests.faults.campaign", *session.posargs)


@nox.session(venv_backend="none")
def model(session: nox.Session) -> None:
    """Drive the gateway's streams through 5,000,000 steps of losses, failures and delays: `nox -s model -- 20000000 7`
    takes another number of steps and another seed."""
    given = dict(zip(("MODEL_STEPS", "MODEL_SEED"), session.posargs, strict=False))
    env = {"MODEL_STEPS": "5000000", "MODEL_SEED": "1000000", **given}
    _python(session, "pytest", "tests/chat_server/gateway/test_stream_model.py", "-k", "nothing_is_lost", env=env)


@nox.session(venv_backend="none")
def ledger(session: nox.Session) -> None:
    """The long books of the outbox: 100,000 messages over 1,000 keys a broker, everybody killed meanwhile; and
    10,000 rows of 3 keys over eight relays."""
    files = ("test_kill_ledger.py", "test_eight_relays.py")
    where = [*(f"tests/faults_transaction/{name}" for name in files), "-s", *session.posargs]
    _python(session, "pytest", *where, env={"CHAT_FAULTS_MESSAGES": "100000"})


@nox.session(venv_backend="none")
def bench(session: nox.Session) -> None:
    """Measure, side by side with others: `nox -s bench -- --quick`. See bench/README.md."""
    _python(session, "bench.run", *session.posargs)


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """The site, into docs/_build/html; a warning is an error."""
    _python(session, "sphinx", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html", *session.posargs)


@nox.session(venv_backend="none")
def wheels(session: nox.Session) -> None:
    """Build each package, install it alone in a clean environment, import it all, and run the server without parts."""
    dist = Path("dist").resolve()
    shutil.rmtree(dist, ignore_errors=True)
    for folder in PACKAGES:
        _uv(session, "build", "--quiet", "--out-dir", str(dist), f"packages/{folder}")
    with tempfile.TemporaryDirectory() as scratch:
        for folder, module in PACKAGES.items():
            python = _clean(session, Path(scratch) / folder, dist, f"interesting-{folder}")
            _import_all(session, python, module)
        python = _clean(session, Path(scratch) / "parts", dist, "interesting-chat-server")
        _serves(session, python, Path(scratch) / "data")
        _uv(session, "pip", "uninstall", "--quiet", "--python", str(python), "interesting-chat-oss", "minio")
        _serves(session, python, Path(scratch) / "data", uploads=False)
        _uv(session, "pip", "uninstall", "--quiet", "--python", str(python), "interesting-chat-transaction")
        _refuses(session, python, Path(scratch) / "data", "interesting-chat-transaction")


def _uv(session: nox.Session, *words: str) -> None:
    session.run(sys.executable, "-m", "uv", *words, external=True, env={"VIRTUAL_ENV": ""})


def _clean(session: nox.Session, folder: Path, dist: Path, *packages: str) -> Path:
    """An environment with these of our wheels and what they declare, and nothing else; its Python."""
    _uv(session, "venv", "--quiet", "--python", sys.executable, str(folder))
    python = folder / ("Scripts/python.exe" if WINDOWS else "bin/python")
    # Our own names must come from `dist`, and from nowhere else.
    found = [str(wheel) for wheel in sorted(dist.glob("*.whl"))]
    wanted = [
        wheel for wheel in found if any(Path(wheel).name.startswith(f"{it.replace('-', '_')}-") for it in packages)
    ]
    _uv(
        session,
        "pip",
        "install",
        "--quiet",
        "--no-sources",
        "--python",
        str(python),
        "--find-links",
        str(dist),
        # The version does not change with every build, so what was cached of the last one must not be taken.
        *(word for folder in PACKAGES for word in ("--refresh-package", f"interesting-{folder}")),
        *wanted,
    )
    return python


def _import_all(session: nox.Session, python: Path, module: str) -> None:
    """Every module of the package but those that are for an extra or for tests of others."""
    script = f"""
import importlib, pkgutil, {module}
extras = {{
    "redis", "asyncpg", "websockets", "rocketmq", "opentelemetry", "uvloop", "pytest", "grpc", "httpx2", "cryptography",
    "ahocorasick_rs",
}}
for found in pkgutil.walk_packages({module}.__path__, "{module}."):
    try:
        importlib.import_module(found.name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in extras:
            raise
print("{module} imports")
"""
    session.run(str(python), "-c", script, external=True, env={"PYTHONPATH": ""})


def _serves(session: nox.Session, python: Path, data: Path, *, uploads: bool = True) -> None:
    """The installed command starts, answers, and ends well; without ``uploads`` it says that they are unavailable."""
    command = [str(python.with_name("chat-server")), "--dev", "--port", "0", "--data", str(data)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_bare())
    try:
        assert process.stdout is not None
        address = re.search(r"http://\S+", process.stdout.readline())
        if address is None:
            session.error("chat-server did not start")
        with urllib.request.urlopen(f"{address[0]}/readyz", timeout=10) as answer:
            session.log(f"{answer.status} {answer.read().decode()}")
        me = _call(address[0], "auth.dev", {"name": "anna"})
        room = _call(address[0], "group.create", {"name": "Room", "members": []}, me["token"])
        file = {"conversation": room["conversation"], "name": "a.txt", "type": "text/plain", "size": 1}
        begun = _call(address[0], "upload.begin", file, me["token"])
        session.log(f"upload.begin: {begun}")
        if ("file" in begun) != uploads or (begun.get("code") == "unavailable") == uploads:
            session.error(f"uploads {'should work' if uploads else 'should be unavailable'}")
        process.send_signal(signal.SIGTERM)
        if process.wait(30) != 0:
            session.error(f"chat-server ended with {process.returncode}")
    finally:
        process.kill()
        process.communicate()


def _call(address: str, command: str, params: dict[str, object], token: str = "") -> dict[str, object]:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{address}/api/{command}", json.dumps(params).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        return dict(json.load(error))


def _refuses(session: nox.Session, python: Path, data: Path, package: str) -> None:
    """Without ``package`` the command ends at once and names it."""
    command = [str(python.with_name("chat-server")), "--port", "0", "--data", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=_bare())
    session.log(done.stderr.strip())
    if done.returncode == 0 or package not in done.stderr or "Traceback" in done.stderr:
        session.error(f"chat-server should have refused and named {package}")


def _bare() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
