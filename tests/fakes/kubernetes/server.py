"""The fake API server: in its own thread, on a free loopback port, over plain HTTP."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from tests.fakes.kubernetes import patches
from tests.fakes.kubernetes.access import Access
from tests.fakes.kubernetes.address import Catalogue, Target
from tests.fakes.kubernetes.api import Api
from tests.fakes.kubernetes.client import ApiServer, write_kubeconfig
from tests.fakes.kubernetes.faults import Faults, Request, Requests
from tests.fakes.kubernetes.handler import Handler
from tests.fakes.kubernetes.lists import Pages
from tests.fakes.kubernetes.resources import EVERYTHING, Resource
from tests.fakes.kubernetes.store import Store
from tests.fakes.kubernetes.watches import Bell
from tests.fakes.kubernetes.writes import Writer, as_seen, kept

NOON = 1_700_000_000.0


class FakeApiServer(ApiServer):
    """A Kubernetes API without a cluster.

    Whoever sends no token is the administrator, unless `anonymous_is_admin` is off.

    Attributes:
        now: Unix seconds, for the times that the server stamps; set it as the test goes on. A
            `clock` is asked instead where one is given.
        requests: What was asked.
        faults: What goes wrong.
        store: What is remembered.
    """

    def __init__(
        self,
        folder: Path,
        *,
        now: float = NOON,
        clock: Callable[[], float] | None = None,
        resources: Iterable[Resource] = EVERYTHING,
        anonymous_is_admin: bool = True,
        bookmark_seconds: float = 60.0,
        remembers: int = 20_000,
    ) -> None:
        self.now = now
        self.requests = Requests()
        self.faults = Faults()
        self.store = Store(remembers=remembers)
        known = tuple(resources)
        self.catalogue = Catalogue(known)
        self.access = Access(self.store)
        self._api = Api(self.store, self.catalogue, clock or (lambda: self.now))
        self._pages = Pages(self.store)
        self._anonymous_is_admin = anonymous_is_admin
        self._bookmark_seconds = bookmark_seconds
        self._streams: set[asyncio.Task[Any]] = set()
        self._bell: Bell | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._runner: web.AppRunner | None = None
        self._port = 0
        self.store.listen(self._changed)
        self.start()
        address = f"http://127.0.0.1:{self._port}"
        path = write_kubeconfig(folder / "kubeconfig", address)
        super().__init__(address, path, resources=known)

    # --- life -----------------------------------------------------------------------------

    def start(self) -> None:
        """Answer requests; after a `stop` on the same port, with all that was remembered."""
        if self._thread is not None:
            return
        ready: threading.Event = threading.Event()
        failed: list[BaseException] = []

        def serve() -> None:
            loop = asyncio.new_event_loop()
            self._loop = loop
            try:
                loop.run_until_complete(self._open())
            except BaseException as error:  # noqa: BLE001
                failed.append(error)
                loop.close()
                ready.set()
                return
            ready.set()
            loop.run_forever()
            loop.run_until_complete(self._shut())
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

        self._thread = threading.Thread(target=serve, name="fake-api-server", daemon=True)
        self._thread.start()
        ready.wait()
        if failed:
            self._thread.join()
            self._thread = None
            raise failed[0]

    def stop(self) -> None:
        """Go away: connections are cut, the port is closed. What was written stays."""
        if self._thread is None or self._loop is None:
            return
        self.faults.clear()
        self._bell = None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._thread = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self.stop()

    async def _open(self) -> None:
        self._bell = Bell()
        handler = Handler(
            self._api,
            self.access,
            self.faults,
            self.requests,
            self._pages,
            self._bell,
            self._bookmark_seconds,
            self._anonymous_is_admin,
            self._streams,
        )
        app = web.Application(client_max_size=16 * 2**20)
        app.router.add_route("*", "/{path:.*}", handler.__call__)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def _shut(self) -> None:
        for task in list(self._streams):
            task.cancel()
        assert self._runner is not None
        await self._runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _changed(self) -> None:
        bell = self._bell
        if bell is not None:
            bell.ring()

    # --- what a test does -----------------------------------------------------------------

    def add(self, *objects: Mapping[str, Any], manager: str = "seed") -> None:
        """Put objects there as they are, status included; their namespaces are made."""
        for obj in objects:
            self._api.seed(obj, manager)

    def peek(self, path: str) -> dict[str, Any]:
        """Return an object by its path, without a request.

        Raises:
            ApiError: 404.
        """
        return self._api.get(self.catalogue.target(path))

    def objects(self, path: str) -> list[dict[str, Any]]:
        """Return the objects of a collection by its path, without a request."""
        target: Target = self.catalogue.target(path)
        found = self.store.all(kept(target.resource), target.namespace)
        return [as_seen(target.resource, stored.obj) for _, stored in found]

    def write(self, path: str, patch: Mapping[str, Any], *, manager: str = "seed") -> None:
        """Merge a patch into an object or its subresource, without a request."""
        target = self.catalogue.target(path)
        self._api.patch(target, lambda obj: patches.merge(obj, patch), Writer(manager))

    def end(self, path: str) -> None:
        """Delete an object with its grace, without a request."""
        self._api.delete(self.catalogue.target(path), {}, dry=False)

    def drop(self, path: str) -> None:
        """Remove an object at once, without a request."""
        self._api.delete(self.catalogue.target(path), {"gracePeriodSeconds": 0}, dry=False)

    def bind(self, path: str, node: str) -> None:
        """Put a pod on a node, without a request."""
        self.write(path, {"spec": {"nodeName": node}}, manager="kube-scheduler")

    def asked_by(self, user: str) -> list[Request]:
        return [one for one in self.requests if one.user == user]

    def compact(self) -> None:
        """Forget the changes so far: older versions and `continue` tokens get 410."""
        self.store.compact()
        self._pages.compact()

    def bookmark(self) -> None:
        """Send a bookmark to every watch that wants them."""
        if self._bell is not None:
            self._bell.bookmarks += 1
            self._bell.ring()

    def cut_watches(self) -> None:
        """Reset the connection of every watch."""

        def cut() -> None:
            for task in list(self._streams):
                task.cancel()

        if self._loop is not None:
            self._loop.call_soon_threadsafe(cut)
