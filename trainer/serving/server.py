"""`serve`: a fitted Trainer behind HTTP, on localhost.

Responsible for the addresses /predict, /schema, /health and /metrics, for limits and errors, and
for ending without losing a request. Not for rows (`rows`), or for the queue (`batching`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer import saving
from trainer.base import Trainer
from trainer.data import arrays
from trainer.data.records import WrongRow
from trainer.estimators import Classifier, Regressor
from trainer.serving import rows as rows_of
from trainer.serving.batching import Batches
from trainer.utils import checks

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_LOG = logging.getLogger("trainer.serving")
_CLASSES = {cls.__name__: cls for cls in (Trainer, Classifier, Regressor)}
_SMALL_BODY = 1 << 16  # bytes, that are read in the thread which also answers other requests
_SECONDS_TO_SEND = 30.0  # a body
_SECONDS_TO_END = 30.0  # after SIGTERM, for clients that stopped in the middle of a request
_LAST_LOOK = 0.3  # seconds after SIGTERM in which requests are read that were sent before it
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Limits:
    """What a request may ask for.

    Attributes:
        body_bytes: The most bytes of a body; more is answered with 413.
        rows: The most rows of a request; more is answered with 413.
        batch_rows: The most rows of several requests that are predicted together.
        connections: The most connections at a time; more are answered with 503.
    """

    body_bytes: int = 16 << 20
    rows: int = 10_000
    batch_rows: int = 1_024
    connections: int = 1_000


def serve(model: str | Path | Trainer, *, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Answer predictions over HTTP, until SIGTERM or Ctrl-C.

    POST /predict takes a JSON list of rows: objects of column: value for a Trainer that was fitted
    on a table, nested lists for arrays, strings for text. It answers {"predictions": [...]}, and
    for a Classifier "probabilities", in the order of classes_; null stands for NaN. Requests that
    wait while the model is busy are predicted together, which may change the last digits.

    GET /schema answers the JSON schema of a row, /health whether the service is up, /metrics its
    counters as Prometheus reads them. A body that is not JSON is answered with 400, one that is too
    large with 413, and a wrong row with 422, which names the row and the column.

    The address is printed when the service is ready. After SIGTERM or Ctrl-C it accepts no more
    connections, answers the requests that it has, and this function returns. There is no
    authentication: whoever reaches the port can ask.

    Args:
        model: A file written by `save` of a Trainer, Classifier or Regressor; or a fitted Trainer,
            which may be of a class of your own.
        host: The address to listen on; "0.0.0.0" for those of all networks.
        port: The port; 0 for one that is free.

    Raises:
        ImportError: Starlette, uvicorn or prometheus_client is missing.
        TypeError, ValueError: An argument is not valid, or the file is of another class.
        FileNotFoundError: There is no such file.
        sklearn.exceptions.NotFittedError: The Trainer is not fitted.
        OSError: The port is in use, or there is no such address.
    """
    service = Service(model, host=host, port=port)
    print(f"{service.name} is served at {service.url}", flush=True)
    service.run()


class Service:
    """The service of `serve`, which can also run in a thread.

    Attributes:
        name: The class of the model.
        url: Where it listens.

    Args:
        model: As for serve.
        host: As for serve.
        port: As for serve.
        limits: What a request may ask for.
    """

    def __init__(
        self,
        model: str | Path | Trainer,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        limits: Limits | None = None,
    ) -> None:
        _check_installed()
        if not isinstance(host, str) or not host:
            raise TypeError(f"host={host!r}: must be an address; write host='127.0.0.1'")
        checks.integer("port", port, low=0, example=8000)
        if port > 65_535:
            raise ValueError(f"port={port}: must be at most 65535; write port=8000, for example")
        trainer = _loaded(model)
        limits = limits or Limits()
        self.name = type(trainer).__name__
        self._socket = _bound(host, port)
        address, free = self._socket.getsockname()[:2]
        self.url = f"http://{f'[{address}]' if ':' in address else address}:{free}"
        self._server = _server(trainer, limits)

    def run(self) -> None:
        """Answer requests until `stop`, SIGTERM or Ctrl-C."""
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """End it as SIGTERM does; it may be called from another thread."""
        self._server.should_exit = True


def _check_installed() -> None:
    try:
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"serve needs Starlette, uvicorn and prometheus_client ({error}); write pip install "
            '"exact-trainer[serve]"'
        ) from error


def _loaded(model: Any) -> Trainer:
    trainer = model
    if not isinstance(model, Trainer):
        if not isinstance(model, (str, Path)):
            given = f"the class {model.__name__}" if isinstance(model, type) else None
            raise TypeError(
                f"model is {given or f'of type {type(model).__name__}'}: must be the path of a "
                ".keras file, or a fitted Trainer"
            )
        owner = saving.owner_of(model)
        if owner not in _CLASSES:
            raise ValueError(
                f"model={str(model)!r}: was saved by {owner}, a class of your own; write "
                f"trainer.serve({owner}.load({str(model)!r}))"
            )
        trainer = _CLASSES[owner].load(model)
    found: Trainer = trainer
    fixed = found.network_.fixed_rows
    if fixed is not None:
        raise ValueError(
            f"model: takes batches of exactly {fixed} rows, and requests have any number; leave "
            "the batch size of its input open"
        )
    return found


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
            found.listen(2_048)  # who connects from now on waits until the service has started
        except BaseException:
            found.close()
            raise
    except OSError as error:
        raise OSError(
            error.errno,
            f"host={host!r}, port={port}: cannot be listened on ({error.strerror}); write "
            "host='127.0.0.1' and another port, or port=0 for a free one",
        ) from error
    return found


# ---- the server ----------------------------------------------------------------------------------


def _server(trainer: Trainer, limits: Limits) -> Any:
    import uvicorn

    class Server(uvicorn.Server):
        should_exit: bool

        def handle_exit(self, sig: int, frame: Any) -> None:
            # uvicorn's own would raise the signal again at the end, and kill the process
            if self.should_exit and sig == signal.SIGINT:
                self.force_exit = True
            self.should_exit = True

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            for server in self.servers:
                server.close()
            # A request may have been sent, but not read yet; uvicorn would close its connection.
            await asyncio.sleep(_LAST_LOOK)
            await super().shutdown(sockets)

    application = _Closing(_application(trainer, limits))
    server = Server(
        uvicorn.Config(
            application,
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,  # uvicorn's would close the handlers of everybody else
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=limits.connections,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=int(_SECONDS_TO_END),
        )
    )
    application.ends = lambda: server.should_exit
    return server


class _Closing:
    """Tells clients to close their connection once the service ends."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self.ends: Callable[[], bool] = lambda: False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def closing(message: Any) -> None:
            if message["type"] == "http.response.start" and self.ends():
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await self._application(scope, receive, closing)


class _Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.content = {"error": message, **more}


def _application(trainer: Trainer, limits: Limits) -> Starlette:
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    read = rows_of.of(trainer.network_.inputs)
    schema = read.schema()
    metrics = _Metrics()

    def predicted(parts: Sequence[Any], counts: Sequence[int]) -> list[bytes]:
        return _split(_answers(trainer, read.joined(parts)), counts)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.batches = Batches(predicted, limits.batch_rows, metrics.batch_rows.observe)
        running = asyncio.create_task(app.state.batches.run())
        try:
            yield
        finally:
            running.cancel()

    async def predict(request: Request) -> Response:
        started = time.perf_counter()
        try:
            content = await answered(request)
            status = 200
        except _Refused as refused:
            status, content = refused.status, _dumped(refused.content)
        except Exception as error:
            _LOG.exception("a prediction failed")
            status, content = 500, _dumped({"error": f"the prediction failed: {error}"})
        metrics.requests.labels(status).inc()
        if status != 200:
            metrics.errors.labels(status).inc()
        metrics.seconds.observe(time.perf_counter() - started)
        return Response(content, status, media_type="application/json")

    async def answered(request: Request) -> bytes:
        body = await _body(request, limits.body_bytes)
        rows = await _apart(len(body), _parsed, body, limits.rows)
        try:
            x = await _apart(len(body), read.read, rows)
        except WrongRow as wrong:
            raise _Refused(422, str(wrong), row=wrong.row, column=wrong.column) from wrong
        metrics.rows.inc(len(rows))
        batches: Batches = request.app.state.batches
        answer: bytes = await batches.answer(x, len(rows), read.together(x))
        return answer

    def plain(content: dict[str, Any]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(_: Request) -> Response:
            return Response(_dumped(content), media_type="application/json")

        return answer

    async def counters(_: Request) -> Response:
        return Response(*metrics.page())

    return Starlette(
        routes=[
            Route("/predict", predict, methods=["POST"]),
            Route("/schema", plain(schema)),
            Route("/health", plain({"status": "ok", "model": type(trainer).__name__})),
            Route("/metrics", counters),
        ],
        lifespan=lifespan,
    )


async def _apart(size: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function, in another thread if it has much to read."""
    if size <= _SMALL_BODY:
        return function(*arguments)
    return await asyncio.to_thread(function, *arguments)


async def _body(request: Request, most: int) -> bytes:
    from starlette.requests import ClientDisconnect

    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_SECONDS_TO_SEND):
            async for part in request.stream():
                size += len(part)
                if size <= most:
                    parts.append(part)
                elif size > 8 * most:  # a client that is not read to the end may miss the answer
                    break
    except TimeoutError as error:
        raise _Refused(408, f"the body did not arrive in {_SECONDS_TO_SEND:g} seconds") from error
    except ClientDisconnect as error:
        raise _Refused(400, "the body is incomplete") from error
    if size > most:
        raise _Refused(413, f"the body is larger than {most:,} bytes; send fewer rows at a time")
    return b"".join(parts)


def _parsed(body: bytes, most: int) -> list[Any]:
    def no_json(name: str) -> Any:
        raise ValueError(f"{name} is not JSON; write null for a missing value")

    try:
        rows = json.loads(body.decode(), parse_constant=no_json)
    except (ValueError, RecursionError) as error:
        raise _Refused(400, f"the body is not JSON: {error}") from error
    if not isinstance(rows, list):
        raise _Refused(
            422, f"the body is {rows!r:.80}: must be a list of rows", row=None, column=None
        )
    if not rows:
        raise _Refused(422, "the body has no rows", row=None, column=None)
    if len(rows) > most:
        raise _Refused(413, f"{len(rows):,} rows: send at most {most:,} at a time")
    return rows


def _answers(trainer: Trainer, x: Any) -> dict[str, Any]:
    """Return predictions, and the probabilities of a classifier, of one pass where possible."""
    if not isinstance(trainer, Classifier):
        return {"predictions": trainer.predict(x)}
    given = trainer.predict_proba(x)
    cls = type(trainer)
    own = cls.predict is not Classifier.predict or (
        cls.predict_proba is not Classifier.predict_proba
    )
    found = trainer.predict(x) if own else trainer.network_.targets.decode(given)
    return {"predictions": found, "probabilities": given}


def _split(answers: dict[str, Any], counts: Sequence[int]) -> list[bytes]:
    """Return the answer to each request, given how many rows it has."""
    total = sum(counts)
    for name, values in answers.items():
        for part, leaf in arrays.leaves(values, name):
            if len(leaf) != total:
                raise ValueError(f"{part} has {len(leaf)} rows, and x has {total}")
    found, start = [], 0
    for count in counts:
        stop = start + count
        own = {
            name: rows_of.as_json(arrays.map_tree(lambda a, r=slice(start, stop): a[r], values))
            for name, values in answers.items()
        }
        found.append(_dumped(own))
        start = stop
    return found


def _dumped(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


class _Metrics:
    """The counters of a service, in a registry of its own."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self.registry = CollectorRegistry()
        self.requests = Counter(
            "trainer_requests", "Requests to /predict.", ["status"], registry=self.registry
        )
        self.errors = Counter(
            "trainer_errors", "Requests that had an error.", ["status"], registry=self.registry
        )
        self.rows = Counter("trainer_rows", "Rows to predict.", registry=self.registry)
        self.seconds = Histogram(
            "trainer_request_seconds",
            "Seconds from the first byte of a request to its answer.",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.batch_rows = Histogram(
            "trainer_batch_rows",
            "Rows that were predicted together.",
            buckets=[2**k for k in range(11)],
            registry=self.registry,
        )

    def page(self) -> tuple[bytes, int, dict[str, str]]:
        """Return body, status and headers of /metrics."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self.registry), 200, {"content-type": CONTENT_TYPE_LATEST}
