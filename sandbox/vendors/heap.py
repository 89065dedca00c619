"""Heap: users and events, in bulk. https://developers.heap.io/reference/server-side-apis-overview"""

from sandbox.plain import PlainVendor, Takes, in_body


class Heap(PlainVendor):
    slug = "heap"
    hosts = (r"heapanalytics\.com", r"c\.eu\.heap-api\.com")
    secret_in = in_body("app_id")
    takes = (
        Takes("POST", "/api/add_user_properties", ids={"identity": str}, rows="users", traits="properties"),
        Takes("POST", "/api/track", ids={"identity": str}, rows="events", event="event", traits="properties"),
    )
