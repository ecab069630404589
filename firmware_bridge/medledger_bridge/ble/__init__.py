"""Bluetooth health profiles: the values of GATT characteristics to readings, and the thin edge that receives them.

One file for each profile (heart_rate, blood_pressure, thermometer, pulse_oximeter, glucose, battery), most of them
ending in a driver for the registry in `medledger_bridge.devices`. Below them: ieee11073.py (numbers), date_time.py
(clocks), fields.py (strict cutting of bytes), measuring.py (from a number to a sample), stored_records.py (what a
device has kept), driver.py (what the drivers share). All of this is sans-IO; only
central.py talks to a Bluetooth adapter, through bleak (`medledger[ble]`).
"""
