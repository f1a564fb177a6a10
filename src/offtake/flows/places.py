"""Where a target connection delivers to, in one line."""

from collections.abc import Mapping

from offtake.destinations import registry
from offtake.destinations.parameters import TargetParams


def place_of(connection_spec_id: str, params: Mapping[str, object]) -> str:
    """The bucket, container or folder that the params name; empty for an unknown destination."""
    destination = registry.by_connection_spec_id(connection_spec_id)
    declared = destination.parameters.model_fields.items() if destination is not None else ()
    keys = [
        info.alias or name for name, info in declared if name not in TargetParams.model_fields and info.is_required()
    ]
    names = [str(params[key]).strip("/") for key in keys if params.get(key)]
    return "/".join(name for name in names if name)
