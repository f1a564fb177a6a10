"""The egress rules of a deployment, from its settings."""

from offtake.errors import OfftakeError
from offtake.network.egress import Network
from offtake.settings import Settings


def network_of(settings: Settings) -> Network:
    """The deployment's egress rules; raises `OfftakeError` when OFFTAKE_CA_FILE cannot be read."""
    certificates = None
    if settings.ca_file is not None:
        try:
            certificates = settings.ca_file.read_bytes()
        except OSError as error:
            raise OfftakeError(f"OFFTAKE_CA_FILE {settings.ca_file} cannot be read: {error.strerror}.") from None
    return Network(
        bool(settings.multi_user),
        settings.egress_allow,
        settings.egress_deny,
        certificates,
        settings.read_timeout_seconds,
    )
