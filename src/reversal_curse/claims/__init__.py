"""The ledger of claims: each statement of the papers that a number can decide.

To add one, write a `Claim` beside the others of its group.
"""
