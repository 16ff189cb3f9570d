"""The server as it ships, with a CUDA device: the one that the stand-in for CUDA's libraries makes."""

import concurrent.futures
import random
import unittest

import grpc

import stubs
import test_conversation
import test_expert_control
import test_expert_usage
from server_client import ServerClient
from server_process import ROOT_OF_TESTS, Server, run_server_to_its_end
from server_process import LIMIT_SECONDS as TIMEOUT
from test_conversation import greedy

stubs.load_stubs()
from peerage.v1 import experts_pb2 as experts  # noqa: E402
from peerage.v1 import inference_pb2 as inference  # noqa: E402
from peerage.v1 import models_pb2  # noqa: E402

MODELS = ROOT_OF_TESTS / "golden" / "models"
PEER = MODELS / "peer_small"
MIXTURE = MODELS / "mixture_bam_kv_experts"
# As the CPU computes: devices hold models of f16 in bf16 by themselves.
F32 = ["--weights-dtype", "f32", "--activation-dtype", "f32", "--kv-dtype", "f32"]
PORTS = ["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"]
PROMPTS = ["In the beginning", "And it came to pass in those days, that", "x", "The " * 40]
DEVICE_LOST = 3  # docs/runbook.md, exit codes


def on_standin(*options):
    return [ROOT_OF_TESTS / "cuda" / "on_standin.sh", *options]


def failing(function, error, after):
    """An environment in which the call of a function of CUDA's that comes after so many fails."""
    return {"CUDA_STANDIN": f"fail={function}:{error}:{after}"}


# The first product of cuBLASLt fails.
NO_CUBLASLT = failing("cublasLtMatmul", "1", 0)


def cuda_server(*options, model=PEER, standin=(), environment=None):
    return Server("--device", "cuda:0", *options, model=model, wrapper=on_standin(*standin),
                  environment=environment)


def refused_start(*options, standin=(), environment=None):
    return run_server_to_its_end(*options, *PORTS, wrapper=on_standin(*standin),
                                 environment=environment)


class Client(ServerClient):

    def generate(self, prompt, tokens=16):
        request = greedy(prompt, tokens)
        request.stopping.ignore_eos = True
        request.output.logprobs = 0
        return self.inference.Generate(request, timeout=TIMEOUT).candidates[0]


def answers(server, tokens=16):
    with Client(server) as client:
        return [client.generate(prompt, tokens) for prompt in PROMPTS]


class CudaTest(unittest.TestCase):

    def assert_ends_well(self, server):
        server.terminate()
        self.assertEqual(server.wait(), 0, server.read_log())

    def assert_same(self, expected, actual):
        for one, other in zip(expected, actual, strict=True):
            self.assertEqual(list(one.token_ids), list(other.token_ids))
            for left, right in zip(one.logprobs, other.logprobs, strict=True):
                self.assertAlmostEqual(left.logprob, right.logprob, delta=1e-4)


class AnswersTest(CudaTest):

    def test_greedy_text_is_the_cpus_on_every_schedule(self):
        for model in (PEER, MIXTURE):
            with Server("--device", "cpu", "--weights-dtype", "f32", model=model) as server:
                expected = answers(server)
            for schedule in ("eager", "lazy", "random"):
                with self.subTest(model=model.name, schedule=schedule), \
                        cuda_server(*F32, model=model, standin=["--schedule", schedule, "--seed", "5"]) as server:
                    self.assert_same(expected, answers(server))
                    self.assert_ends_well(server)

    def test_bits_do_not_depend_on_the_batch_on_any_schedule(self):
        """In steps of more rows than cuBLASLt is for without the option: here it may not be called."""
        for model, schedule in ((PEER, "eager"), (PEER, "lazy"), (PEER, "random"), (MIXTURE, "random")):
            with self.subTest(model=model.name, schedule=schedule), \
                    cuda_server("--cuda-batch-invariant", "--max-batch-tokens", "128", model=model,
                                standin=["--schedule", schedule, "--seed", "9"], environment=NO_CUBLASLT) as server:
                alone = answers(server)
                with Client(server) as client, concurrent.futures.ThreadPoolExecutor(12) as pool:
                    together = list(pool.map(client.generate, PROMPTS * 3))
                self.assertEqual(together, alone * 3)
                self.assert_ends_well(server)

    def test_without_the_option_such_steps_are_cublaslts(self):
        refused = refused_start("--model", str(PEER), "--device", "cuda:0", "--max-batch-tokens", "128",
                                environment=NO_CUBLASLT)
        self.assertEqual(refused.returncode, 2, refused.stderr)
        self.assertIn("cublasLtMatmul: cuBLASLt status 1", refused.stderr)

    def test_says_what_it_runs_on(self):
        with cuda_server() as server:
            with Client(server) as client:
                worker = client.status().workers[0]
            self.assertEqual((worker.device, worker.kernel_target), ("cuda:0", "sm_90"))
            shown = server.run("status")
            self.assertRegex(shown.stdout, r"cuda:0 +sm_90", shown.stderr)
            info = [labels for name, labels in server.series() if name == "peerage_model_info"]
            self.assertEqual([dict(labels)["device"] for labels in info], ["cuda:0"])
            log = server.read_log()
            self.assertRegex(log, r"memory: cuda:0: weights .* = .* of .* free; host: expert usage .* available")
            self.assertIn("device: cuda:0 with sm_90 kernels", log)


class ConversationOnCudaTest(test_conversation.ConversationTest):
    DEVICE = "cuda:0"
    SCHEDULE = "eager"
    test_chat_is_answered = None  # the model has no template

    @classmethod
    def start_server(cls):
        # Batch invariance is what that conversation takes for granted.
        return cuda_server("--cuda-batch-invariant", standin=["--schedule", cls.SCHEDULE, "--seed", "2"])


class LazyConversationOnCudaTest(ConversationOnCudaTest):
    SCHEDULE = "lazy"


class RandomConversationOnCudaTest(ConversationOnCudaTest):
    SCHEDULE = "random"


class ExpertUsageOnCudaTest(test_expert_usage.ExpertUsageTest):
    REQUESTS = 8
    SCHEDULE = "random"
    MODEL = PEER

    @classmethod
    def start_server(cls):
        return cuda_server("--expert-trace", "full", model=cls.MODEL,
                           standin=["--schedule", cls.SCHEDULE, "--seed", "7"])


class EagerExpertUsageOnCudaTest(ExpertUsageOnCudaTest):
    SCHEDULE = "eager"
    REQUESTS = 4


class LazyExpertUsageOnCudaTest(ExpertUsageOnCudaTest):
    SCHEDULE = "lazy"
    REQUESTS = 4


class MixtureUsageOnCudaTest(ExpertUsageOnCudaTest):
    MODEL = MIXTURE
    SCHEDULE = "lazy"
    REQUESTS = 16
    PROMPT_CHARACTERS = 60  # of a context of 256 bytes
    EXPERT_LAYERS = 4  # attention and feed-forward of two blocks


class EagerMixtureUsageOnCudaTest(MixtureUsageOnCudaTest):
    SCHEDULE = "eager"
    REQUESTS = 6


class RandomMixtureUsageOnCudaTest(MixtureUsageOnCudaTest):
    SCHEDULE = "random"
    REQUESTS = 6


class ExpertControlOnCudaTest(test_expert_control.ExpertControlTest):
    REPLAYED = ("peer_small", "mixture_bam_kv_experts")
    ABLATED = ("peer_small", "mixture_moepp")
    TEXT = test_expert_control.TEXT[:30]
    # Of the page and of the prefix cache, which know of no device.
    test_the_lines_of_the_page_work_as_they_stand = None
    test_what_is_cached_under_a_control_is_of_use_to_that_control_alone = None

    def start_server(self, *options, model):
        return self.enterContext(cuda_server("--cuda-batch-invariant", *options,
                                             model=MODELS / model,
                                             standin=["--schedule", "random", "--seed", "3"]))


class ControlAsOnTheCpuTest(CudaTest):
    MODELS = ("peer_small", "mixture_bam_kv_experts", "mixture_moepp")

    @staticmethod
    def ablation(trace):
        """Everything that can be asked but picks, in every layer."""
        control = experts.ExpertControl()
        for traced in trace.layers:
            most, then, last = traced.top_expert_ids[0], traced.top_expert_ids[1], traced.top_expert_ids[-1]
            control.layers.add(layer=traced.layer, kind=traced.kind, masked_ids=[most],
                               bias={then: -1.5, last: 0.75}, top_k=max(1, traced.top_k - 1))
        return control

    def test_it_chooses_what_the_cpu_chooses_and_repeats_it_to_the_bit(self):
        for model in self.MODELS:
            with self.subTest(model=model):
                cpu = self.enterContext(Server("--device", "cpu", "--weights-dtype", "f32", "--expert-trace", "full",
                                               model=MODELS / model))
                cuda = self.enterContext(cuda_server(*F32, "--cuda-batch-invariant", "--expert-trace", "full",
                                                     model=MODELS / model))
                request = test_expert_control.generation("In the beginning", seed=7)
                on_cpu, on_cuda = (self.enterContext(Client(server)).inference.Generate for server in (cpu, cuda))
                plain = test_expert_control.afresh(on_cpu, request)
                request.expert_control.CopyFrom(self.ablation(plain.expert_trace))
                expected = test_expert_control.afresh(on_cpu, request)
                self.assertNotEqual(expected.candidates[0].logprobs, plain.candidates[0].logprobs)
                played = test_expert_control.afresh(on_cuda, request)
                self.assert_same(expected.candidates, played.candidates)
                for one, other in zip(expected.expert_trace.layers, played.expert_trace.layers, strict=True):
                    self.assertEqual(one.expert_ids, other.expert_ids)

                request.expert_control.CopyFrom(test_expert_control.replay(played.expert_trace))
                again = test_expert_control.afresh(on_cuda, request)
                self.assertEqual(test_expert_control.without_what_passes(again),
                                 test_expert_control.without_what_passes(played))


class ChoiceOfDeviceTest(CudaTest):

    def assert_refused(self, result, *parts):
        self.assertEqual((result.returncode, result.stdout), (2, ""), result.stderr)
        last = result.stderr.splitlines()[-1]
        self.assertTrue(last.startswith("peerage-server: "), result.stderr)
        for part in parts:
            self.assertIn(part, last)

    def test_auto_takes_a_gpu_where_there_is_one_and_says_so(self):
        with Server(model=PEER, wrapper=on_standin()) as server:
            self.assertIn("--device auto takes cuda:0: the only CUDA device", server.read_log())

    def test_auto_says_why_it_took_the_cpu(self):
        with Server(model=PEER, wrapper=on_standin("--devices", "0")) as server:
            self.assertRegex(server.read_log(), "--device auto takes cpu: .*device")
        with Server(model=PEER) as server:  # CUDA's own libraries, where there is no driver
            self.assertRegex(server.read_log(), "--device auto takes (cpu: .*CUDA|cuda:0)")

    def test_refuses_a_device_that_is_not_there(self):
        named = ["--model", str(PEER), "--device"]
        self.assert_refused(refused_start(*named, "cuda:0", standin=["--devices", "0"]), "--device: 'cuda:0'", "device")
        self.assert_refused(refused_start(*named, "cuda:1"), "--device: 'cuda:1'", "there is only cuda:0")
        self.assert_refused(refused_start(*named, "cuda:0,cuda:2", standin=["--devices", "2"]),
                            "--device: 'cuda:2'", "there is only cuda:0 to cuda:1")
        self.assert_refused(refused_start(*named, "cuda:0,cuda:0", standin=["--devices", "2"]), "names cuda:0 twice")
        self.assert_refused(refused_start(*named, "cuda:0", "--workers", "2"), "--workers: '2'")

    def test_refuses_what_does_not_fit_with_the_arithmetic(self):
        named = ["--model", str(PEER), "--device", "cuda:0"]
        self.assert_refused(refused_start(*named, standin=["--memory", "4"]),
                            "the memory of cuda:0", "weights", "KV cache", "of 4.0 MiB free")
        self.assert_refused(refused_start(*named, "--kv-cache-mib", "2000"), "KV cache 2000.0 MiB", "free")
        # Somebody else was quicker.
        self.assert_refused(refused_start(*named, environment=failing("cudaMalloc", "cudaErrorMemoryAllocation", 1)),
                            "cannot allocate", "planned: cuda:0: weights", "--kv-cache-mib")


class FailureTest(CudaTest):

    def long_stream(self, client):
        request = greedy("In the beginning", 900)
        request.stopping.ignore_eos = True
        return client.inference.GenerateStream(inference.GenerateStreamRequest(request=request), timeout=TIMEOUT)

    def test_a_launch_that_fails_fails_its_requests_alone(self):
        with cuda_server(environment=failing("cudaGraphLaunch", "cudaErrorInvalidConfiguration", 30)) as server:
            with Client(server) as client:
                with self.assertRaises(grpc.RpcError) as raised:
                    list(self.long_stream(client))
                self.assertEqual(raised.exception.code(), grpc.StatusCode.INTERNAL)
                self.assertTrue(client.generate("x").text)
            self.assertEqual(server.get("/readyz")[0], 200)
            self.assert_ends_well(server)

    def test_a_lost_device_ends_the_process_for_its_supervisor(self):
        with cuda_server(environment=failing("cudaGraphLaunch", "cudaErrorLaunchFailure", 30)) as server:
            with Client(server) as client:
                streams = [self.long_stream(client) for _ in range(3)]
                for stream in streams:
                    with self.assertRaises(grpc.RpcError) as raised:
                        list(stream)
                    self.assertEqual(raised.exception.code(), grpc.StatusCode.UNAVAILABLE)
                    self.assertIn("the device is lost", raised.exception.details())
            self.assertEqual(server.wait(), DEVICE_LOST)
            log = server.read_log()
            self.assertIn("cuda:0: the device is lost", log)
            self.assertTrue(log.splitlines()[-1].startswith("peerage-server: the device is lost"), log)


class TwoDevicesTest(CudaTest):
    """A worker on each."""

    @staticmethod
    def start(*options, model=PEER, environment=None):
        return Server("--device", "cuda:0,cuda:1", *options, model=model,
                      wrapper=on_standin("--devices", "2"), environment=environment)

    @staticmethod
    def generate_all(client):
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            return list(pool.map(client.generate, PROMPTS * 3))

    def test_both_answer_as_the_cpu(self):
        for model in (PEER, MIXTURE):
            with Server("--device", "cpu", "--weights-dtype", "f32", model=model) as server:
                expected = answers(server)
            with self.subTest(model=model.name), self.start(*F32, model=model) as server, \
                    Client(server) as client:
                self.assert_same(expected * 3, self.generate_all(client))
                workers = client.status().workers
                self.assertEqual([worker.device for worker in workers], ["cuda:0", "cuda:1"])
                for worker in workers:
                    self.assertGreater(worker.steps, 0)
                info = [labels for name, labels in server.series() if name == "peerage_model_info"]
                self.assertEqual([dict(labels)["device"] for labels in info], ["cuda:0,cuda:1"])
                log = server.read_log()
                for device in range(2):
                    self.assertIn(f"memory: cuda:{device}: weights", log)
                    self.assertIn(f"worker {device}: device: cuda:{device} with sm_90 kernels", log)
                self.assert_ends_well(server)

    def test_a_lost_device_leaves_the_rest_to_the_other(self):
        with self.start(environment=failing("cudaGraphLaunch", "cudaErrorLaunchFailure", 30)) as server, \
                Client(server) as client:
            lost = 0
            for prompt in PROMPTS * 6:
                try:
                    client.generate(prompt)
                except grpc.RpcError as error:
                    self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
                    self.assertIn("the device is lost", error.details())
                    lost += 1
            self.assertEqual(lost, 1, "what comes later goes to the other one")
            states = sorted(worker.state for worker in client.status().workers)
            self.assertEqual(states, [models_pb2.WORKER_STATE_READY, models_pb2.WORKER_STATE_LOST])
            self.assertEqual(server.get("/readyz"), (200, "ready\n"))
            self.assert_ends_well(server)


class CancellationTest(CudaTest):
    CALLS = 1000
    SEED = 11

    def test_survives_a_thousand_random_cancellations(self):
        numbers = random.Random(self.SEED)
        reads = [numbers.randrange(6) for _ in range(self.CALLS)]
        with cuda_server(model=MIXTURE, standin=["--schedule", "random", "--seed", str(self.SEED)]) as server, \
                Client(server) as client:
            expected = client.generate("x")

            def call_and_cancel(events):
                request = greedy(PROMPTS[events % len(PROMPTS)][:20], 40)
                request.stopping.ignore_eos = True
                call = client.inference.GenerateStream(
                    inference.GenerateStreamRequest(request=request), timeout=TIMEOUT)
                for _ in range(events):
                    next(call)
                return call.cancel()

            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                cancelled = sum(pool.map(call_and_cancel, reads))
            self.assertGreater(cancelled, self.CALLS // 2)
            for _ in range(10_000):
                status = client.status()
                if status.requests_running + status.requests_waiting == 0:
                    break
            self.assertEqual(status.workers[0].kv_blocks_free, status.workers[0].kv_blocks_total)
            self.assertEqual(client.generate("x"), expected)
            self.assert_ends_well(server)


if __name__ == "__main__":
    unittest.main()
