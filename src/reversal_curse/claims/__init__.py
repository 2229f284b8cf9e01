"""The ledger of claims: each statement of the papers that a number can decide."""
