"""What a workflow is to the engine: an object of a class of the user's, of which it needs four things."""

from __future__ import annotations

from enum import Enum
from typing import Any, Protocol, Self, TypeVar

from aegis_store.errors import AegisError, InvalidArgument
from aegis_store.opening import demand_name


class Workflow(Protocol):
    """A state machine. `state` is a str, or an Enum whose member stands for its value where that is a str, else for its name;
    the engine sets it. `to_dict` gives what is to be saved, the state among it; `from_dict` takes it back."""

    state: Any

    @property
    def workflow_id(self) -> str:
        """Unique in the store, and always the same."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Everything that the workflow is to have again when it is resumed."""
        ...

    @classmethod
    def from_dict(cls, data: dict[str, Any], /) -> Self:
        """The workflow of which `to_dict` gave this."""
        ...


AnyWorkflow = TypeVar("AnyWorkflow", bound=Workflow)


def state_name(state: object) -> str:
    """The text that stands for a state. InvalidArgument for what is no state, or has no text."""
    text = state
    if isinstance(state, Enum):
        text = state.value if isinstance(state.value, str) else state.name
    if not isinstance(text, str) or not text:
        raise InvalidArgument(f"a state is a str that is not empty, or an Enum, and this is {state!r}", op="workflow")
    return demand_text(str.__str__(text), "state")


def demand_text(text: str, what: str) -> str:
    """A state, or an actor. InvalidArgument for what a checkpoint cannot hold as it is."""
    demand_name(text, what, op="workflow")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(f"the {what} {text!r} has a lone surrogate, which UTF-8 cannot hold", op="workflow") from None
    return text


def type_name(cls: type) -> str:
    """What a class is called in the store: its `workflow_type` where it has one, which may outlive its name in the code."""
    name = getattr(cls, "workflow_type", cls.__name__)
    demand_name(name, "workflow type", op="workflow")
    return str(name)


def demand_workflow(workflow: Workflow) -> str:
    """The id of a workflow. InvalidArgument for an object that is none."""
    try:
        # Not isinstance: that looks at every attribute of the protocol, and takes longer than all else that is done here.
        workflow_id, _, _, _ = workflow.workflow_id, workflow.state, workflow.to_dict, workflow.from_dict
    except AttributeError:
        lacking = [name for name in ("workflow_id", "state", "to_dict", "from_dict") if not hasattr(workflow, name)]
        if not lacking:
            raise
        raise InvalidArgument(
            f"{type(workflow).__name__} is no workflow: it has no {' and no '.join(lacking)}",
            op="workflow",
            hint="see aegis_store.workflow.Workflow for what one has",
        ) from None
    demand_name(workflow_id, "workflow id", op="workflow")
    return workflow_id


def restored(cls: type[AnyWorkflow], workflow_id: str, state: str, saved: object) -> AnyWorkflow:
    """The workflow in what was saved. InvalidArgument where the class makes another one of it."""
    if not isinstance(saved, dict):
        raise InvalidArgument(
            f"what was saved of workflow {workflow_id!r} is of type {type(saved).__name__}, not a dict", op="workflow"
        )
    try:
        workflow = cls.from_dict(saved)
    except AegisError:
        raise
    except Exception as error:
        raise InvalidArgument(
            f"{cls.__name__}.from_dict does not take what was saved of workflow {workflow_id!r}: "
            f"{type(error).__name__}: {error}",
            op="workflow",
            hint="the class has changed since: let from_dict take the older form too",
        ) from error
    found = demand_workflow(workflow), state_name(workflow.state)
    if found != (workflow_id, state):
        raise InvalidArgument(
            f"{cls.__name__}.from_dict makes workflow {found[0]!r} in state {found[1]!r} of what was saved of "
            f"{workflow_id!r} in {state!r}",
            op="workflow",
            hint="to_dict has to give workflow_id and state, and from_dict to take them",
        )
    return workflow
