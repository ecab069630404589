"""Device bytes to ledger records: HL7 v2 over MLLP, GS1 scans, vital-sign series.

Everything here is sans-IO: bytes or text in, records out. Sockets, serial ports and clocks belong to the agents.
Each format's library is an optional extra (`medledger[hl7]`, `medledger[supply]`), imported when it is first needed.
"""
