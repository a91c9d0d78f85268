"""Money, in integer micro-dollars: double entry, immutable transfers, two-phase holds.

`ledger` moves it, `invariants` proves that none was made or lost. The model is TigerBeetle's: a hold reserves, and is
posted or voided, each at most once (https://docs.tigerbeetle.com/coding/two-phase-transfers/).
"""
