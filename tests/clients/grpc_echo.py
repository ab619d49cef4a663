"""gRPC with the official library: an echo server, and a client that tries every kind of call.

Reads tasks, one JSON object a line, and answers each with one:
{"serve": true}                          starts a server; gives its port
{"call": TARGET, "metadata": {NAME: ..}} makes one call of each kind; gives what came of each
{"get": URL, "times": N}                 asks a URL by HTTP/2 with httpx; gives version and statuses
"""

import json
import sys
import time
from concurrent import futures

import grpc
import httpx

SERVICE = "echo.Echo"
LARGE = 3_000_000
SERVERS = []


def serve():
    def unary(request, context):
        context.set_trailing_metadata((("x-trailer", "late"), ("x-length", f"{len(request)}")))
        return request

    def server_stream(request, context):
        for number in range(int(request)):
            yield b"%d" % number

    def client_stream(requests, context):
        return b"%d" % sum(len(request) for request in requests)

    def bidi(requests, context):
        for request in requests:
            yield request.upper()

    def fail(request, context):
        context.set_trailing_metadata((("x-why", "asked"),))
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: %41 ü")

    def slow(request, context):
        time.sleep(5)
        return b""

    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
        "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
        "Bidi": grpc.stream_stream_rpc_method_handler(bidi),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Slow": grpc.unary_unary_rpc_method_handler(slow),
    }
    options = [("grpc.max_receive_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(16), options=options)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    SERVERS.append(server)
    return {"port": port}


def outcome(call):
    try:
        return call()
    except grpc.RpcError as error:
        return {
            "code": error.code().name,
            "details": error.details(),
            "trailers": {name: str(value) for name, value in error.trailing_metadata() or ()},
        }


def call(target, metadata):
    options = [("grpc.max_receive_message_length", -1)]
    channel = grpc.insecure_channel(target, options=options)
    path = f"/{SERVICE}/"
    common = {"metadata": metadata, "timeout": 15}

    def unary():
        large = b"x" * LARGE
        answer, rest = channel.unary_unary(path + "Unary").with_call(large, **common)
        return {"same": answer == large, "trailers": dict(rest.trailing_metadata())}

    def bidi():
        # One after the other: each answer must come before the next question is asked.
        asked = []

        def questions():
            for number in range(20):
                asked.append(number)
                yield b"q%d" % number

        answers = []
        for answer in channel.stream_stream(path + "Bidi")(questions(), **common):
            answers.append(answer.decode())
        return answers

    results = {
        "unary": outcome(unary),
        "server_stream": outcome(
            lambda: len(list(channel.unary_stream(path + "ServerStream")(b"500", **common)))
        ),
        "client_stream": outcome(
            lambda: channel.stream_unary(path + "ClientStream")(
                iter([b"x" * 10_000] * 100), **common
            ).decode()
        ),
        "bidi": outcome(bidi),
        "fail": outcome(lambda: channel.unary_unary(path + "Fail")(b"", **common)),
        "deadline": outcome(
            lambda: channel.unary_unary(path + "Slow")(b"", metadata=metadata, timeout=0.3)
        ),
    }
    return results


def get(url, times):
    with httpx.Client(http1=False, http2=True, verify=False) as client:
        answers = [client.get(url) for _ in range(times)]
    return {
        "versions": sorted({answer.http_version for answer in answers}),
        "statuses": sorted({answer.status_code for answer in answers}),
    }


for line in sys.stdin:
    task = json.loads(line)
    if "serve" in task:
        outcome_of_task = serve()
    elif "call" in task:
        outcome_of_task = call(task["call"], tuple(task.get("metadata", {}).items()))
    else:
        outcome_of_task = get(task["get"], task["times"])
    print(json.dumps(outcome_of_task), flush=True)
