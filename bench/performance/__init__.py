"""As fast as the machine allows? Offtake measured against its peers, against the floor, and against its own goals."""
