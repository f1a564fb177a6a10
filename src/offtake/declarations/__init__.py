"""Everything as code: documents in files, compared with a server of the contract and applied to it.

Runs at the client: it loads nothing of a server, and speaks to one through `offtake.client`.
"""
