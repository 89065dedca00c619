"""Amazon Lambda: Invoke of the API of 2015-03-31. Every function is there, and fails for who is refused."""

import re
from typing import Any

from sandbox.aws import AwsVendor, identifiers
from sandbox.vendor import Answer, Cap, Request, on

STATUS = {"RequestResponse": 200, "Event": 202, "DryRun": 204}


class AmazonLambda(AwsVendor):
    slug = "amazon-lambda"
    service = "lambda"
    hosts = (r"lambda\.[a-z0-9-]+\.amazonaws\.com",)
    max_bytes = 6 * 2**20

    def error(self, status: int, name: str, words: str = "") -> Answer:
        """The name is in a header."""
        return Answer(status, {"Type": "User", "message": words or name}, {"X-Amzn-ErrorType": name})

    def unauthorized(self) -> Answer:
        return self.error(403, "UnrecognizedClientException", "The security token included in the request is invalid.")

    def throttled(self, cap: Cap, wait: float, at: float) -> Answer:
        return self.error(429, "TooManyRequestsException", "Rate Exceeded.")

    def failed(self, status: int) -> Answer:
        return self.error(status, "ServiceException")

    def too_large(self) -> Answer:
        return self.error(413, "RequestTooLargeException")

    @on("POST", "/2015-03-31/functions/{function}/invocations")
    def invoke(self, request: Request, function: str) -> Answer:
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", function):
            return self.error(400, "ValidationException", "functionName does not satisfy its pattern")
        status = STATUS.get(request.headers.get("x-amz-invocation-type", "RequestResponse"))
        if status is None:
            return self.error(400, "InvalidParameterValueException", "There is no such type of invocation")
        if request.json is None:
            return self.error(400, "InvalidRequestContentException", "Could not parse request body into json")
        told: dict[str, Any] = request.object
        if status == 200 and self.refused(*identifiers(told).values()):
            raised = {"errorType": "ValueError", "errorMessage": "nobody of this name"}
            return Answer(200, raised, {"X-Amz-Function-Error": "Unhandled"})
        if status != 204:
            self.keep(told, request.at, function=function)
        return Answer(status, "done" if status == 200 else None)
