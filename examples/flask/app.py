"""A little of everything that Flask-SocketIO can do.

main.go next to it is the same server on Skein; docs/socketio.md goes through
both, and test/socketio/guide.test.mjs runs one client against both.
"""

import argparse
import random
from threading import Lock

from flask import Flask, request, session
from flask_socketio import (ConnectionRefusedError, SocketIO, close_room,
                            disconnect, emit, join_room, leave_room, rooms,
                            send)

parser = argparse.ArgumentParser()
parser.add_argument("--listen", default="127.0.0.1:5000")
parser.add_argument("--every", type=float, default=5, help="seconds between two numbers")
options = parser.parse_args()

app = Flask(__name__)
app.config["SECRET_KEY"] = "only for sessions that live as long as a connection"

socketio = SocketIO(
    app,
    async_mode="threading",
    cors_allowed_origins=["https://www.example.com"],
    ping_interval=25,
    ping_timeout=20,
    max_http_buffer_size=1_000_000,
)

USERS = {"token-of-ana": "ana", "token-of-ben": "ben"}


@socketio.on("connect")
def connect(auth):
    user = USERS.get((auth or {}).get("token"))
    if user is None:
        raise ConnectionRefusedError("not authorized", {"code": 4401})
    session["user"] = user
    emit("welcome", {"user": user, "sid": request.sid})


@socketio.on("disconnect")
def gone(reason):
    emit("left", session["user"], broadcast=True)


@socketio.on("echo")
def echo(data):
    emit("echo back", data)


@socketio.on("pair")
def pair(a, b):
    emit("pair back", (b, a))


@socketio.on("message")
def message(text):
    send("re: " + text)


@socketio.on("add")
def add(a, b):
    return a + b


@socketio.on("divide")
def divide(a, b):
    return a // b, a % b


@socketio.on("ask me")
def ask_me():
    sid = request.sid

    def answered(value):
        socketio.emit("answered", value, to=sid)

    emit("question", 41, callback=answered)


@socketio.on("upload")
def upload(data):
    emit("copy", {"name": data["name"], "bytes": data["bytes"]})
    return len(data["bytes"])


@socketio.on("join")
def join(room):
    join_room(room)
    emit("status", session["user"] + " is here", to=room)
    return "ok"


@socketio.on("leave")
def leave(room):
    leave_room(room)
    emit("status", session["user"] + " has left", to=room)
    return "ok"


@socketio.on("say")
def say(room, text):
    emit("said", {"by": session["user"], "text": text}, to=room)


@socketio.on("whisper")
def whisper(room, text):
    emit("said", {"by": session["user"], "text": text}, to=room, include_self=False)


@socketio.on("rooms")
def my_rooms():
    return sorted(room for room in rooms() if room != request.sid)


@socketio.on("close room")
def end(room):
    close_room(room)
    return "ok"


@socketio.on("news")
def news(text):
    emit("news", text, broadcast=True, include_self=False)


@socketio.on("private")
def private(sid, text):
    emit("private", text, to=sid)


@socketio.on("kick me")
def kick_me():
    disconnect()


@socketio.on("*")
def unknown(event, *args):
    emit("unknown", (event, *args))


@app.post("/announce")
def announce():
    socketio.emit("announcement", request.get_json())
    return "", 204


ticker = None
ticker_lock = Lock()


def tick():
    while True:
        socketio.sleep(options.every)
        socketio.emit("server_response", {"data": random.randint(1, 100)}, namespace="/test_conn")


@socketio.on("connect", namespace="/test_conn")
def test_conn():
    global ticker
    with ticker_lock:
        if ticker is None:
            ticker = socketio.start_background_task(tick)


if __name__ == "__main__":
    host, port = options.listen.rsplit(":", 1)
    socketio.run(app, host=host, port=int(port), allow_unsafe_werkzeug=True)
