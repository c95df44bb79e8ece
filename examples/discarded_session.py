"""A session that is discarded after a security failure: its checkpoint held as evidence, the session refused until its
incident is closed, and a clean one begun after.

    python examples/discarded_session.py [DIRECTORY]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import aegis_store
from aegis_store import Discard, Failure, Hooks, Restart
from aegis_store.errors import IncidentOpen
from aegis_store.recovery import Notice


class Pager:
    """Stands for whatever reaches a session's owner."""

    def notify(self, notice: Notice) -> str:
        print(f"to the owner: session {notice.session} is discarded, {notice.reason} (incident {notice.incident})")
        return "paged"


def work(store: aegis_store.Store) -> None:
    """An agent gets to its second step, and a call to the bank is made."""
    session = store.session("order-17")
    session.checkpoint({"cart": ["book"]}, position="cart", claims={"tools": ["charge"]})
    session.calls.once("charge", lambda: "receipt 1", {"amount": 12}, id="charge/17")
    session.checkpoint({"cart": ["book"], "paid": True}, position="ship", claims={"tools": ["post"]})


def discard(store: aegis_store.Store) -> Discard:
    """Its credentials were seen elsewhere: it must not go on, and what it had must not go away."""
    result = aegis_store.recover(store, "order-17", failure=Failure.SECURITY, hooks=Hooks(notifier=Pager()))
    assert isinstance(result, Discard)
    (hold,) = store.session("order-17").holds()
    print(f"held as evidence: checkpoint {hold.ordinal}, hold {hold.number}: {hold.reason}")
    return result


def refused(store: aegis_store.Store) -> None:
    """Neither the session nor a restart of it starts, whoever asks."""
    for name in ("order-17", "order-17~2"):
        try:
            store.session(name).checkpoint({"cart": []})
        except IncidentOpen as error:
            print(f"refused: {error.message}")


def begin_anew(store: aegis_store.Store, incident: int) -> None:
    """Somebody has looked into it and says so; then a clean session starts, and never from what is evidence."""
    store.incidents.close(incident, reason="credentials changed", by="ana")
    result = aegis_store.recover(store, "order-17", failure=Failure.INFRASTRUCTURE)
    assert isinstance(result, Restart)
    result.session.checkpoint({"cart": []}, position="cart")
    print(
        f"begun anew: {result.session.id}, because {result.recovery.reason}; calls done before: {', '.join(result.calls_done)}"
    )


def main(folder: Path) -> None:
    with aegis_store.open(folder / "state", agent="shop") as store:
        work(store)
        incident = discard(store).incident
    with aegis_store.open(folder / "state", agent="shop") as store:  # another process, another day
        refused(store)
        begin_anew(store, incident)
        for event in store.audit.events("session/order-17"):
            print(f"  {event.created_at:%H:%M} {event.action} {event.details.get('outcome') or event.details['decision']}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
