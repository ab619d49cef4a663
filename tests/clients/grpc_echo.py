"""gRPC with the official library: an echo server, and a client that tries every kind of call.

serve              prints the port it listens on, and serves until standard input closes
call TARGET [JSON] makes one call of each kind, prints what came of each as JSON; JSON holds metadata
"""

import json
import sys
from concurrent import futures

import grpc

SERVICE = "echo.Echo"
LARGE = 3_000_000


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
        import time

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
    print(port, flush=True)
    sys.stdin.read()
    server.stop(0)


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
    print(json.dumps(results))


if sys.argv[1] == "serve":
    serve()
else:
    given = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    call(sys.argv[2], tuple(given.items()))
