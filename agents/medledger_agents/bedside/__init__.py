"""The bedside agent: HL7 v2 messages from monitors become readings on the ledger."""
