"""The champion among a component's input artifacts."""

from tfx import types


def present(artifacts: list[types.Artifact] | None) -> types.Artifact | None:
    """The champion that ChampionResolver wrote, or None on the first run (its artifact has the state `absent`)."""
    if not artifacts or artifacts[0].get_string_custom_property("state") != "present":
        return None
    return artifacts[0]
