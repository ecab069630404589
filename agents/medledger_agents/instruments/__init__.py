"""Instruments that a bedside box is wired to: devices on serial ports and over Bluetooth, whose readings it logs."""
