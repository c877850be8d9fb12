"""The fault table: what people, clusters and operators do to a bot, and for how long two of its processes lived.

spans.py measures, faults.py says what is done, variants.py to whom, play.py does it, table.py writes it down.
"""
