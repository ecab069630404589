"""The serial link between a device and its host: frames, messages, and both ends as state machines, without any I/O.

`docs/serial-link.md` is the specification. `cobs` and `frames` are the bytes on the line, `messages` and `batch` what
they say, `host` the agent's end and `device` the instrument's, as the simulator uses it.
"""
