"""Pendo: custom metadata of visitors; those who are refused are missing. https://engageapi.pendo.io/"""

from dataclasses import replace

import msgspec

from sandbox.plain import PlainVendor, Takes, header
from sandbox.vendor import Answer, Request

PATH = "/api/v1/metadata/visitor/custom/value"


class Pendo(PlainVendor):
    slug = "pendo"
    hosts = (r"(us1\.)?app(\.eu|\.jpn|\.au)?\.pendo\.io",)
    secret_in = header("x-pendo-integration-key")
    takes = (Takes("POST", PATH, ids={"visitorId": str}, rows="visitors", traits="values"),)

    def respond(self, request: Request) -> Answer:
        if request.path != PATH or not isinstance(request.json, list):
            return self.unknown(request)
        known = [row for row in request.json if isinstance(row, dict) and not self.refused(row.get("visitorId"))]
        missing = [row["visitorId"] for row in request.json if row not in known]
        if known or not missing:
            answer = super().respond(replace(request, body=msgspec.json.encode({"visitors": known})))
            if answer.status != 200:
                return answer
        told = {"total": len(request.json), "updated": len(known), "failed": len(missing), "missing": missing}
        return Answer(200, told)
