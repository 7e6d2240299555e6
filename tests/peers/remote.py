"""Calls of whatever a package of another environment offers; runs there, and needs nothing but what it calls.

Requests come on stdin, replies go to stdout, one JSON document a line. A request names ``target``, either
``module:attribute.attribute`` or ``#n:attribute`` of an object kept before; ``args`` and ``kwargs`` call it, and
without them it is just read. With ``keep`` the result stays here, under the number that is returned.

The argument is a folder through which arrays travel as files: ``{"$array": path}``. A tuple comes back as a list,
a displacement field as its deltas.
"""

import importlib
import json
import os
import sys
import tempfile
import traceback

import numpy as np

FOLDER = sys.argv[1]
KEPT = []


def find(target):
    """Return what a target names."""
    start, _, path = target.partition(":")
    found = KEPT[int(start[1:])] if start.startswith("#") else importlib.import_module(start)
    for name in filter(None, path.split(".")):
        found = getattr(found, name)
    return found


def decode(value):
    """Turn what JSON carries into objects."""
    if isinstance(value, list):
        return [decode(each) for each in value]
    if isinstance(value, dict):
        if "$array" in value:
            return np.load(value["$array"])
        if "$object" in value:
            return KEPT[value["$object"]]
        if "$tuple" in value:
            return tuple(decode(value["$tuple"]))
        return {name: decode(each) for name, each in value.items()}
    return value


def encode(value):
    """Turn a result into what JSON can carry."""
    if hasattr(value, "delta_x"):
        value = np.stack([value.delta_x, value.delta_y])
    if isinstance(value, np.ndarray):
        with tempfile.NamedTemporaryFile(dir=FOLDER, suffix=".npy", delete=False) as file:
            np.save(file, value)
        return {"$array": file.name}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(name): encode(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(each) for each in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return repr(value)


def answer(request):
    """Do what one request asks."""
    result = find(request["target"])
    if "args" in request:
        result = result(*decode(request["args"]), **decode(request["kwargs"]))
    if request["keep"]:
        KEPT.append(result)
        return len(KEPT) - 1
    return encode(result)


def main():
    """Answer until stdin ends."""
    replies = os.fdopen(os.dup(1), "w")
    # What the package itself prints must not come between the replies.
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            reply = {"result": answer(json.loads(line))}
        except Exception as error:  # noqa: BLE001 - whatever went wrong is the answer
            traceback.print_exc()
            reply = {"error": type(error).__name__, "message": str(error)}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
