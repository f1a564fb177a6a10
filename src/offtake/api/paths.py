"""Where the contract's services live on one origin (contract, section 1)."""

from typing import Final

FLOW_SERVICE: Final = "/data/foundation/flowservice"
ACTIVATION: Final = "/data/core/activation/disflowprovider"
