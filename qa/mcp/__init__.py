"""The Model Context Protocol: machines for agents, over stdio and over HTTP.

Nothing here is imported at the start of other commands: the protocol's library alone takes half a second.
"""
