"""The fault drill: injects every fault and records what the user sees.

``make faults`` tries every row and writes ``docs/faults.md``; for one row, use ``python -m faults.run --only 5``.
"""
