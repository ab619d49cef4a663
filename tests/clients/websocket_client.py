"""WebSocket clients: a task as a line of JSON on standard input, its outcome as one on standard output.

An exception of the package, or a socket's, is an outcome, described under "error"; anything else is a crash with a
traceback. Connections are kept under the names that they were opened with.
"""

import asyncio
import json
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

PATIENCE = 15
connections = {}


def opening(url, headers=None, authority=None, **options):
    context = ssl.create_default_context(cafile=authority) if authority else None
    options = {"max_size": None, "ping_interval": None, "close_timeout": 5, "proxy": None, "ssl": context} | options
    return connect(url, additional_headers=headers or {}, **options)


async def open_(name, url, **options):
    connections[name] = connection = await opening(url, **options)
    headers = list(connection.response.headers.raw_items())
    return {"status": connection.response.status_code, "headers": headers, "subprotocol": connection.subprotocol}


async def ask(name, message):
    """Sends a text and receives one message."""
    await connections[name].send(message)
    return {"answer": await connections[name].recv()}


async def binary(name, size):
    """Sends so many bytes, and says whether the same came back as one binary message."""
    message = bytes(number * 7 % 251 for number in range(1021)) * (size // 1021 + 1)
    await connections[name].send(message[:size])
    answer = await connections[name].recv()
    return {"same": answer == message[:size], "size": len(answer)}


async def large(name, size):
    """Asks the server for so many bytes."""
    await connections[name].send(str(size))
    answer = await connections[name].recv()
    return {"same": answer == bytes(range(256)) * (size // 256), "size": len(answer)}


async def ping(name):
    await (await connections[name].ping())
    return {}


async def close(name, code, reason):
    connection = connections.pop(name)
    await connection.close(code, reason)
    return {"code": connection.close_code}


async def end(name):
    """Reads until the connection ends, and says how."""
    connection = connections.pop(name)
    try:
        while True:
            await connection.recv()
    except ConnectionClosed as closed:
        return {"code": closed.rcvd and closed.rcvd.code, "reason": closed.rcvd and closed.rcvd.reason}


async def vanish(name):
    """Resets the connection."""
    connections.pop(name).transport.abort()
    return {}


async def crowd(url, clients, messages):
    """So many clients at once, each with so many echoed messages."""

    async def one(number):
        async with opening(url) as connection:
            for count in range(messages):
                text = f"{number}/{count} " + "x" * (number * 37 % 3000)
                await connection.send(text)
                if await connection.recv() != text:
                    return 0
        return messages

    return {"echoed": sum(await asyncio.gather(*[one(number) for number in range(clients)]))}


OPERATIONS = {
    "open": open_,
    "ask": ask,
    "binary": binary,
    "large": large,
    "ping": ping,
    "close": close,
    "end": end,
    "vanish": vanish,
    "crowd": crowd,
}


async def outcome(task):
    try:
        async with asyncio.timeout(PATIENCE):
            return await OPERATIONS[task["operation"]](**task["arguments"])
    except InvalidStatus as error:
        response = error.response
        headers = {name.lower(): value for name, value in response.headers.raw_items()}
        body = response.body.decode()
        return {"error": {"class": "InvalidStatus", "status": response.status_code, "headers": headers, "body": body}}
    except (WebSocketException, OSError, TimeoutError) as error:
        return {"error": {"class": type(error).__name__, "message": str(error)}}


async def main():
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        print(json.dumps(await outcome(json.loads(line))), flush=True)


asyncio.run(main())
