#pragma once

#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "model/experts/expert_usage.h"
#include "model/tokenizer/tokenizer.h"
#include "peerage/v1/inference.pb.h"
#include "peerage/v1/models.pb.h"
#include "server/engine/request.h"
#include "server/engine/response_sink.h"
#include "server/rpc/request/expert_layer_kind.h"
#include "server/rpc/request/served_model.h"

namespace peerage {

// The engine's results as messages.

google::protobuf::Duration ToProto(absl::Duration duration);
v1::Timings ToProto(const Timings& timings);
v1::TokenLogprob ToProto(const TokenLogprob& token);
v1::Finish ToProto(const CandidateFinish& finish);
google::protobuf::Timestamp ToProto(absl::Time time);
v1::ExpertLayer ToProto(const ExpertLayer& layer);

// What an answer says before anything is computed: request id, model, the sampling that was
// resolved, prompt tokens, and an empty candidate or score for each that was asked for.
v1::GenerateResponse NewGenerateResponse(const GenerateRequest& request, const ServedModel& model);
v1::Started NewStarted(const GenerateRequest& request, const ServedModel& model);
v1::ScoreResponse NewScoreResponse(const ScoreRequest& request, const ServedModel& model);

// Puts a continuation's score in its place and counts its tokens as completion tokens. Sums up in
// double precision. Tokens without a log-probability (nothing before them) are listed, but count
// neither in the sum nor in the bytes nor against `is_greedy`. Precondition: `response` has an
// entry for it (NewScoreResponse).
void AddScore(const ContinuationScore& score, const Tokenizer& tokenizer,
              v1::ScoreResponse& response);

}  // namespace peerage
