"""One module for each kind of document: its plan against what exists, its steps, and its export."""
