"""What holds for every test: the installed package is tested, root's tests are root's, and CI skips nothing by accident."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TOP = Path(__file__).resolve().parents[1]
SESSIONS = "data/sessions-public.jsonl.zst"

# How long an example takes says more about who else is at work on the machine than about the example.
settings.register_profile("no clock", settings(deadline=None, suppress_health_check=[HealthCheck.too_slow]))
settings.load_profile("no clock")

# Python processes that a test starts must not find the source tree either.
os.environ["PYTHONSAFEPATH"] = "1"


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("AEGIS_TEST_SOURCE") != "1":
        _demand_installed()
    if os.environ.get("CI"):
        config.pluginmanager.register(SkipWatch(TOP / "tests" / "skips.txt"), "skip-watch")


def _demand_installed() -> None:
    spec = importlib.util.find_spec("aegis_store")
    places = [] if spec is None else [Path(place).resolve() for place in spec.submodule_search_locations or []]
    if not places:
        raise pytest.UsageError("aegis_store is not installed here: pip install '.[test]'")
    if TOP / "aegis_store" in places:
        raise pytest.UsageError(
            "this would test the source tree, not what is installed: run .venv/bin/pytest, or python -P -m pytest "
            "(AEGIS_TEST_SOURCE=1 allows it, for an editable install)"
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs to be root"))


class SkipWatch:
    """Fails a run in which a test was skipped that is not on the list."""

    def __init__(self, listing: Path) -> None:
        lines = listing.read_text(encoding="utf-8").splitlines()
        self._allowed = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
        self._unlisted: list[str] = []

    def _allows(self, test: str) -> bool:
        """A line names the test with or without its parameters, its class, its file, or a folder with a slash at the end."""
        return any(
            test == line or (test.startswith(line) and (line.endswith("/") or test[len(line)] in "[:"))
            for line in self._allowed
        )

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail") and not self._allows(report.nodeid):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self._unlisted.append(f"{report.nodeid}: {reason}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._unlisted and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._unlisted:
            terminalreporter.section("skipped, and not in tests/skips.txt", red=True)
            for line in self._unlisted:
                terminalreporter.line(line)


@pytest.fixture(scope="session")
def recorded_sessions() -> Iterator[Path]:
    """The file of recorded agent sessions (JSON lines, zstd), where there is one beside the checkout."""
    beside = Path(os.environ.get("AEGIS_SHARED") or TOP.parent / "shared")
    path = beside / SESSIONS
    if not path.is_file():
        pytest.skip(f"no recorded sessions: {SESSIONS} is not in AEGIS_SHARED, nor in ../shared")
    yield path
