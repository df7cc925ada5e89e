"""trainer.serve answers over HTTP what predict returns, and says what is wrong with a request."""

import contextlib
import http.client
import json
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import warm
from patience import SECONDS

import trainer
from trainer import Classifier, Regressor
from trainer.serving import Service
from trainer.serving.server import Limits

N = 60
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "age": RNG.normal(40, 10, N),
        "city": RNG.choice(["Rome", "Oslo", "Bern"], N),
        "since": pd.Timestamp("2001-02-03") + pd.to_timedelta(RNG.integers(0, 10**6, N), "min"),
        "stay": pd.to_timedelta(RNG.integers(0, 10**4, N), "s"),
    }
)
LABELS = np.where(FRAME["city"] == "Rome", "warm", "cold")
ROWS = [
    {
        "age": row["age"],
        "city": row["city"],
        "since": row["since"].isoformat(),
        "stay": row["stay"].total_seconds(),
    }
    for row in FRAME.to_dict("records")
]
SHORT: dict[str, Any] = {"epochs": 1, "random_state": 0, "verbose": 0}


class Client:
    """Asks a service; each call has a connection of its own."""

    def __init__(self, url: str) -> None:
        self.address = url.removeprefix("http://")

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        with contextlib.closing(http.client.HTTPConnection(self.address, timeout=SECONDS)) as found:
            sent = body if body is None or isinstance(body, bytes) else json.dumps(body)
            found.request(method, path, sent)
            answer = found.getresponse()
            content = answer.read()
        kind = answer.getheader("content-type", "")
        return answer.status, json.loads(content) if "json" in kind else content.decode()

    def predict(self, rows: Any) -> tuple[int, Any]:
        return self.ask("POST", "/predict", rows)

    def metric(self, name: str) -> float:
        lines = self.ask("GET", "/metrics")[1].splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


@contextlib.contextmanager
def served(model: Any, limits: Limits | None = None) -> Iterator[Client]:
    service = Service(model, port=0, limits=limits)
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        yield Client(service.url)
    finally:
        service.stop()
        thread.join()


@pytest.fixture(scope="module")
def table() -> Classifier:
    return Classifier(**SHORT).fit(FRAME, LABELS)


@pytest.fixture(scope="module")
def client(table: Classifier) -> Iterator[Client]:
    with served(table, Limits(body_bytes=20_000, rows=70, batch_rows=64)) as found:
        yield found


def test_rows_of_a_table_are_answered_with_labels_and_probabilities(
    client: Client, table: Classifier
) -> None:
    status, answer = client.predict(ROWS)
    assert status == 200
    assert answer["predictions"] == table.predict(FRAME).tolist()
    np.testing.assert_array_equal(answer["probabilities"], table.predict_proba(FRAME))
    status, answer = client.predict([ROWS[0] | {"age": None, "city": None, "since": None}])
    missing = FRAME[:1].assign(age=np.nan, city=None, since=pd.NaT)
    np.testing.assert_array_equal(answer["probabilities"], table.predict_proba(missing))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"age": "31"}, "rows[1]['age'] is '31' (str): training had numbers; write a number"),
        ({"age": [31]}, "rows[1]['age'] is [31] (list)"),
        ({"city": {"a": 1}}, "rows[1]['city'] is {'a': 1} (dict): training had categories"),
        ({"city": "\ud800"}, "rows[1]['city'] has half a surrogate pair"),
        ({"since": "soon"}, "rows[1]['since'] is 'soon': must be a date and time in ISO 8601"),
        ({"since": "2020-01-01T00:00:00Z"}, "rows[1]['since'] is datetime.datetime(2020"),
        ({"since": 5}, "rows[1]['since'] is 5 (int): training had dates"),
        ({"stay": "1 day"}, "rows[1]['stay'] is '1 day': must be a number of seconds"),
        ({"stay": 1e300}, "rows[1]['stay'] is 1e+300: must be a number of seconds"),
        ({"price": 3}, "rows[1] has the column 'price', which training did not have"),
    ],
    ids=str,
)
def test_a_wrong_row_is_a_422_that_names_the_row_and_the_column(
    client: Client, change: dict[str, Any], said: str
) -> None:
    status, answer = client.predict([ROWS[0], ROWS[1] | change])
    assert status == 422 and said in answer["error"]
    assert (answer["row"], answer["column"]) == (1, next(iter(change)))


def test_a_row_that_lacks_a_column_or_is_none_is_a_422(client: Client) -> None:
    status, answer = client.predict([{k: v for k, v in ROWS[0].items() if k != "city"}])
    assert status == 422 and (answer["row"], answer["column"]) == (0, "city")
    for rows, said in (
        ([ROWS[0], 5], "rows[1] is 5: must be an object"),
        ({"rows": []}, "must be a list of rows"),
        ([], "the body has no rows"),
        (None, "must be a list of rows"),
    ):
        status, answer = client.predict(json.dumps(rows).encode())
        assert status == 422 and said in answer["error"]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "the body is not JSON"),
        (b'[{"age": 3', 400, "the body is not JSON"),
        (b'[{"age": NaN}]', 400, "NaN is not JSON; write null"),
        (b'[{"age": -Infinity}]', 400, "is not JSON"),
        (b'["\xff"]', 400, "the body is not JSON"),
        (b"[" * 19_000, 400, "the body is not JSON"),
        (b"[" + b"9" * 9_000 + b"]", 400, "the body is not JSON"),
        (b" " * 20_001, 413, "the body is larger than 20,000 bytes"),
        (json.dumps([{}] * 71).encode(), 413, "71 rows: send at most 70 at a time"),
    ],
    ids=range(9),
)
def test_a_body_that_cannot_be_read_is_named(
    client: Client, body: bytes, status: int, said: str
) -> None:
    found, answer = client.predict(body)
    assert found == status and said in answer["error"]
    assert client.predict(ROWS[:1])[0] == 200


def test_other_addresses_and_methods(client: Client) -> None:
    assert client.ask("GET", "/predict")[0] == 405
    assert client.ask("GET", "/other")[0] == 404
    assert client.ask("GET", "/health") == (200, {"status": "ok", "model": "Classifier"})


def test_the_schema_has_columns_types_and_categories(client: Client) -> None:
    status, schema = client.ask("GET", "/schema")
    assert status == 200 and schema["required"] == list(FRAME.columns)
    assert schema["properties"]["age"] == {"type": ["number", "boolean", "null"]}
    assert set(schema["properties"]["city"]["examples"]) == {"Rome", "Oslo", "Bern"}
    assert "ISO 8601" in schema["properties"]["since"]["description"]
    assert schema["additionalProperties"] is False


def test_the_metrics_count(table: Classifier) -> None:
    with served(table) as client:
        client.predict(ROWS[:3])
        client.predict(ROWS[:5])
        client.predict([5])
        assert client.metric('trainer_requests_total{status="200"}') == 2
        assert client.metric("trainer_errors_total") == 1
        assert client.metric("trainer_rows_total") == 8
        assert client.metric("trainer_request_seconds_count") == 3
        assert client.metric("trainer_batch_rows_sum") == 8
        assert client.metric('trainer_batch_rows_bucket{le="4.0"}') == 1


def test_what_waits_is_predicted_together_and_everybody_gets_his_own(
    table: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first request holds the model until the others wait."""
    expected = table.predict_proba(FRAME)
    first, waiting = threading.Event(), threading.Event()
    sizes: list[int] = []
    predict_proba = Classifier.predict_proba

    class Slow(Classifier):
        def predict_proba(self, x: Any, **options: Any) -> Any:
            sizes.append(len(x))
            if len(sizes) == 1:
                first.set()
                assert waiting.wait(SECONDS)
            return predict_proba(self, x, **options)

    monkeypatch.setattr(table, "__class__", Slow)
    with served(table, Limits(batch_rows=32)) as client, ThreadPoolExecutor(20) as pool:
        one = pool.submit(client.predict, ROWS[:1])
        assert first.wait(SECONDS)
        asked = [pool.submit(client.predict, ROWS[i : i + 3]) for i in range(16)]
        wrong = pool.submit(client.predict, [ROWS[0], {"age": 3}])
        assert wrong.result()[0] == 422
        while client.metric("trainer_rows_total") < 1 + 3 * 16:
            time.sleep(0.005)
        waiting.set()
        for row, count, answer in [(0, 1, one), *((i, 3, job) for i, job in enumerate(asked))]:
            status, content = answer.result()
            assert status == 200
            np.testing.assert_allclose(
                content["probabilities"], expected[row : row + count], rtol=0, atol=1e-6
            )
    assert sizes == [1, 30, 18]


def test_an_answer_that_fails_is_a_500_of_its_own_request(
    table: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fails(Classifier):
        def predict(self, x: Any, **options: Any) -> Any:
            if any(row["age"] == -1 for row in x):
                raise RuntimeError("no such age")
            return super().predict(x, **options)

    monkeypatch.setattr(table, "__class__", Fails)
    with served(table) as client, ThreadPoolExecutor(8) as pool:
        asked = [[ROWS[i] | {"age": -1}] if i == 3 else [ROWS[i]] for i in range(8)]
        answers = list(pool.map(client.predict, asked))
        assert [status for status, _ in answers] == [200] * 3 + [500] + [200] * 4
        assert answers[3][1]["error"] == "the prediction failed: no such age"


def test_arrays_texts_and_several_inputs(tmp_path: Path) -> None:
    images = RNG.integers(0, 255, (20, 4, 4)).astype("uint8")
    small = Classifier(**SHORT, model="mlp").fit(images, np.arange(20) % 3)
    path = small.save(tmp_path / "images.keras")
    with served(path) as client:
        answer = client.predict(images[:5].tolist())[1]
        assert answer["predictions"] == small.predict(images[:5]).tolist()
        schema = client.ask("GET", "/schema")[1]
        assert schema["minItems"] == schema["items"]["maxItems"] == 4
        assert schema["items"]["items"] == {"type": "integer", "minimum": 0, "maximum": 255}
        for value, said, column in (
            (256, "rows[1][2][3] is 256: must be whole numbers from 0 to 255", 2),
            (0.5, "rows[1][2][3] is 0.5: must be whole numbers", 2),
            (None, "rows[1] is [[", None),
            ("3", "rows[1] is [[", None),
        ):
            rows = images[:3].tolist()
            rows[1][2][3] = value
            status, answer = client.predict(rows)
            assert status == 422 and answer["error"].startswith(said)
            assert (answer["row"], answer["column"]) == (1, column)
        status, answer = client.predict([images[0].tolist(), images[1, :3].tolist()])
        assert status == 422 and "of shape (4, 4)" in answer["error"] and answer["row"] == 1
        assert client.predict([5])[0] == 422


def test_numbers_that_are_not_finite_become_null_and_outputs_keep_their_names() -> None:
    class Odd(Regressor):
        def build_model(self, spec: Any) -> Any:
            x = {key: keras.Input(shape, name=key) for key, shape in spec.input_shape.items()}
            both = keras.layers.Concatenate()([*x.values()])
            log = keras.layers.Lambda(keras.ops.log, name="log")(keras.ops.sum(both, -1, True))
            return keras.Model(x, {"log": log, "one": keras.layers.Dense(1, name="one")(both)})

        def predict(self, x: Any, **options: Any) -> Any:
            assert isinstance(x, dict)  # a predict of one's own is used
            return super().predict(x, **options)

    x = {"a": RNG.uniform(1, 2, (12, 2)), "b": RNG.uniform(1, 2, (12, 1))}
    odd = Odd(**SHORT).fit(x, {"log": np.ones(12), "one": np.ones(12)})
    with served(odd) as client:
        rows = [{"a": [1, 2], "b": [3.5]}, {"a": [-1, -2], "b": [-3]}, {"a": [0, 0], "b": [0]}]
        status, answer = client.predict(rows)
        assert status == 200
        log = answer["predictions"]["log"]
        assert math.isclose(log[0], math.log(6.5), rel_tol=1e-5) and log[1:] == [None, None]
        assert len(answer["predictions"]["one"]) == 3
        status, answer = client.predict([rows[0], {"a": [1, 2]}])
        assert (status, answer["row"], answer["column"]) == (422, 1, "b")
        status, answer = client.predict([rows[0], {"a": [1, 1e19], "b": [3]}])
        assert (
            status == 422 and "rows[1]['a'][1] is 1e+19: must be numbers up to" in answer["error"]
        )
        assert set(client.ask("GET", "/schema")[1]["properties"]) == {"a", "b"}


def test_text_is_sent_as_strings() -> None:
    texts = [" ".join(RNG.choice(["good", "bad", "film", "long"], 5)) for _ in range(40)]
    labels = np.array(["good" in text for text in texts])
    made = Classifier(**SHORT).fit(np.array(texts, object), labels)
    with served(made) as client:
        assert client.ask("GET", "/schema")[1]["type"] == "string"
        status, answer = client.predict(texts[:3])
        assert (status, answer["predictions"]) == (200, made.predict(texts[:3]).tolist())
        status, answer = client.predict([*texts[:3], 4])
        assert status == 422 and answer["error"] == "rows[3] is 4: must be text"


def test_it_listens_on_localhost_only_and_says_what_is_wrong(
    table: Classifier, tmp_path: Path
) -> None:
    service = Service(table, port=0)
    assert service.url.startswith("http://127.0.0.1:")
    port = int(service.url.rsplit(":", 1)[1])
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        with pytest.raises(OSError, match="cannot be listened on .*port=0 for a free one"):
            Service(table, port=busy.getsockname()[1])
    service.stop()
    service.run()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    with pytest.raises(ValueError, match="port=70000: must be at most 65535"):
        trainer.serve(table, port=70_000)
    with pytest.raises(TypeError, match="model is of type int: must be the path"):
        trainer.serve(5)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        trainer.serve(tmp_path / "none.keras")
    with pytest.raises(Exception, match="not fitted yet"):
        trainer.serve(Classifier())

    class Mine(Classifier):
        pass

    path = Mine(**SHORT, model="mlp").fit(FRAME[["age"]], LABELS).save(tmp_path / "mine.keras")
    with pytest.raises(ValueError, match=r"was saved by Mine, .* trainer.serve\(Mine.load\("):
        trainer.serve(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match="truncated or damaged|not a file written"):
        trainer.serve(path)


def test_without_the_extra_it_says_what_to_install(
    table: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ImportError, match=r'pip install "exact-trainer\[serve\]"'):
        trainer.serve(table)


def test_sigterm_answers_everything_that_was_sent_then_ends(
    table: Classifier, tmp_path: Path
) -> None:
    path = table.save(tmp_path / "model.keras")
    script = f"""
import time
import trainer
from trainer import Classifier
predict_proba = Classifier.predict_proba
def slow(self, x, **options):
    time.sleep(0.05)
    return predict_proba(self, x, **options)
Classifier.predict_proba = slow
trainer.serve({str(path)!r}, port=0)
print("ended", flush=True)
"""
    process = warm.start(script)
    try:
        line = process.wait_for("Classifier is served at ")
        client = Client(line.rsplit(" ", 1)[1])
        expected = client.predict(ROWS[:2])
        assert expected[0] == 200
        address = client.address
        # of 24 connections that were made before, and that have sent a request before the signal
        open_ones = [http.client.HTTPConnection(address, timeout=SECONDS) for _ in range(24)]
        for one in open_ones:
            one.connect()
        for one in open_ones:
            one.request("POST", "/predict", json.dumps(ROWS[:2]))
        os.kill(process.pid, signal.SIGTERM)
        for one in open_ones:
            answer = one.getresponse()
            content = json.loads(answer.read())
            one.close()
            assert answer.status == 200
            assert content["predictions"] == expected[1]["predictions"]
        assert process.wait() == 0
        assert "ended" in process.output()
        with pytest.raises(OSError):
            socket.create_connection(address.split(":"), timeout=5)
    finally:
        process.kill()


def test_a_class_is_not_a_fitted_trainer():
    with pytest.raises(TypeError, match="model is the class Classifier: must be .* fitted Trai"):
        Service(Classifier)
