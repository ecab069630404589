"""An MQTT broker in a child process, for the demo and the tests only. Never put one between real wards.

It is amqtt: MQTT 3.1.1, anonymous, everything in memory, and its offline queueing is not reliable. A ward runs
Mosquitto or another real broker; the ledger trusts either with nothing.

- A process of its own: a busy broker takes no time from an agent's interpreter, and `kill()` is a real kill.
- Port 0 takes a free port; the broker keeps it for life, so that clients find it again after a restart.
- It ends with its parent: the child watches its standard input, which closes when the parent dies, however it dies.
- It writes no file and logs nothing; a failure to start is a `TransportError` with the reason.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from types import TracebackType
from typing import IO, Any, Self

from medledger.errors import TransportError, UsageError

STOP_SECONDS = 5.0
LISTENER = "default"
CONFIGURATION: dict[str, Any] = {
    # "external": the socket is ours, so that the port chosen by the system is known without asking amqtt
    "listeners": {LISTENER: {"type": "external", "bind": ""}},
    # named explicitly: the default set logs every packet and publishes $SYS topics
    "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
}


class EmbeddedBroker:
    """A broker on one port of this machine, started and stopped by the program that uses it."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """The address for clients, as in mqtt://127.0.0.1:40123."""
        if self.port == 0:
            raise UsageError("the embedded broker has no port before it is started")
        return f"mqtt://{self.host}:{self.port}"

    def start(self) -> Self:
        """Start the broker; on return it accepts connections."""
        if self._process is not None:
            raise UsageError("the embedded broker is running already")
        process = subprocess.Popen(
            [sys.executable, "-m", "medledger_agents.broker", self.host, str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        port = _stdout(process).readline().strip()
        if not port:
            _, errors = process.communicate()
            reason = errors.strip().splitlines()[-1] if errors.strip() else f"exit code {process.returncode}"
            raise TransportError(
                f"the embedded broker did not start on {self.host}:{self.port}: {reason}",
                hint="Is the port taken? Is amqtt installed (pip install 'medledger[broker]')?",
            )
        self.port = int(port)
        self._process = process
        # Nobody reads the child's error output while it runs: drain it, or a full pipe would block the broker.
        threading.Thread(target=_drain, args=(process.stderr,), name="embedded-broker-stderr", daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop the broker in an orderly way; nothing happens when it is not running."""
        process, self._process = self._process, None
        if process is None:
            return
        _stdin(process).close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _stdout(process).close()

    def kill(self) -> None:
        """Kill the broker at once, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self.stop()

    def restart(self) -> None:
        """Kill the broker and start it again on the same port."""
        self.kill()
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _stdin(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdin is not None  # opened with PIPE
    return process.stdin


def _stdout(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None  # opened with PIPE
    return process.stdout


def _drain(pipe: IO[str]) -> None:
    with pipe:
        for _line in pipe:
            pass


# --- the child process ------------------------------------------------------------------------------------------


async def serve(host: str, port: int) -> None:
    """Run the broker until standard input closes; print the port once connections are accepted."""
    from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
    from amqtt.broker import Broker

    broker = Broker(CONFIGURATION)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await broker.external_connected(StreamReaderAdapter(reader), StreamWriterAdapter(writer), LISTENER)

    await broker.start()
    server = await asyncio.start_server(connected, host, port)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - the parent reads the port here
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()
    await broker.shutdown()


def main() -> None:
    """Entry point of the child: `python -m medledger_agents.broker HOST PORT`."""
    logging.disable(logging.CRITICAL)
    host, port = sys.argv[1:]
    asyncio.run(serve(host, int(port)))


if __name__ == "__main__":
    main()
