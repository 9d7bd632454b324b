"""For Locust: users that post $BODY without a pause, each on a connection of its own."""

import os

from locust import FastHttpUser, constant, task  # type: ignore[import-not-found]

BODY = os.environ["BODY"].encode()
HEADERS = {"Content-Type": "application/json"}


class Sender(FastHttpUser):  # type: ignore[misc]
    wait_time = constant(0)

    @task  # type: ignore[untyped-decorator]
    def post(self) -> None:
        self.client.post("/", data=BODY, headers=HEADERS)
