// How many tokens a second leave the server as streams when the model takes no time: server and
// client are two processes that share the machine's cores and talk over loopback, a token a
// message. Prints one JSON object; processor time is of each process alone.
#include <grpcpp/create_channel.h>
#include <grpcpp/grpcpp.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/synchronization/mutex.h"
#include "base/lock_order.h"
#include "bench/serving/instant_model.h"
#include "nlohmann/json.hpp"
#include "peerage/v1/inference.grpc.pb.h"
#include "server/engine/engine.h"
#include "server/experts/background_lane.h"
#include "server/experts/expert_usage_reader.h"
#include "server/log/log.h"
#include "server/metrics/engine_metrics.h"
#include "server/rpc/rpc_server.h"
#include "tests/support/fake_tokenizer.h"

namespace peerage {
namespace {

struct Options {
  int streams = 64;
  int tokens = 512;  // of each call
  int tokens_per_message = 1;
  double seconds = 5;
  bool door = true;
};

double CpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return time.tv_sec + time.tv_usec * 1e-6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The server as it ships, without log and expert layers.
class Server {
 public:
  explicit Server(const Options& options) : log_({}, &Clock::Real(), &log_text_) {
    const int positions = options.tokens + 64, block_tokens = 16;
    const int blocks = options.streams * (positions / block_tokens + 1);
    auto model = std::make_unique<InstantModel>(ModelCapacity{.block_tokens = block_tokens,
                                                              .num_blocks = blocks,
                                                              .num_slots = options.streams,
                                                              .max_step_tokens = 512},
                                                FakeTokenizer::kVocabSize, positions);
    statistics_ =
        std::make_unique<ExpertStatistics>(ExpertUsageMode::kOff, model.get(), Clock::Real().Now());
    engine_ = std::make_unique<Engine>(EngineOptions{.max_sequences = options.streams},
                                       std::move(model), &tokenizer_, &Clock::Real(), &metrics_);
    usage_ = std::make_unique<ExpertUsageReader>(
        ExpertUsageParts{engine_.get(), {statistics_.get()}, &lane_, &Clock::Real()});
    rpc_ = *RpcServer::Start(
        {.listen = {"127.0.0.1", 0}, .door = options.door, .model_name = "instant", .version = "0"},
        {.engine = engine_.get(),
         .tokenizer = &tokenizer_,
         .clock = &Clock::Real(),
         .observer = &metrics_,
         .expert_usage = usage_.get(),
         .answers = &lane_,
         .log = &log_});
  }
  ~Server() {
    rpc_.reset();
    engine_->Stop();
  }

  std::string address() const { return rpc_->address().ToString(); }
  uint64_t steps() const { return engine_->status().steps; }

 private:
  std::ostringstream log_text_;
  Log log_;
  FakeTokenizer tokenizer_;
  EngineMetrics metrics_{"instant"};
  BackgroundLane lane_{&Clock::Real()};
  std::unique_ptr<ExpertStatistics> statistics_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ExpertUsageReader> usage_;
  std::unique_ptr<RpcServer> rpc_;
};

struct Figures {
  double seconds = 0, client_cpu = 0;
  int64_t tokens = 0, calls = 0;
};

// Streams beside each other, each followed by the next one until the time is over.
class Client {
 public:
  Client(const std::string& address, const Options& options)
      : options_(options),
        stub_(v1::InferenceService::NewStub(
            grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))) {}

  Figures Run() {
    const double begin = Now();
    end_ = begin + options_.seconds;
    running_ = options_.streams;
    for (int i = 0; i < options_.streams; ++i) (new Stream(*this))->Start();
    const auto all_ended = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return running_ == 0; };
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&all_ended));
    return {
        .seconds = Now() - begin, .client_cpu = CpuSeconds(), .tokens = tokens_, .calls = calls_};
  }

 private:
  class Stream final : public grpc::ClientReadReactor<v1::GenerateStreamResponse> {
   public:
    explicit Stream(Client& client) : client_(client) {}

    void Start() {
      v1::GenerateRequest& generate = *request_.mutable_request();
      generate.mutable_prompt()->set_text("ab");
      generate.mutable_sampling()->set_temperature(0);
      generate.mutable_stopping()->set_max_tokens(client_.options_.tokens);
      generate.mutable_stopping()->set_ignore_eos(true);
      request_.set_tokens_per_message(client_.options_.tokens_per_message);
      client_.stub_->async()->GenerateStream(&context_, &request_, this);
      StartRead(&message_);
      StartCall();
    }
    void OnReadDone(bool ok) override {
      if (!ok) return;
      tokens_ += message_.delta().token_ids_size();
      StartRead(&message_);
    }
    void OnDone(const grpc::Status& status) override {
      if (!status.ok() || tokens_ != client_.options_.tokens) {
        std::cerr << "a stream of " << tokens_ << " tokens: " << status.error_message() << "\n";
        std::exit(1);
      }
      client_.End(tokens_);
      delete this;
    }

   private:
    Client& client_;
    grpc::ClientContext context_;
    v1::GenerateStreamRequest request_;
    v1::GenerateStreamResponse message_;
    int tokens_ = 0;
  };

  void End(int tokens) {
    {
      absl::MutexLock lock(&mu_);
      tokens_ += tokens;
      ++calls_;
      if (Now() >= end_) {
        --running_;
        return;
      }
    }
    (new Stream(*this))->Start();
  }

  const Options options_;
  const std::unique_ptr<v1::InferenceService::Stub> stub_;
  double end_ = 0;
  absl::Mutex mu_;
  int64_t tokens_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t calls_ ABSL_GUARDED_BY(mu_) = 0;
  int running_ ABSL_GUARDED_BY(mu_) = 0;
};

template <typename T>
void Send(int pipe, const T& value) {
  if (write(pipe, &value, sizeof(value)) != sizeof(value)) std::exit(1);
}

template <typename T>
T Receive(int pipe) {
  T value;
  if (read(pipe, &value, sizeof(value)) != sizeof(value)) std::exit(1);
  return value;
}

using Address = std::array<char, 64>;

int RunClient(int in, int out, const Options& options) {
  Client client(Receive<Address>(in).data(), options);
  Send(out, client.Run());
  return 0;
}

void Measure(int out, int in, const Options& options) {
  Server server(options);
  Address address = {};
  server.address().copy(address.data(), address.size() - 1);
  Send(out, address);
  const double cpu = CpuSeconds();
  const Figures figures = Receive<Figures>(in);
  const double per_token = 1e6 / static_cast<double>(figures.tokens);
  nlohmann::ordered_json json;
  json["streams"] = options.streams;
  json["tokens_per_message"] = options.tokens_per_message;
  json["tokens_per_second"] = static_cast<double>(figures.tokens) / figures.seconds;
  json["server_cpu_us_per_token"] = (CpuSeconds() - cpu) * per_token;
  json["client_cpu_us_per_token"] = figures.client_cpu * per_token;
  json["tokens_per_step"] =
      static_cast<double>(figures.tokens) / static_cast<double>(server.steps());
  std::cout << json.dump() << std::endl;
}

int Main(int argc, char** argv) {
  LeaveLockOrderUnchecked();
  Options options;
  CLI::App app("Streams of a model that takes no time, over loopback");
  app.add_option("--streams", options.streams);
  app.add_option("--tokens", options.tokens, "of each call");
  app.add_option("--tokens-per-message", options.tokens_per_message);
  app.add_option("--seconds", options.seconds);
  app.add_flag("--door,!--no-door", options.door, "whether clients come by the door");
  CLI11_PARSE(app, argc, argv);
  // Apart before gRPC starts its threads.
  int to_client[2], to_server[2];
  if (pipe(to_client) != 0 || pipe(to_server) != 0) return 1;
  const pid_t client = fork();
  if (client < 0) return 1;
  if (client == 0) _exit(RunClient(to_client[0], to_server[1], options));
  close(to_server[1]);
  Measure(to_client[1], to_server[0], options);
  int status = 0;
  waitpid(client, &status, 0);
  return status == 0 ? 0 : 1;
}

}  // namespace
}  // namespace peerage

int main(int argc, char** argv) { return peerage::Main(argc, argv); }
