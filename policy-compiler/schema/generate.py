#!/usr/bin/env python3
"""Makes plugins.json from Kong's published plugin schemas.

    python3 generate.py DIR > plugins.json

DIR holds the folders `3.9` and `3.15` of Kong/developer.konghq.com, app/_schemas/gateway/plugins/ (MIT, see NOTICE).
Only facts are kept: names, types, bounds, defaults. README.md in this folder explains the letters.
"""

import json
import pathlib
import re
import sys

# The published schemas sort list defaults; these are the orders the gateway uses.
ORDERED = {
    "methods": ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT"],
    "consumer_by": ["username", "custom_id"],
    "_param_type": ["header", "query", "body"],
}
# Patterns that stand as code in src/schema/rules, or whose published form is not the one the gateway uses.
OTHERWISE = {"file-log.config.path": [], "acme.config.account_email": ["@"]}
# Spellings that the 3.15 gateway still reads although its files leave them out.
STILL_READ = {"openid-connect.config.consumer_claim", "konnect-application-auth.config.v2_strategies.openid_connect[].config.consumer_claim"}
# 3.9.1 reads these although the 3.9 files lack them, with these values.
READ_SINCE_3_9_1 = {"llm_format": ["openai", "bedrock", "gemini"]}
READ_SINCE_3_9_1_BY = {"ai-proxy", "ai-prompt-guard", "ai-prompt-decorator"}
UUID = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
TYPES = {"string": "s", "boolean": "b", "integer": "i", "number": "n", "array": "l"}


def plugin_name(path):
    if path.stem.lower() == "acl":
        return "acl"
    return re.sub(r"(?<!^)([A-Z])", r"-\1", path.stem).lower()


def ordered(name, default):
    if isinstance(default, list):
        for suffix, order in ORDERED.items():
            if name == suffix or (suffix.startswith("_") and name.endswith(suffix)):
                if set(default) <= set(order):
                    return [v for v in order if v in default]
    return default


def regex(pattern):
    """A pattern of Lua, of which only escapes differ."""
    return re.sub(r"%(.)", lambda escape: re.escape(escape[1]), pattern)


def patterns(s, path):
    if path in OTHERWISE:
        return OTHERWISE[path]
    every = [s["pattern"]] if "pattern" in s else []
    every += [s["match_all"]["pattern"]] if "match_all" in s else []
    found = [regex(pattern) for pattern in every]
    if "match_any" in s:
        found.append("|".join(regex(pattern) for pattern in s["match_any"]["patterns"]))
    if s.get("uuid"):
        found.append(UUID)
    return found


def field(name, s, path):
    f = {}
    t = s.get("type")
    if t == "object":
        if "properties" in s:
            f["t"] = "r"
            f["f"] = {k: field(k, v, path + "." + k) for k, v in sorted(s["properties"].items())}
            for k in s.get("required") or []:
                if k in f["f"] and "d" not in f["f"][k]:
                    f["f"][k]["q"] = 1
            if s.get("shorthand_fields"):
                f["a"] = {k: TYPES.get(v.get("type"), "?") for k, v in sorted(s["shorthand_fields"].items())}
        elif isinstance(s.get("additionalProperties"), dict):
            f["t"] = "m"
            f["v"] = field("", s["additionalProperties"], path + ".*")
        else:
            f["t"] = "?"
    elif t in TYPES:
        f["t"] = TYPES[t]
        if t == "array" and "items" in s:
            f["v"] = field(name, s["items"], path + "[]")
    else:
        f["t"] = "?"
    if "enum" in s:
        f["e"] = s["enum"]
    for long, short in (("minimum", "lo"), ("maximum", "hi"), ("minLength", "l"), ("maxLength", "h")):
        if long in s and not (long == "minLength" and s[long] == 0):
            f[short] = s[long]
    if patterns(s, path):
        f["p"] = patterns(s, path)
    if "not_one_of" in s:
        f["no"] = s["not_one_of"]
    # 3.9.1 took this default away; the published 3.9 file shows 3.9.0.
    if path.endswith("model.options.max_tokens"):
        s.pop("default", None)
    random_secret = path.endswith("session.config.secret")
    if "default" in s and not random_secret:
        f["d"] = ordered(name, s["default"])
    text = s.get("description", "")
    if f["t"] in "sl" and (s.get("x-encrypted") or "encrypted" in text.replace("encrypted-at-rest", "encrypted").lower().split()):
        f.get("v", f)["x"] = 1
    return f


def merge(old, new, path):
    """One field that reads both versions; "o" is the 3.9 default where it differs ("d" is 3.15's)."""
    plugin, name = path.split(".")[0], path.split(".")[-1]
    if old is None and plugin in READ_SINCE_3_9_1_BY and name in READ_SINCE_3_9_1:
        return new | {"ne": [v for v in new["e"] if v not in READ_SINCE_3_9_1[name]]}
    if old is None:
        return new | {"n": 1}
    if new is None:
        return old if path in STILL_READ else old | {"g": 1}
    f = dict(new)
    if old["t"] != new["t"]:
        f["t"] = "".join(dict.fromkeys(new["t"] + old["t"]))
        if f["t"] in ("m?", "?m"):
            f["t"] = "m"
        elif "?" not in f["t"]:
            f["nt"], f["gt"] = old["t"], new["t"]
        if "v" in old and "v" not in new:
            f["v"] = old["v"]
    elif new["t"] == "r":
        names = sorted(set(old["f"]) | set(new["f"]))
        f["f"] = {k: merge(old["f"].get(k), new["f"].get(k), path + "." + k) for k in names}
    elif "v" in old and "v" in new:
        f["v"] = merge(old["v"], new["v"], path + "[]")
    if "a" in old:
        f["a"] = old["a"]
    if "e" in old and "e" in new:
        f["e"] = union(new["e"], old["e"])
        for lacks, values in (("ne", old["e"]), ("ge", new["e"])):
            if [v for v in f["e"] if v not in values]:
                f[lacks] = [v for v in f["e"] if v not in values]
    elif "e" in f and "e" not in old:
        del f["e"]
    for bound, widest in (("lo", min), ("l", min), ("hi", max), ("h", max)):
        if bound in old and bound in new:
            f[bound] = widest(old[bound], new[bound])
        else:
            f.pop(bound, None)
    # 3.15's files leave patterns out; its gateway has them.
    for rule in ("p", "no"):
        if rule in old and f["t"] == old["t"]:
            f[rule] = old[rule]
    # A field that only one version requires may be left out.
    if "q" in f and "q" not in old:
        del f["q"]
        f["gq"] = 1
    if "q" in old and "q" not in new:
        f["nq"] = 1
    if old.get("d") != new.get("d"):
        f["o"] = old.get("d")
    if "x" in old or "x" in new:
        f["x"] = 1
    return f


def scopes(s):
    return "".join(k for k, p in (("s", "service"), ("r", "route"), ("c", "consumer"), ("g", "consumer_group")) if p in s["properties"])


def version(path):
    plugins = {}
    for file in sorted(path.glob("*.json")):
        name = plugin_name(file)
        s = json.loads(file.read_text())
        config = s["properties"].get("config", {"type": "object", "properties": {}})
        if "properties" not in config:
            config = config | {"type": "object", "properties": {}}
        protocols = s["properties"].get("protocols", {})
        plugins[name] = {
            "scopes": scopes(s),
            "protocols": protocols.get("default", []),
            "allowed": protocols.get("items", {}).get("enum", []),
            "partials": [[p["name"], path] for p in s.get("x-supported-partials", []) for path in p["paths"]],
            "config": field("config", config, name + ".config"),
        }
    return plugins


def union(a, b):
    return a + [v for v in b if v not in a]


def main():
    root = pathlib.Path(sys.argv[1])
    old, new = version(root / "3.9"), version(root / "3.15")
    out = {}
    for name in sorted(set(old) | set(new)):
        o, n = old.get(name), new.get(name)
        if o and n:
            p = {
                "scopes": "".join(c for c in "srcg" if c in o["scopes"] + n["scopes"]),
                "protocols": n["protocols"],
                "allowed": union(n["allowed"], o["allowed"]),
                "partials": n["partials"],
                "config": merge(o["config"], n["config"], name + ".config"),
            }
            if o["protocols"] != n["protocols"]:
                p["protocols_3_9"] = o["protocols"]
            if set(p["allowed"]) != set(o["allowed"]):
                p["not_allowed_3_9"] = [v for v in p["allowed"] if v not in o["allowed"]]
        else:
            p = dict(o or n)
            p["only"] = "3.9" if o else "3.15"
        p = {k: v for k, v in p.items() if v not in ("", [], None)}
        out[name] = p
    print("{")
    rows = [json.dumps(k) + ":" + json.dumps(v, separators=(",", ":"), ensure_ascii=True) for k, v in out.items()]
    print(",\n".join(rows))
    print("}")


main()
