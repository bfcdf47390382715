"""The outside world for demo and tests: Meta's Graph API and CDN over real HTTP.

Written from Meta's documentation and never from this package's clients, so that it cannot share
their mistakes. Everything it answers follows from a `World` (seed and ids), the injected time and
the faults switched on: two servers with the same three answer alike.
"""
