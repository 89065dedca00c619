"""Addressing: where a request really goes: through a gateway, through the environment's proxy, to no address inside."""

from functools import lru_cache
from urllib.request import getproxies, proxy_bypass

from aiohttp.helpers import strip_auth_from_url
from yarl import URL

from transforms.destinations.contract import Destination
from transforms.logic.addresses import inside, literal
from transforms.sending.talk import Stopped
from transforms.sending.wire import Names


class Addressing:
    """Of one connection. What is not allowed raises Stopped."""

    def __init__(self, destination: Destination, gateway: str, connect_timeout: float) -> None:
        self._destination, self._gateway = destination, gateway.rstrip("/")
        guarded = not gateway and not destination.reaches_inside()
        self.names = Names(connect_timeout, self._inside if guarded else None)
        self._proxies = {
            scheme: url for scheme, url in getproxies().items() if scheme in ("http", "https", "all") and url
        }
        self._checked: set[str] = set()  # hosts that are asked for through a proxy
        self.url = lru_cache(512)(self._address)
        self.proxy = lru_cache(64)(self._proxy)

    def _address(self, url: str) -> URL:
        found = URL(url, encoded=url.isascii() and " " not in url)
        address = literal(found.host or "")
        if address and inside(address) and not self._destination.reaches_inside():
            raise self._inside(address, address)
        if not self._gateway:
            return found
        return URL(f"{self._gateway}/{found.raw_authority}{found.raw_path_qs}", encoded=True)

    def _inside(self, host: str, address: str) -> Stopped:
        where = host if host == address else f"{host} ({address})"
        can_be_allowed = hasattr(self._destination.settings, "private_addresses")
        unless = " unless its settings say private_addresses: true" if can_be_allowed else ""
        return Stopped(f"{where} is an address inside this machine's network, and nothing is sent there{unless}")

    # -- proxies

    async def through(self, url: URL) -> tuple[URL | None, dict[str, str] | None]:
        """The proxy that the environment names for this URL, and the headers for it. The target is looked up too."""
        if not self._proxies:
            return None, None
        proxy, headers = self.proxy(url.origin())
        if proxy is not None and url.host and url.host not in self._checked:
            await self._check(url.host)
        return proxy, headers

    def _proxy(self, origin: URL) -> tuple[URL | None, dict[str, str] | None]:
        found = self._proxies.get(origin.scheme) or self._proxies.get("all")
        host = origin.host or ""
        if not found or proxy_bypass(host) or proxy_bypass(f"{host}:{origin.port}") or _on_this_machine(host):
            return None, None
        proxy, auth = strip_auth_from_url(URL(found if "://" in found else f"http://{found}"))
        if proxy.scheme not in ("http", "https") or not proxy.host:
            raise Stopped("the environment names a proxy that is neither http:// nor https://")
        self.names.proxies.add((proxy.host, proxy.port or 80))
        return proxy, {"Authorization": auth.encode()} if auth else None  # aiohttp makes it Proxy-Authorization

    async def _check(self, host: str) -> None:
        """A proxy finds the target by itself; what is known of it here must not be an address inside."""
        if literal(host) is None:
            try:
                results = await self.names.look_up(host)
            except (OSError, TimeoutError):  # only the proxy can find it
                results = []
            self.names.guard(host, results)
        self._checked.add(host)


def _on_this_machine(host: str) -> bool:
    """A gateway here is never behind a proxy."""
    address = literal(host)
    return host == "localhost" or (address is not None and (address.startswith("127.") or address == "::1"))
