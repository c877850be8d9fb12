"""Every decision of the operator, as pure functions over frozen data.

Nothing here reads a clock, a file or a socket: what is known comes in as an `Observed` and `now`, what should be done
goes out as a `Plan` of actions, and what should be said as a status.
"""
