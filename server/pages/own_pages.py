"""MLflow's server for its own pages: what pages from elsewhere send is refused.

A browser adds the visitor's session at the front door to whatever a page sends there, and names that page's origin in
`Origin`; programs send none. MLflow itself trusts every page of the visitor's own machine, on any port, and lets it
read the answers (`is_localhost_origin` in https://github.com/mlflow/mlflow/blob/master/mlflow/server/security_utils.py).
"""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

REFUSAL = b"Requests of other pages are refused here.\n"

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Callable[[], Awaitable[Message]], Send], Awaitable[None]]


def app() -> App:
    """MLflow's own application, for the pages of SERVER_ORIGIN only."""
    from mlflow.server.fastapi_app import app as mlflow  # the server's first process looks at this module, too

    return for_pages_of(os.environ["SERVER_ORIGIN"], mlflow)


def for_pages_of(origin: str, inner: App) -> App:
    """An ASGI application that answers 403 in the place of `inner` when a page of another origin asks."""
    own = origin.encode()

    async def answer(scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
        if any(name == b"origin" and value != own for name, value in scope.get("headers", ())):
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": REFUSAL})
        else:
            await inner(scope, receive, send)

    return answer
