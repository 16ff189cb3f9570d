#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "server/engine/engine.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_model.h"
#include "tests/support/fake_tokenizer.h"
#include "tests/support/recording_observer.h"
#include "tests/support/recording_sink.h"
#include "tests/support/reference_answers.h"

namespace peerage {

// An engine with a model, a tokenizer and a clock that tests control, and calls of it.
class EngineTest : public ::testing::Test {
 protected:
  struct Call {
    RequestHandle handle = 0;
    std::shared_ptr<RecordingSink> sink = std::make_shared<RecordingSink>();
  };

  static GenerateRequest Generate(std::vector<TokenId> prompt, uint32_t max_tokens) {
    return {.prompt = std::move(prompt), .stopping = {.max_tokens = max_tokens}};
  }

  // Never ends by itself.
  static GenerateRequest Long() { return Generate({1, 2, 3}, 100); }

  // `before` is told of the model before the engine has it.
  void Start(const EngineOptions& options = {}, const FakeModelOptions& model_options = {},
             const std::function<void(FakeModel*)>& before = nullptr) {
    auto model = std::make_unique<FakeModel>(model_options);
    model_ = model.get();
    if (before) before(model_);
    engine_ = std::make_unique<Engine>(options, std::move(model), &tokenizer_, &clock_, &observer_);
  }

  template <typename Request>
  Call Submit(const Request& request) {
    Call call;
    const absl::StatusOr<RequestHandle> handle = engine_->Submit(request, call.sink);
    EXPECT_TRUE(handle.ok()) << handle.status();
    call.handle = handle.value_or(0);
    return call;
  }

  // Its first step waits at the model's gate.
  template <typename Request>
  Call SubmitAndHold(const Request& request) {
    model_->ShutGate();
    Call call = Submit(request);
    model_->AwaitStep();
    return call;
  }

  template <typename Request>
  absl::Status Refusal(const Request& request) {
    auto sink = std::make_shared<RecordingSink>();
    const absl::Status status = engine_->Submit(request, sink).status();
    EXPECT_FALSE(sink->done());
    return status;
  }

  void ExpectReference(const GenerateRequest& request, const RecordingSink& sink) {
    ASSERT_EQ(sink.WaitDone(), absl::OkStatus());
    RecordingSink::Record record = sink.record();
    ASSERT_EQ(record.candidates.size(), request.candidates);
    for (const auto& [index, candidate] : record.candidates) {
      const ReferenceCandidate expected = GenerateAlone(request, index, tokenizer_);
      EXPECT_EQ(candidate.tokens, expected.tokens);
      EXPECT_EQ(candidate.text, expected.text);
      EXPECT_TRUE(candidate.logprobs == expected.logprobs);
      ASSERT_TRUE(candidate.finish);
      EXPECT_EQ(candidate.finish->reason, expected.reason);
    }
  }

  void ExpectNothingHeld() {
    EXPECT_EQ(engine_->status().kv_blocks_free, engine_->status().kv_blocks_total);
    EXPECT_EQ(engine_->status().requests_running, 0);
    EXPECT_EQ(engine_->status().requests_waiting, 0);
    EXPECT_EQ(model_->num_open_slots(), 0);
  }

  FakeClock clock_;
  FakeTokenizer tokenizer_;
  RecordingObserver observer_;
  FakeModel* model_ = nullptr;
  std::unique_ptr<Engine> engine_;
};

}  // namespace peerage
