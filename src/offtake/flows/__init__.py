"""The entities of the contract and their rules: what people asked for."""
