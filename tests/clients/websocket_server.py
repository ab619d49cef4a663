"""A WebSocket server on a free port of the loopback. The path of a connection says what it does:

/echo       sends back what it gets
/close      closes with the code and reason of the first message, written "CODE REASON"
/large      answers a number by a binary message of so many bytes
/ticks      sends its count again and again, until the client is gone
/headers    sends the request's headers as JSON, then closes

The first line on standard input starts it, {"chain", "key"} or null, and is answered by {"port"}; each further line is
answered by what it has seen.
"""

import asyncio
import json
import ssl
import sys

from websockets.asyncio.server import serve

seen = {"opened": 0, "open": 0, "closed": []}


async def act(connection):
    path = connection.request.path.partition("?")[0]
    if path == "/ticks":
        count = 0
        while True:
            await connection.send(str(count))
            count += 1
            await asyncio.sleep(0.005)
    if path == "/headers":
        await connection.send(json.dumps(list(connection.request.headers.raw_items())))
        return
    async for message in connection:
        if path == "/echo":
            await connection.send(message)
        elif path == "/close":
            code, _, reason = message.partition(" ")
            await connection.close(int(code), reason)
        elif path == "/large":
            await connection.send(bytes(range(256)) * (int(message) // 256))


async def handler(connection):
    seen["opened"] += 1
    seen["open"] += 1
    try:
        await act(connection)
    finally:
        await connection.wait_closed()
        seen["open"] -= 1
        seen["closed"].append(connection.close_code)


def chat_if_offered(_connection, offered):
    return "chat" if "chat" in offered else None


async def lines():
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


async def main():
    tasks = lines()
    task, context = await anext(tasks), None
    if task:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(task["chain"], task["key"])
    options = {"max_size": None, "ping_interval": None, "close_timeout": 2, "select_subprotocol": chat_if_offered}
    async with serve(handler, "127.0.0.1", 0, ssl=context, **options) as server:
        print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
        async for _ in tasks:
            print(json.dumps(seen), flush=True)


asyncio.run(main())
