"""Runs calls of the openai SDK: a task as a line of JSON on standard input, its outcome as one on standard output.

Any SDK exception is an outcome, described under "error"; anything else is a crash with a traceback.
"""

import json
import sys

import openai


def stream(client, arguments):
    close_after = arguments.pop("close_after", None)
    text, finish, usage, chunks, tools = [], [], None, 0, 0
    with client.chat.completions.create(stream=True, **arguments) as events:
        for chunk in events:
            chunks += 1
            if chunk.usage is not None:
                usage = chunk.usage.model_dump()
            for choice in chunk.choices:
                text.append(choice.delta.content or "")
                finish += [choice.finish_reason] if choice.finish_reason else []
                tools += len(choice.delta.tool_calls or [])
            if close_after is not None and chunks >= close_after:
                break
    return {"text": "".join(text), "finish": finish, "usage": usage, "chunks": chunks, "tools": tools}


def legacy_stream(client, arguments):
    text, usage = [], None
    for chunk in client.completions.create(stream=True, **arguments):
        usage = chunk.usage.model_dump() if chunk.usage else usage
        text += [choice.text for choice in chunk.choices]
    return {"text": "".join(text), "usage": usage}


def embeddings(client, arguments):
    answer = client.embeddings.create(**arguments)
    return {"vectors": [item.embedding for item in answer.data], "usage": answer.usage.model_dump()}


OPERATIONS = {
    "chat": lambda client, arguments: client.chat.completions.create(**arguments).model_dump(),
    "stream": stream,
    "completion": lambda client, arguments: client.completions.create(**arguments).model_dump(),
    "completion_stream": legacy_stream,
    "embeddings": embeddings,
}


def outcome(task):
    options = {"api_key": "unused", "max_retries": 0, "timeout": 20.0} | (task["client"] or {})
    with openai.OpenAI(base_url=task["base_url"], **options) as client:
        try:
            return OPERATIONS[task["operation"]](client, task["arguments"])
        except openai.APIError as error:
            return {
                "error": {
                    "class": type(error).__name__,
                    "status": getattr(error, "status_code", None),
                    "message": str(error),
                    "body": error.body,
                }
            }


for line in sys.stdin:
    print(json.dumps(outcome(json.loads(line))), flush=True)
