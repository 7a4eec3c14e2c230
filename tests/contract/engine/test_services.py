"""Services: started when needed, ready before use, gone afterwards."""

import http.server
import threading
from collections.abc import Iterator

import anyio
import dagger
import pytest

GET = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode(), end='')"


def server(python: dagger.Container, text: str, port: int = 8000) -> dagger.Service:
    return (
        python.with_workdir("/srv")
        .with_new_file("index.html", text)
        .with_exposed_port(port)
        .as_service(args=["sh", "-c", f"sleep 0.5; exec python3 -m http.server {port}"])
    )


async def test_a_service_is_ready_before_the_command_that_needs_it(python: dagger.Container, fresh: str):
    ctr = python.with_service_binding("www", server(python, fresh))
    assert await ctr.with_exec(["python3", "-c", GET, "http://www:8000/"]).stdout() == fresh


async def test_two_services_may_use_the_same_port(python: dagger.Container, fresh: str):
    ctr = python.with_service_binding("one", server(python, f"{fresh}1")).with_service_binding(
        "two", server(python, f"{fresh}2")
    )
    both = f"{GET}; sys.argv.pop(1); {GET}"
    said = await ctr.with_exec(["python3", "-c", both, "http://one:8000/", "http://two:8000/"]).stdout()
    assert said == f"{fresh}1{fresh}2"


async def test_the_same_definition_is_the_same_running_instance(python: dagger.Container, fresh: str):
    counting = (
        python.with_env_variable("RUN", fresh)
        .with_workdir("/srv")
        .with_exposed_port(8000)
        .as_service(
            args=["sh", "-c", "cat /proc/sys/kernel/random/uuid > index.html; exec python3 -m http.server 8000"]
        )
    )
    ctr = python.with_service_binding("www", counting)
    ask = ["python3", "-c", GET, "http://www:8000/"]
    first = await ctr.with_env_variable("N", "1").with_exec(ask).stdout()
    assert await ctr.with_env_variable("N", "2").with_exec(ask).stdout() == first


async def test_a_service_that_ends_early_fails_the_command_at_once(python: dagger.Container, fresh: str):
    service = python.with_env_variable("RUN", fresh).with_exposed_port(1234).as_service(args=["sh", "-c", "exit 3"])
    with anyio.fail_after(60), pytest.raises(dagger.QueryError):
        await python.with_service_binding("gone", service).with_exec(["true"]).sync()


async def test_a_service_is_started_and_stopped_by_hand(python: dagger.Container, fresh: str):
    service = server(python, fresh)
    await service.start()
    host = await service.hostname()
    assert await service.endpoint(scheme="http") == f"http://{host}:8000"
    await service.stop()


async def test_a_service_may_need_a_service(python: dagger.Container, fresh: str):
    upstream = server(python, fresh)
    code = (
        "import http.server, urllib.request\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers()\n"
        "        self.wfile.write(urllib.request.urlopen('http://up:8000/').read())\n"
        "http.server.HTTPServer(('', 9000), H).serve_forever()\n"
    )
    proxy = (
        python.with_new_file("/proxy.py", code)
        .with_service_binding("up", upstream)
        .with_exposed_port(9000)
        .as_service(args=["python3", "/proxy.py"])
    )
    ctr = python.with_service_binding("www", proxy)
    assert await ctr.with_exec(["python3", "-c", GET, "http://www:9000/"]).stdout() == fresh


@pytest.mark.drydock
async def test_the_error_of_a_service_that_ends_early_holds_its_last_words(python: dagger.Container):
    service = python.with_exposed_port(1234).as_service(args=["sh", "-c", "echo no database >&2; exit 3"])
    with pytest.raises(dagger.QueryError, match=r"(?s)exited with 3 before port 1234 was open.*no database"):
        await service.start()


@pytest.mark.drydock
async def test_a_service_that_ends_while_a_command_needs_it_fails_the_command(python: dagger.Container, fresh: str):
    code = (
        "import http.server, os\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        os._exit(7)\n"
        "http.server.HTTPServer(('', 8000), H).serve_forever()\n"
    )
    service = (
        python.with_env_variable("RUN", fresh)
        .with_new_file("/dies.py", code)
        .with_exposed_port(8000)
        .as_service(args=["python3", "/dies.py"])
    )
    ask = ["sh", "-c", 'python3 -c "$0" http://dies:8000/; sleep 60', GET]
    with anyio.fail_after(50), pytest.raises(dagger.QueryError, match="exited with 7 while a command needed it"):
        await python.with_service_binding("dies", service).with_exec(ask).sync()


@pytest.fixture
def listening(fresh: str) -> Iterator[int]:
    """A port of this machine on which an HTTP server answers with `fresh`."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(fresh)))
            self.end_headers()
            self.wfile.write(fresh.encode())

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


async def test_a_port_of_the_host_can_be_a_service(
    dag: dagger.Client, python: dagger.Container, listening: int, fresh: str
):
    service = dag.host().service([dagger.PortForward(backend=listening, frontend=8000)])
    ctr = python.with_env_variable("RUN", fresh).with_service_binding("host", service)
    assert await ctr.with_exec(["python3", "-c", GET, "http://host:8000/"]).stdout() == fresh


async def test_a_registry_can_be_a_port_of_the_host(dag: dagger.Client, listening: int, fresh: str):
    service = dag.host().service([dagger.PortForward(backend=listening, frontend=5000)])
    image = dag.container().from_(f"localhost:5000/{fresh}:1", registry_service=service)
    # It was asked: it is no registry.
    with pytest.raises(dagger.QueryError, match=fresh[:8]) as caught:
        await image.sync()
    assert "refused" not in str(caught.value)


async def test_a_port_of_the_host_where_nothing_listens_is_named(
    dag: dagger.Client, python: dagger.Container, fresh: str
):
    service = dag.host().service([dagger.PortForward(backend=1, frontend=8000)])
    ctr = python.with_env_variable("RUN", fresh).with_service_binding("host", service)
    with anyio.fail_after(150), pytest.raises(dagger.QueryError):
        await ctr.with_exec(["python3", "-c", GET, "http://host:8000/"]).stdout()
