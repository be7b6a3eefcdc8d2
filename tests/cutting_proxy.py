"""A TCP proxy that cuts connections in the midst of a frame: what a network does, and a websocket server never."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass


@dataclass
class Proxy:
    """A running proxy. cut_after: bytes from the server after which each new connection is cut; None: never. mute: bytes go nowhere."""

    port: int = 0
    cut_after: int | None = None
    mute: bool = False
    cuts: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
        """One client: both directions until one of them ends."""
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", target)
        there = asyncio.ensure_future(self._carry(reader, upstream_writer, None))
        back = asyncio.ensure_future(self._carry(upstream_reader, writer, self.cut_after))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            there.cancel()
            back.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
            for each in (writer, upstream_writer):
                each.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut_after: int | None) -> None:
        carried = 0
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                if self.mute:
                    continue
                if cut_after is not None and carried + len(data) > cut_after:
                    self.cuts += 1
                    writer.write(data[: cut_after - carried])
                    await writer.drain()
                    return
                carried += len(data)
                writer.write(data)
                await writer.drain()


@contextmanager
def proxied(target: int) -> Iterator[Proxy]:
    """A proxy on a free port before a server of this machine."""
    proxy, loop, stop, ready = Proxy(), asyncio.new_event_loop(), asyncio.Event(), threading.Event()

    async def run() -> None:
        server = await asyncio.start_server(lambda r, w: proxy.serve(r, w, target), "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        server.close()
        clients = asyncio.all_tasks() - {asyncio.current_task()}
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        await asyncio.sleep(0.05)  # transports that were aborted close in the loop's next turns

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="proxy")
    thread.start()
    assert ready.wait(60)
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        loop.close()
