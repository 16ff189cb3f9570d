"""Several workers behind one door: a real model, twice over the same weights."""

import concurrent.futures
import re
import unittest

import stubs
import test_expert_usage
from server_client import ServerClient
from server_process import ROOT_OF_TESTS, Server, run_server_to_its_end
from server_process import LIMIT_SECONDS as TIMEOUT
from test_conversation import greedy

stubs.load_stubs()
from peerage.v1 import models_pb2  # noqa: E402

PEER = ROOT_OF_TESTS / "golden" / "models" / "peer_small"
PROMPTS = [f"{word} the " + "long " * (i % 7) for i in range(4) for word in ("In", "And", "So", "x")]


def workers(*options):
    return Server("--workers", "2", "--threads", "2", *options, model=PEER)


class Client(ServerClient):

    def generate(self, prompt):
        request = greedy(prompt, 24)
        request.sampling.temperature = 0.8
        request.sampling.seed = len(prompt)
        request.stopping.ignore_eos = True
        request.output.logprobs = 3
        return self.inference.Generate(request, timeout=TIMEOUT).candidates[0]

    def generate_all(self):
        with concurrent.futures.ThreadPoolExecutor(len(PROMPTS)) as pool:
            return list(pool.map(self.generate, PROMPTS))


class WorkersTest(unittest.TestCase):

    def test_two_workers_answer_as_one_bit_for_bit(self):
        with Server("--threads", "1", model=PEER) as server, Client(server) as client:
            expected = [client.generate(prompt) for prompt in PROMPTS]
        with workers() as server, Client(server) as client:
            self.assertEqual(client.generate_all(), expected)

            status = client.status()
            self.assertEqual([(w.index, w.device, w.state, w.restarts, w.requests_waiting)
                              for w in status.workers],
                             [(i, "cpu", models_pb2.WORKER_STATE_READY, 0, 0) for i in range(2)])
            for worker in status.workers:
                self.assertGreater(worker.steps, 0, "each has its part")
                self.assertEqual(worker.kv_blocks_free, worker.kv_blocks_total)
            shown = server.run("status").stdout
            self.assertRegex(shown, r"\n +0 +cpu +\w+ +ready +0 +0 ")
            self.assertRegex(shown, r"\n +1 +cpu +\w+ +ready +0 +0 ")

            values = server.series()
            steps = sum(worker.steps for worker in status.workers)
            self.assertEqual(values["peerage_step_sequences_count", ()], steps)
            self.assertEqual(values["peerage_kv_cache_blocks", (("state", "free"),)],
                             sum(worker.kv_blocks_total for worker in status.workers))
            self.assertEqual(values["peerage_generation_tokens_total", ()], 24 * len(PROMPTS))
            self.assertEqual(server.get("/readyz"), (200, "ready\n"))
            server.terminate()
            self.assertEqual(server.wait(), 0, server.read_log())

    def test_the_weights_are_there_once_and_the_rest_is_divided(self):
        with Server("--threads", "2", "--kv-cache-mib", "8", model=PEER) as server:
            alone = self.memory_of(server)
            with Client(server) as client:
                blocks = client.status().workers[0].kv_blocks_total
        with workers("--kv-cache-mib", "8") as server:
            self.assertRegex(server.read_log(), "memory: .*, for 2 workers that share the weights")
            both = self.memory_of(server)
            with Client(server) as client:
                halves = [worker.kv_blocks_total for worker in client.status().workers]
        self.assertEqual(both["weights"], alone["weights"])
        self.assertEqual(both["kv_cache"], alone["kv_cache"])
        self.assertEqual(halves, [blocks // 2] * 2)

    def memory_of(self, server):
        plan = re.search("memory: (.*)", server.read_log())[1]
        return {name.lower().replace(" ", "_"): size
                for name, size in re.findall(r"(weights|KV cache) ([\d.]+) MiB", plan)}

    def test_refuses_a_number_of_workers_that_makes_no_sense(self):
        result = run_server_to_its_end("--model", str(PEER), "--workers", "0")
        self.assertEqual(result.returncode, 2)
        self.assertIn("--workers", result.stderr)


class UsageOfWorkersTest(test_expert_usage.ExpertUsageTest):
    """What the workers counted, together."""

    REQUESTS = 16

    @staticmethod
    def start_server():
        return workers("--expert-trace", "full")


if __name__ == "__main__":
    unittest.main()
