"""python -m unittest, in this directory."""

import contextlib
import io
import json
import pathlib
import time
import unittest

from app import app, signature, verified

SECRET = "a secret that is only for tests, 1"
VECTORS = pathlib.Path(__file__).resolve().parents[2] / "spec" / "vectors" / "hooks.json"
ANA = {"id": "3q2-7wAAAAAAAAAAAAAAAA", "user": "ana", "transport": "websocket", "address": "192.0.2.7"}


class Vectors(unittest.TestCase):
    def setUp(self):
        self.vectors = json.loads(VECTORS.read_text(encoding="utf-8"))

    def test_signatures_of_requests(self):
        self.assertGreaterEqual(len(self.vectors["requests"]), 5)
        for v in self.vectors["requests"]:
            with self.subTest(v["name"]):
                got = ",".join(signature(s, v["timestamp"], v["body"].encode()) for s in v["secrets"])
                self.assertEqual(got, v["signature"])

    def test_signatures_of_answers(self):
        self.assertGreaterEqual(len(self.vectors["answers"]), 3)
        for v in self.vectors["answers"]:
            with self.subTest(v["name"]):
                got = ",".join(signature(s, v["delivery"], v["body"].encode()) for s in v["secrets"])
                self.assertEqual(got, v["signature"])

    def test_what_is_received(self):
        self.assertGreaterEqual(len(self.vectors["receive"]), 10)
        for v in self.vectors["receive"]:
            with self.subTest(v["name"]):
                got = verified([v["secret"]], v["timestamp"], v["body"].encode(), v["signature"], v["now"])
                self.assertEqual(got, v["accept"])

    def test_any_of_our_secrets_will_do(self):
        v = self.vectors["receive"][0]
        self.assertTrue(verified(["another", v["secret"]], v["timestamp"], v["body"].encode(), v["signature"], v["now"]))
        self.assertFalse(verified([], v["timestamp"], v["body"].encode(), v["signature"], v["now"]))


class Backend(unittest.TestCase):
    def setUp(self):
        app.config.update(TESTING=True, SECRETS=[SECRET])
        self.client = app.test_client()

    def post(self, body, age=0, secret=SECRET, hook=""):
        text = json.dumps(body).encode()
        timestamp = str(int(time.time()) - age)
        return self.client.post("/hooks", data=text, content_type="application/json", headers={
            "Skein-Hook": hook, "Skein-Delivery": "01KC3V7Q8R2M9X4T6B0N5W1ZEH", "Skein-Attempt": "1",
            "Skein-Timestamp": timestamp, "Skein-Signature": signature(secret, timestamp, text)})

    def ask(self, event, **fields):
        response = self.post({"event": event, "id": "01KC3V7Q8R2M9X4T6B0N5W1ZEH", "time": 1, "connection": ANA} | fields, hook=event)
        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.headers["Skein-Signature"], signature(SECRET, "01KC3V7Q8R2M9X4T6B0N5W1ZEH", response.get_data()))
        return response.get_json()

    def test_only_signed_requests_are_answered(self):
        body = {"event": "call", "id": "x", "time": 1, "method": "add", "data": [1]}
        self.assertEqual(self.post(body).status_code, 200)
        self.assertEqual(self.post(body, age=400).status_code, 401)
        self.assertEqual(self.post(body, age=-400).status_code, 401)
        self.assertEqual(self.post(body, secret="somebody else's").status_code, 401)
        self.assertEqual(self.client.post("/hooks", json=body).status_code, 401)

    def test_connect(self):
        want = {"user": "ana", "session": {"name": "Ana"}, "caps": {"room:of-ana": ["sub", "pub"]}}
        self.assertEqual(self.ask("connect", data={"token": "token-of-ana"}), want)
        self.assertEqual(self.ask("connect", headers={"cookie": "a=b; token=token-of-ana; c=d"}), want)
        for fields in ({}, {"data": {"token": "x"}}, {"data": "x"}, {"data": {"token": [1]}}, {"headers": {"cookie": "mytoken=token-of-ana"}}):
            self.assertEqual(self.ask("connect", **fields), {"refuse": {"code": "unauthorized", "message": "please sign in"}})

    def test_subscribe(self):
        self.assertEqual(self.ask("subscribe", channel="room:7"), {})
        self.assertEqual(self.ask("subscribe", channel="room:of-ana"), {})
        self.assertEqual(self.ask("subscribe", channel="room:of-ben")["refuse"]["code"], "denied")

    def say(self, data):
        return self.ask("message", channel="room:7", message={"event": "said", "data": data})

    def test_message(self):
        self.assertEqual(self.say({"text": "hello"}), {})
        self.assertEqual(self.say([1]), {})
        self.assertEqual(self.say({"text": 7}), {})
        self.assertEqual(self.say({"text": "Rhubarb!"}), {"refuse": {"code": "denied", "message": "mind your language"}})
        self.assertEqual(self.say({"text": "/shout hello", "to": "all"}), {"data": {"text": "HELLO", "to": "all"}})
        self.assertRegex(self.say({"text": "time?"})["reply"]["time"], r"^\d\d:\d\d:\d\d$")

    def test_call(self):
        self.assertEqual(self.ask("call", method="add", data=[2, 3.5]), {"data": 5.5})
        self.assertEqual(self.ask("call", method="add", data={"a": 1})["error"]["code"], "bad_request")
        self.assertEqual(self.ask("call", method="add", data=["2"])["error"]["code"], "bad_request")
        self.assertEqual(self.ask("call", method="sub", data=[2])["error"]["code"], "not_found")

    def test_what_is_not_known_yet(self):
        self.assertEqual(self.ask("of a later version"), {})

    def test_told_events_are_printed(self):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            response = self.post({"events": [
                {"event": "online", "id": "a", "time": 1, "user": "ana"},
                {"event": "vacated", "id": "b", "time": 2, "channel": "room:7"},
                {"event": "close", "id": "c", "time": 3, "connection": ANA, "code": 1000, "reason": "closed"}]}, hook="batch")
        self.assertEqual(response.status_code, 200)
        self.assertEqual(printed.getvalue(), "online ana\nvacated room:7\nclose 3q2-7wAAAAAAAAAAAAAAAA\n")


if __name__ == "__main__":
    unittest.main()
