#include "server/rpc/to_proto.h"

#include <cmath>

namespace peerage {
namespace {

v1::FinishReason ToProto(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndOfSequence:
      return v1::FINISH_REASON_END_OF_SEQUENCE;
    case FinishReason::kStop:
      return v1::FINISH_REASON_STOP;
    case FinishReason::kLength:
      return v1::FINISH_REASON_LENGTH;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

// The values that the engine was given, for the echo.
v1::ResolvedSampling Resolved(const GenerateRequest& request) {
  v1::ResolvedSampling resolved;
  resolved.set_temperature(request.sampling.temperature);
  resolved.set_top_k(request.sampling.top_k);
  resolved.set_top_p(request.sampling.top_p);
  resolved.set_min_p(request.sampling.min_p);
  resolved.set_seed(request.sampling.seed);
  resolved.set_candidates(request.candidates);
  resolved.set_repetition_penalty(request.sampling.repetition_penalty);
  resolved.set_frequency_penalty(request.sampling.frequency_penalty);
  resolved.set_presence_penalty(request.sampling.presence_penalty);
  resolved.set_max_tokens(request.stopping.max_tokens);
  return resolved;
}

}  // namespace

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration result;
  absl::Duration rest;
  result.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  result.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  return result;
}

google::protobuf::Timestamp ToProto(absl::Time time) {
  const google::protobuf::Duration since_epoch = ToProto(time - absl::UnixEpoch());
  google::protobuf::Timestamp result;
  result.set_seconds(since_epoch.seconds());
  result.set_nanos(since_epoch.nanos());
  return result;
}

v1::ExpertLayer ToProto(const ExpertLayer& layer) {
  v1::ExpertLayer result;
  result.set_layer(layer.layer);
  result.set_kind(ToProto(layer.kind));
  result.set_num_experts(layer.num_experts);
  result.set_heads(layer.heads);
  result.set_top_k(layer.top_k);
  for (const std::string& name : layer.expert_names) result.add_expert_names(name);
  result.set_expert_sets(layer.expert_sets);
  return result;
}

v1::Timings ToProto(const Timings& timings) {
  v1::Timings result;
  *result.mutable_queue() = ToProto(timings.queue);
  *result.mutable_prefill() = ToProto(timings.prefill);
  *result.mutable_decode() = ToProto(timings.decode);
  *result.mutable_time_to_first_token() = ToProto(timings.time_to_first_token);
  result.set_preemptions(timings.preemptions);
  return result;
}

v1::TokenLogprob ToProto(const TokenLogprob& token) {
  v1::TokenLogprob result;
  result.set_token_id(token.token);
  if (token.logprob.has_value()) result.set_logprob(*token.logprob);
  result.set_rank(token.rank);
  for (const TokenAlternative& alternative : token.alternatives) {
    result.add_alternative_ids(alternative.token);
    result.add_alternative_logprobs(alternative.logprob);
  }
  return result;
}

v1::Finish ToProto(const CandidateFinish& finish) {
  v1::Finish result;
  result.set_reason(ToProto(finish.reason));
  if (finish.stop_token_id.has_value()) {
    result.set_stop_token_id(*finish.stop_token_id);
  } else if (!finish.stop.empty()) {
    result.set_stop(finish.stop);
  }
  return result;
}

v1::GenerateResponse NewGenerateResponse(const GenerateRequest& request, const ServedModel& model) {
  v1::GenerateResponse response;
  response.set_request_id(request.origin.request_id);
  *response.mutable_sampling() = Resolved(request);
  *response.mutable_model() = model.ref();
  response.mutable_usage()->set_prompt_tokens(request.prompt.size());
  for (uint32_t i = 0; i < request.candidates; ++i) response.add_candidates()->set_index(i);
  return response;
}

v1::Started NewStarted(const GenerateRequest& request, const ServedModel& model) {
  v1::Started started;
  started.set_request_id(request.origin.request_id);
  *started.mutable_sampling() = Resolved(request);
  started.set_prompt_tokens(request.prompt.size());
  *started.mutable_model() = model.ref();
  return started;
}

v1::ScoreResponse NewScoreResponse(const ScoreRequest& request, const ServedModel& model) {
  v1::ScoreResponse response;
  response.set_request_id(request.origin.request_id);
  *response.mutable_model() = model.ref();
  response.mutable_usage()->set_prompt_tokens(request.context.size());
  for (size_t i = 0; i < request.continuations.size(); ++i) response.add_scores();
  return response;
}

void AddScore(const ContinuationScore& score, const Tokenizer& tokenizer,
              v1::ScoreResponse& response) {
  v1::ContinuationScore& result = *response.mutable_scores(static_cast<int>(score.continuation));
  double logprob = 0;
  size_t bytes = 0;
  bool is_greedy = true;
  for (const TokenLogprob& token : score.tokens) {
    *result.add_tokens() = ToProto(token);
    if (!token.logprob.has_value()) continue;
    logprob += *token.logprob;
    bytes += tokenizer.Bytes(token.token).size();
    is_greedy = is_greedy && token.rank == 1;
  }
  result.set_logprob(logprob);
  result.set_is_greedy(is_greedy);
  if (bytes > 0) result.set_bits_per_byte(-logprob / (std::log(2.0) * static_cast<double>(bytes)));
  v1::Usage& usage = *response.mutable_usage();
  usage.set_completion_tokens(usage.completion_tokens() + score.tokens.size());
}

}  // namespace peerage
