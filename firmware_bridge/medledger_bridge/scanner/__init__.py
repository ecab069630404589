"""GS1 scanners: what a keyboard wedge or a serial scanner sends becomes the text of one scan, or a ScanError.

A wedge plays a keyboard: it presses keys, and only the layout says which characters were meant. `layouts` has the
tables, `keyboard` turns key events or text into scans, `serialport` bytes, `evdev` reads Linux input devices, `symbol`
is the test symbol that shows how a scanner is set, and `selftest` judges what arrives of it.
"""
