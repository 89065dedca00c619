"""Listening on 127.0.0.1, and stopping without waiting for answers that are delayed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from sandbox.server import Sandbox, make_app

ADDRESS = "127.0.0.1"


@asynccontextmanager
async def listen(sandbox: Sandbox, port: int) -> AsyncIterator[str]:
    """Serve while the block lasts; gives the URL. Port 0 picks a free one. Raises OSError where it is taken."""
    runner = web.AppRunner(make_app(sandbox), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, ADDRESS, port).start()
        yield f"http://{ADDRESS}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        sandbox.close()
