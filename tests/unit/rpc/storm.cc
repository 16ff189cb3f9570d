#include "tests/unit/rpc/storm.h"

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <random>
#include <utility>

#include "tests/support/fake_model.h"
#include "tests/support/fake_tokenizer.h"

namespace peerage {
namespace {

constexpr int kNumberLetters = 5;
constexpr int kLetters = 26;

std::string Letters(int64_t number) {
  std::string letters;
  for (int i = 0; i < kNumberLetters; ++i, number /= kLetters) letters += 'a' + number % kLetters;
  return letters;
}

std::vector<TokenId> TokensOf(const std::string& letters) {
  std::vector<TokenId> tokens;
  for (const char letter : letters) tokens.push_back(FakeTokenizer::Letter(letter));
  return tokens;
}

void Fill(const StormCall& call, v1::GenerateRequest& request) {
  request.mutable_prompt()->set_text(call.prompt);
  request.mutable_sampling()->set_temperature(0);
  request.mutable_stopping()->set_max_tokens(call.max_tokens);
  request.mutable_stopping()->set_ignore_eos(true);
}

void Fill(const StormCall& call, v1::GenerateStreamRequest& request) {
  Fill(call, *request.mutable_request());
}

void Fill(const StormCall& call, v1::ScoreRequest& request) {
  request.mutable_context()->set_text(call.prompt);
  for (uint32_t i = 0; i <= call.max_tokens % 3; ++i) {
    request.add_continuations()->set_text(call.prompt.substr(i));
  }
}

// What was read is what the model says, to its end if the call ended well.
template <typename Ids>
void ExpectRight(const StormCall& call, const Ids& ids, bool whole) {
  if (whole) {
    EXPECT_EQ(ids.size(), static_cast<int>(call.max_tokens)) << "of call " << call.number;
  }
  SamplingParams greedy;
  greedy.temperature = 0;
  std::vector<TokenId> history = TokensOf(call.prompt);
  for (int i = 0; i < ids.size(); ++i) {
    const TokenId expected = FakeModel::NextToken(history, greedy, 0, i);
    ASSERT_EQ(ids[i], expected) << "token " << i << " of call " << call.number;
    history.push_back(expected);
  }
}

int64_t Check(const StormCall& call, const v1::GenerateResponse& response) {
  EXPECT_EQ(response.candidates_size(), 1);
  ExpectRight(call, response.candidates(0).token_ids(), /*whole=*/true);
  return response.candidates(0).token_ids_size();
}

int64_t Check(const StormCall& call, const v1::ScoreResponse& response) {
  EXPECT_EQ(response.scores_size(), static_cast<int>(call.max_tokens % 3) + 1);
  for (int i = 0; i < response.scores_size(); ++i) {
    EXPECT_EQ(response.scores(i).tokens_size(), static_cast<int>(call.prompt.size()) - i);
  }
  return 0;
}

}  // namespace

// A call in its place, which lets go of it when it has ended. Whoever cancels it holds it, too.
class Storm::LiveCall {
 public:
  LiveCall(Storm& storm, size_t place, const StormCall& call)
      : storm_(storm), place_(place), call_(call) {
    context_.AddMetadata("x-request-id", std::to_string(call.number));
    if (call.timeout == 0) return;
    const absl::Duration timeout = call.timeout * storm.options_.timeout_unit;
    context_.set_deadline(std::chrono::system_clock::now() + absl::ToChronoSeconds(timeout));
  }
  virtual ~LiveCall() = default;

  virtual void Start() = 0;
  void TryCancel() { context_.TryCancel(); }
  // A cancellation that comes before any message is read.
  void CancelIfAtOnce() {
    if (call_.messages == 0) CancelVictim();
  }

 protected:
  void CancelVictim() {
    if (storm_.options_.cancels) storm_.Cancel(call_.victim);
  }
  void End(const grpc::Status& status, int64_t tokens) { storm_.End(place_, status, tokens); }
  v1::InferenceService::Stub::async_interface& stub() { return *storm_.stub_->async(); }

  Storm& storm_;
  const size_t place_;
  const StormCall call_;
  grpc::ClientContext context_;
};

class Storm::StreamCall final : public LiveCall,
                                public grpc::ClientReadReactor<v1::GenerateStreamResponse> {
 public:
  using LiveCall::LiveCall;

  void Start() override {
    Fill(call_, request_);
    stub().GenerateStream(&context_, &request_, this);
    StartRead(&message_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    for (const uint32_t id : message_.delta().token_ids()) ids_.Add(id);
    finished_ = finished_ || message_.has_finished();
    if (++num_read_ == call_.messages) CancelVictim();
    StartRead(&message_);
  }

  void OnDone(const grpc::Status& status) override {
    EXPECT_TRUE(finished_ || !status.ok()) << "call " << call_.number << " is cut";
    ExpectRight(call_, ids_, /*whole=*/status.ok() || finished_);
    End(status, ids_.size());
  }

 private:
  v1::GenerateStreamRequest request_;
  v1::GenerateStreamResponse message_;
  google::protobuf::RepeatedField<uint32_t> ids_;
  int num_read_ = 0;
  bool finished_ = false;
};

template <typename Request, typename Response>
class Storm::UnaryCall final : public LiveCall {
 public:
  using LiveCall::LiveCall;

  void Start() override {
    Fill(call_, request_);
    Send([this](const grpc::Status& status) {
      if (call_.messages > 0) CancelVictim();
      End(status, status.ok() ? Check(call_, response_) : 0);
    });
  }

 private:
  void Send(std::function<void(grpc::Status)> done);

  Request request_;
  Response response_;
};

template <>
void Storm::UnaryCall<v1::GenerateRequest, v1::GenerateResponse>::Send(
    std::function<void(grpc::Status)> done) {
  stub().Generate(&context_, &request_, &response_, std::move(done));
}

template <>
void Storm::UnaryCall<v1::ScoreRequest, v1::ScoreResponse>::Send(
    std::function<void(grpc::Status)> done) {
  stub().Score(&context_, &request_, &response_, std::move(done));
}

Storm::Storm(std::shared_ptr<grpc::Channel> channel, const StormOptions& options)
    : options_(options), stub_(v1::InferenceService::NewStub(std::move(channel))) {
  absl::MutexLock lock(&mu_);
  places_.resize(options.at_once);
}

StormCall Storm::CallOf(int64_t number) const {
  std::seed_seq seed{options_.seed, static_cast<uint64_t>(number)};
  std::mt19937 random(seed);
  const auto below = [&random](int limit) { return static_cast<int>(random() % limit); };
  StormCall call{.number = number, .prompt = Letters(number)};
  const int kind = below(10);
  if (kind >= 6) call.kind = kind < 8 ? StormCall::Kind::kGenerate : StormCall::Kind::kScore;
  for (int more = below(20); more > 0; --more) call.prompt += 'a' + below(kLetters);
  call.max_tokens = 1 + below(40);
  call.messages = below(12);
  call.victim = below(static_cast<int>(options_.at_once));
  if (options_.timeout_unit > absl::ZeroDuration()) call.timeout = 1 + below(kMaxTimeout);
  return call;
}

std::optional<int64_t> Storm::NumberOf(const std::vector<TokenId>& tokens) {
  if (tokens.size() < kNumberLetters) return std::nullopt;
  int64_t number = 0;
  for (int i = kNumberLetters; i-- > 0;) {
    number = number * kLetters + tokens[i] - FakeTokenizer::Letter('a');
  }
  return number;
}

void Storm::RunUntil(grpc::StatusCode code, int64_t count) {
  {
    absl::MutexLock lock(&mu_);
    wanted_ = code;
    wanted_count_ = count;
    running_ = options_.at_once;
  }
  for (size_t place = 0; place < options_.at_once; ++place) StartIn(place);
  const auto all_ended = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return running_ == 0; };
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(&all_ended));
}

void Storm::StartIn(size_t place) {
  std::shared_ptr<LiveCall> call;
  {
    absl::MutexLock lock(&mu_);
    if (ended_[wanted_] >= wanted_count_) {
      --running_;
      return;
    }
    call = NewCall(place, CallOf(started_++));
    places_[place] = call;
  }
  call->Start();
  call->CancelIfAtOnce();
}

std::shared_ptr<Storm::LiveCall> Storm::NewCall(size_t place, const StormCall& call) {
  using Generate = UnaryCall<v1::GenerateRequest, v1::GenerateResponse>;
  using Score = UnaryCall<v1::ScoreRequest, v1::ScoreResponse>;
  switch (call.kind) {
    case StormCall::Kind::kStream:
      return std::make_shared<StreamCall>(*this, place, call);
    case StormCall::Kind::kGenerate:
      return std::make_shared<Generate>(*this, place, call);
    case StormCall::Kind::kScore:
      return std::make_shared<Score>(*this, place, call);
  }
  return nullptr;
}

void Storm::Cancel(size_t place) {
  std::shared_ptr<LiveCall> call;
  {
    absl::MutexLock lock(&mu_);
    call = places_[place];
  }
  if (call != nullptr) call->TryCancel();
}

void Storm::End(size_t place, const grpc::Status& status, int64_t tokens) {
  std::shared_ptr<LiveCall> ended;  // until nobody needs its members any more
  {
    absl::MutexLock lock(&mu_);
    ended = std::move(places_[place]);
    ++ended_[status.error_code()];
    tokens_read_ += tokens;
  }
  StartIn(place);
}

int64_t Storm::ended(grpc::StatusCode code) const {
  absl::MutexLock lock(&mu_);
  const auto found = ended_.find(code);
  return found == ended_.end() ? 0 : found->second;
}

int64_t Storm::started() const {
  absl::MutexLock lock(&mu_);
  return started_;
}

int64_t Storm::tokens_read() const {
  absl::MutexLock lock(&mu_);
  return tokens_read_;
}

}  // namespace peerage
