"""Slack: incoming webhooks, whose URLs are the secrets. https://docs.slack.dev/messaging/"""

from sandbox.vendor import Answer, Cap, Request, Vendor


class Slack(Vendor):
    slug = "slack"
    hosts = (r"hooks\.slack\.com",)
    caps = (Cap(1),)

    @classmethod
    def credential(cls, request: Request) -> str | None:
        return request.target if request.path.startswith("/services/") else None

    def respond(self, request: Request) -> Answer:
        words = request.object.get("text")
        if request.method != "POST" or not isinstance(words, str) or not words:
            return Answer(400, "invalid_payload")
        self.events.add(request.at, "message", {"channel": request.path}, {"text": words})
        return Answer(200, "ok")
