"""The fault drill: everything that goes wrong, made to go wrong, and what a user then sees.

``make faults`` tries every row and writes ``docs/faults.md``; one row alone: ``python -m faults.run --only 5``.
"""
