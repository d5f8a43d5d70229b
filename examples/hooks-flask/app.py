"""A backend for Skein's hooks, in Flask. The contract is spec/hooks.md.

    HOOKS_SECRET=... python app.py
"""

import hashlib
import hmac
import os
import re
import time

from flask import Flask, request

app = Flask(__name__)
# The second one is for the time in which one secret takes another's place.
app.config["SECRETS"] = [os.environ[name] for name in ("HOOKS_SECRET", "HOOKS_OLD_SECRET") if os.environ.get(name)]
app.config["MAX_CONTENT_LENGTH"] = 1 << 20

TOLERANCE = 300  # seconds that a request may be old, or ahead of our clock
TOKENS = {"token-of-ana": "ana", "token-of-ben": "ben"}  # yours are in a database
BAD_WORD = "rhubarb"


def signature(secret: str, label: str, body: bytes) -> str:
    mac = hmac.new(secret.encode(), label.encode() + b"." + body, hashlib.sha256)
    return "v1=" + mac.hexdigest()


def verified(secrets, timestamp: str, body: bytes, signatures: str, now: float) -> bool:
    """Was it signed with one of our secrets, and not long ago?"""
    if not re.fullmatch(r"[0-9]{1,12}", timestamp) or abs(int(now) - int(timestamp)) > TOLERANCE:
        return False
    given = [part.strip().encode() for part in signatures.split(",")]
    wanted = [signature(secret, timestamp, body).encode() for secret in secrets]
    # Bytes, since compare_digest raises on text that is not ASCII. It takes the same
    # time wherever the two differ, so nobody can guess a signature byte by byte.
    return any(hmac.compare_digest(g, w) for g in given for w in wanted)


@app.before_request
def check():
    ok = verified(app.config["SECRETS"], request.headers.get("Skein-Timestamp", ""), request.get_data(),
                  request.headers.get("Skein-Signature", ""), time.time())
    return None if ok else ("wrong signature or old timestamp\n", 401)


@app.after_request
def sign(response):
    """Only needed with hooks.verify_answers."""
    delivery = request.headers.get("Skein-Delivery")
    if delivery and response.status_code < 300:
        response.headers["Skein-Signature"] = signature(app.config["SECRETS"][0], delivery, response.get_data())
    return response


def refuse(code: str, message: str) -> dict:
    return {"refuse": {"code": code, "message": message}}


def connect(hook):
    """Who is it? A cookie says so (hooks.headers: [cookie]), its token, or data.token."""
    data = hook.get("data")
    token = hook.get("token") or (data.get("token") if isinstance(data, dict) else None)
    if token is None:
        found = re.search(r"(?:^|; )token=([^;]*)", hook.get("headers", {}).get("cookie", ""))
        token = found and found.group(1)
    user = TOKENS.get(token) if isinstance(token, str) else None
    if user is None:
        return refuse("unauthorized", "please sign in")
    return {"user": user, "session": {"name": user.title()}, "caps": {f"room:of-{user}": ["sub", "pub"]}}


def subscribe(hook):
    """Everybody may listen where the rules say so, but in a user's own room only that user."""
    channel, user = hook["channel"], hook["connection"].get("user")
    if channel.startswith("room:of-") and channel != f"room:of-{user}":
        return refuse("denied", "this is somebody else's room")
    return {}


def message(hook):
    data = hook["message"].get("data")
    text = data.get("text") if isinstance(data, dict) else None
    if not isinstance(text, str):
        return {}
    if BAD_WORD in text.lower():
        return refuse("denied", "mind your language")
    if text == "time?":
        return {"reply": {"time": time.strftime("%H:%M:%S", time.gmtime())}}
    if text.startswith("/shout "):
        return {"data": data | {"text": text.removeprefix("/shout ").upper()}}
    return {}


def call(hook):
    numbers = hook.get("data")
    if hook["method"] != "add":
        return {"error": {"code": "not_found", "message": "there is no such method"}}
    if not isinstance(numbers, list) or not all(type(n) in (int, float) for n in numbers):
        return {"error": {"code": "bad_request", "message": "data: must be a list of numbers"}}
    return {"data": sum(numbers)}


ASKED = {"connect": connect, "subscribe": subscribe, "message": message, "call": call}


@app.post("/hooks")
def hooks():
    hook = request.get_json()
    for event in hook.get("events", []):  # told, and nobody waits for an answer
        print(event["event"], event.get("user") or event.get("channel") or event.get("connection", {}).get("id"), flush=True)
    return ASKED.get(hook.get("event"), lambda _: {})(hook)


if __name__ == "__main__":
    if not app.config["SECRETS"]:
        raise SystemExit("HOOKS_SECRET is missing; use the text of hooks.secret")
    app.run(port=int(os.environ.get("PORT", "5000")))
