"""Snapshots: which of two states of a profile is the newer one, where a job takes over what an earlier one wrote."""

from schemas.state import ProfileState, decode_profile


def newer(known: bytes, found: bytes) -> bytes:
    """Of two packed states of one profile, `found` being read later; b"" is none.

    States of one record key come in their order. Those of a person who was deleted have another key, and come at any
    time: before the state that was deleted, or behind that of somebody who came back. What they know of the deletion
    tells which it is.
    """
    if not known or not found:
        return known or found
    return found if _age(decode_profile(known)) <= _age(decode_profile(found)) else known


def _age(state: ProfileState) -> tuple[int, int]:
    """The latest deletion, and how long ago it is: 0 its calls wait, 1 all is done, 2 something is known since."""
    if state.deleted is None:
        return -1, 0
    return state.deleted, 2 if state.known_since else 1 if state.gone else 0
