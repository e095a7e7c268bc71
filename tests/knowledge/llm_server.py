"""A server on this machine that speaks the OpenAI protocol and answers by rules, well or badly."""

import contextlib
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from kmerl_jax.knowledge.ckepe import QUESTIONS
from kmerl_jax.knowledge.llm_extractor import PROMPTS

TERMS = ("sinus rhythm", "atrial fibrillation", "afib", "pvc", "prolonged qt", "inferior infarct", "anterior infarct")


class LlmServer:
    """A model that names the terms it finds in a text, and stands by them.

    Of the terms for a class it chooses the first two, and it describes each class by two findings and an invention.

    Attributes:
        url: its base URL.
        asked: how often each message came in.
        failures: statuses, or "slow" and "garbage", of the next replies, before any proper one.
        answers: message contained in a question -> the answer to it: a text, or a text and how it ends.
        most: most questions under way at once.
        limits: most tokens of each answer, as it was asked for; None: nothing was said.
        delay: seconds that every reply takes.
    """

    def __init__(self):
        self.asked = Counter()
        self.failures, self.answers, self.limits = [], {}, []
        self.under_way = self.most = 0
        self.delay = 0.0
        self.lock = threading.Lock()

    def answer(self, content: str) -> tuple[str, str]:
        for part, answer in self.answers.items():
            if part in content:
                return answer if isinstance(answer, tuple) else (answer, "stop")
        if content.startswith(PROMPTS["extract"]):
            text = content.removeprefix(PROMPTS["extract"]).lower()
            return "[" + ", ".join(term for term in TERMS if term in text) + "]", "stop"
        if content.startswith(PROMPTS["verify"]):
            return "YES", "stop"
        if content.startswith(PROMPTS["merge"].split("{")[0]):
            return 'Sure! ```json\n{"afib": "atrial fibrillation", "pvc": "pvc"}\n```', "stop"
        if content.startswith(QUESTIONS["choose"]):
            lines = content.partition("\nTerms:\n")[2].splitlines()
            return json.dumps([line.split(" | ")[0] for line in lines[:2]]), "stop"
        if content.startswith(QUESTIONS["describe"]):
            return 'Here they are: ["Abnormal Q waves", "T-wave inversions", "lucky wave"]', "stop"
        members = ["inferior infarct", "anterior infarct"]
        return json.dumps({"Myocardial Infarction": members, "arrhythmia": ["atrial fibrillation", "pvc"]}), "stop"

    def reply(self, model: str, content: str) -> tuple[int, str]:
        with self.lock:
            self.asked[content] += 1
            failure = self.failures.pop(0) if self.failures else None
        time.sleep(1.5 if failure == "slow" else self.delay)
        if failure == "garbage":
            return 200, '{"choices": [{"mess'
        if isinstance(failure, int):
            return failure, json.dumps({"error": {"message": f"failure {failure}"}})
        if model != "tiny":
            return 404, json.dumps({"error": {"message": f"The model {model} does not exist."}})
        text, end = self.answer(content)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": end}
        return 200, json.dumps(
            {"id": "1", "object": "chat.completion", "created": 0, "model": model, "choices": [choice]}
        )


@contextlib.contextmanager
def serving():
    """Runs an `LlmServer` until the block ends."""
    llm = LlmServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with llm.lock:
                llm.under_way += 1
                llm.most = max(llm.most, llm.under_way)
                llm.limits.append(body.get("max_tokens"))
            status, text = llm.reply(body["model"], body["messages"][0]["content"])
            with llm.lock:
                llm.under_way -= 1
            with contextlib.suppress(OSError):  # the client may have gone
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Retry-After-Ms", "5")
                self.end_headers()
                self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        llm.url = f"http://127.0.0.1:{http.server_port}/v1"
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield llm
        http.shutdown()
