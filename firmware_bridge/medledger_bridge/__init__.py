"""Device bytes to ledger records: HL7 v2 over MLLP, Bluetooth health profiles, GS1 scans, vital-sign series.

Nearly everything here is sans-IO: bytes or text in, records out. Sockets and clocks belong to the agents; the few edges
to hardware, such as ble/central.py, are thin and say that they are one. Drivers of devices are in one open registry
(devices.py). Each format's library is an optional extra (`medledger[hl7]`, `medledger[ble]`, `medledger[supply]`),
imported when it is first needed.
"""
