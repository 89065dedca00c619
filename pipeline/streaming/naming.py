"""What the topics of a connection are named by: the first name that it had, for topics cannot be renamed.

A version of the workspace has it for every name that a connection ever had, so that calls which a worker asked under an
older name come into the same topic.
"""

from collections.abc import Mapping

from pipeline.streaming.kafka import KafkaProblem
from schemas.registry import Registry
from schemas.workspace import Workspace


def named_after(before: Mapping[str, str], known: Registry, workspace: Workspace) -> dict[str, str]:
    """By connection, its first name, with this workspace. `before`, `known`: of the version before.

    What a log begins with, from a state directory, is known and in no topics yet: it is named by itself.
    Raises KafkaProblem where a connection would get the topics of another one.
    """
    found, names = {**named_by_themselves(known), **before}, {*known.connections}
    for connection in workspace.connections:
        if connection.name in names:
            continue
        was = connection.was if connection.was in names else ""
        name = found[was] if was else connection.name
        names -= {was}
        if found.get(connection.name, name) != name or name in (found[each] for each in names):
            raise KafkaProblem(
                f"{connection.name}: a connection that has another name now had this one, and its topics keep it; give "
                "the new connection another name"
            )
        found[connection.name] = name
        names.add(connection.name)
    return found


def named_by_themselves(registry: Registry) -> dict[str, str]:
    """Where nothing was ever renamed."""
    return {name: name for name in registry.connections}
