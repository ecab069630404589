"""The programs around the ledger: bedside and pharmacy agents, and a demonstration with a hospital and an auditor.

An agent is one process that owns one replica, one key and one database of what it received. Its settings are in
config.py, its life in runtime.py, what it received in inbox.py; bedside/ and pharmacy/ are what it listens to.
"""
